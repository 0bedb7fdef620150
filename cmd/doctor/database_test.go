package doctor

import (
	"strings"
	"testing"
	"time"

	"postern/spool/postgres"
)

// TestJudgeDatabase: what a database is worth as a queue, in words.
func TestJudgeDatabase(t *testing.T) {
	good := postgres.Facts{Server: "15.18", Schema: postgres.Schema, Database: "postern at db", FSync: true, FullPageWrites: true, SyncCommit: "on",
		Standbys: "ANY 1 (a, b)", InSync: 1, Answer: time.Millisecond, Live: 10}
	for name, c := range map[string]struct {
		change func(*postgres.Facts)
		id     ID
		status Status
		text   string
	}{
		"all is well":   {func(*postgres.Facts) {}, SpoolWorth, OK, "survives the loss of the database's machine"},
		"answers":       {func(*postgres.Facts) {}, SpoolDatabase, OK, "PostgreSQL 15.18"},
		"no schema":     {func(f *postgres.Facts) { f.Schema = 0 }, SpoolDatabase, Failed, "postern database migrate"},
		"newer schema":  {func(f *postgres.Facts) { f.Schema = postgres.Schema + 1 }, SpoolDatabase, Failed, "update this one"},
		"far":           {func(f *postgres.Facts) { f.Answer = 50 * time.Millisecond }, SpoolDatabase, Warning, "50"},
		"clock behind":  {func(f *postgres.Facts) { f.Skew = -5 * time.Second }, SpoolDatabase, Warning, "5s apart"},
		"no fsync":      {func(f *postgres.Facts) { f.FSync = false }, SpoolWorth, Failed, "worth nothing after a power cut"},
		"asynchronous":  {func(f *postgres.Facts) { f.SyncCommit = "off" }, SpoolWorth, Failed, "worth nothing after a power cut"},
		"local commits": {func(f *postgres.Facts) { f.SyncCommit = "local" }, SpoolWorth, Warning, "no synchronous standby"},
		"anybody":       {func(f *postgres.Facts) { f.Standbys = "ANY 1 (*)" }, SpoolWorth, Warning, "pg_basebackup"},
		"alone":         {func(f *postgres.Facts) { f.Standbys, f.InSync = "", 0 }, SpoolWorth, Warning, "not the loss of the database's disk"},
		"standby away":  {func(f *postgres.Facts) { f.InSync = 0 }, SpoolWorth, Warning, "no synchronous standby follows"},
		"vacuum waits":  {func(f *postgres.Facts) { f.Oldest = time.Hour }, SpoolVacuum, Warning, "a transaction of 1h0m0s"},
		"idle slot":     {func(f *postgres.Facts) { f.IdleSlots = 1 }, SpoolVacuum, Warning, "1 replication slot is read by nobody"},
		"no vacuum":     {func(f *postgres.Facts) { f.Dead = 300_000 }, SpoolVacuum, Warning, "300000 dead ones"},
	} {
		facts := good
		c.change(&facts)
		found := false
		for _, f := range judgeDatabase(&facts) {
			if f.ID != c.id {
				continue
			}
			found = true
			if f.Status != c.status || !strings.Contains(f.Text, c.text) || f.Status != OK && f.Remedy == "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !found {
			t.Errorf("%s: nothing is said", name)
		}
	}
}
