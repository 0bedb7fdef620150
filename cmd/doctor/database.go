package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/spool/postgres"
)

// The bounds beyond which a database is worth a word.
const (
	slowAnswer  = 20 * time.Millisecond
	clockApart  = 2 * time.Second
	longReading = 10 * time.Minute // of a transaction that keeps vacuum waiting
	deadRows    = 200_000
)

// lookAtDatabase looks at the database that keeps the queue, and what waits in
// it.
func lookAtDatabase(ctx context.Context, cfg *config.Config, st *control.Status, client *control.Client) []Finding {
	subject := "spool.url"
	url, err := cfg.Spool.URL.Read(ctx)
	if err != nil {
		return []Finding{{ID: SpoolDatabase, Status: Skipped, Subject: subject, Text: err.Error(), Remedy: "Run this command as the user of the daemon, or as root."}}
	}
	f, err := postgres.Inspect(ctx, url)
	if err != nil {
		mail := "Mail is answered 451 until it can"
		if cfg.Spool.WhenAway == config.AwayLocal {
			mail = "Mail is accepted into " + cfg.StandinDir() + " until it can, and nothing goes out"
			if st != nil && st.Spool.Standin != nil {
				mail += fmt.Sprintf(" (%d wait)", st.Spool.Standin.Messages)
			}
		}
		return []Finding{{ID: SpoolDatabase, Status: Failed, Subject: subject, Text: "it cannot be used: " + err.Error(),
			Remedy: mail + ": look at the database, at pg_hba.conf, and at the network between."}}
	}
	out := judgeDatabase(&f)
	w := waiting{}
	if st != nil {
		w = lookAtQueue(ctx, "", st, client)
	} else if r, err := postgres.OpenReader(ctx, url); err != nil {
		w.Err = err
	} else {
		w.read(ctx, r)
		r.Close()
	}
	return append(out, judgeQueue(f.Database, &w, cfg.Retry.WarnAfter, time.Now())...)
}

// judgeDatabase judges what a database is worth as a queue.
func judgeDatabase(f *postgres.Facts) []Finding {
	there := Finding{ID: SpoolDatabase, Status: OK, Subject: f.Database, Text: "PostgreSQL " + f.Server + ", answers in " + brief(f.Answer),
		Facts: map[string]any{"schema": f.Schema, "clock_ms": f.Skew.Milliseconds()}}
	switch {
	case f.Schema != postgres.Schema:
		there.Status, there.Text, there.Remedy = Failed, (&postgres.SchemaError{Version: f.Schema}).Error(), "No relay of this version starts with it."
	case f.Skew.Abs() > clockApart:
		there.Status, there.Text = Warning, fmt.Sprintf("%s, and its clock is %s apart from this machine's", there.Text, f.Skew.Abs())
		there.Remedy = "Leases go by the database's clock and are safe; times of the next attempt go by this machine's: set both by NTP."
	case f.Answer > slowAnswer:
		there.Status, there.Remedy = Warning, "Each message waits for several answers: put the database nearer."
	}
	out := []Finding{there, judgeWorth(f)}
	v := Finding{ID: SpoolVacuum, Status: OK, Subject: f.Database, Text: fmt.Sprintf("%d rows, %d dead ones", f.Live, f.Dead),
		Facts: map[string]any{"dead": f.Dead, "live": f.Live, "oldest_transaction_s": int64(f.Oldest.Seconds())}}
	switch {
	case f.Oldest > longReading:
		v.Status, v.Text = Warning, fmt.Sprintf("%s, and a transaction of %s keeps vacuum from removing them", v.Text, f.Oldest.Round(time.Second))
		v.Remedy = "Look for it in pg_stat_activity (backend_xmin), and end it: the queue becomes slower as long as it lasts."
	case f.IdleSlots > 0:
		v.Status, v.Text = Warning, fmt.Sprintf("%s; %s read by nobody", v.Text, count(f.IdleSlots, "replication slot is", "replication slots are"))
		v.Remedy = "A slot that nobody reads keeps the write-ahead log until the disk is full: start its standby, or drop it (pg_drop_replication_slot)."
	case f.Dead > deadRows && f.Dead > f.Live:
		v.Status, v.Remedy = Warning, "Look whether autovacuum runs (pg_stat_user_tables, last_autovacuum)."
	}
	return append(out, v)
}

// judgeWorth says what a 250 is worth.
func judgeWorth(f *postgres.Facts) Finding {
	out := Finding{ID: SpoolWorth, Status: OK, Subject: f.Database, Text: "a 250 survives the loss of the database's machine: a synchronous standby has it",
		Facts: map[string]any{"fsync": f.FSync, "synchronous_commit": f.SyncCommit, "synchronous_standby_names": f.Standbys, "in_sync": f.InSync}}
	power, loss := f.Durable()
	switch {
	case !power:
		out.Status, out.Text = Failed, "a 250 is worth nothing after a power cut: fsync, full_page_writes or synchronous_commit is off"
		out.Remedy = "Set them on, at least for this database's user (ALTER ROLE … SET synchronous_commit = on)."
	case strings.Contains(f.Standbys, "*"):
		out.Status, out.Text = Warning, "synchronous_standby_names has a *: while pg_basebackup or pg_receivewal runs, commits wait for that in place of a standby"
		out.Remedy = "Name the standbys, by their cluster_name or the application_name in their primary_conninfo: ANY 1 (standby1, standby2)."
	case loss:
	case f.Standbys != "":
		out.Status, out.Text = Warning, "no synchronous standby follows, though synchronous_standby_names asks for one: commits wait, or are made here only"
		out.Remedy = "Start the standby, or take it out of synchronous_standby_names."
	default:
		out.Status, out.Text = Warning, "a 250 survives a power cut, but not the loss of the database's disk: there is no synchronous standby"
		out.Remedy = "docs/fleet.md sets one up. Without it the database's machine is what mail depends on."
	}
	return out
}
