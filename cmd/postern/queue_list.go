package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/config/wire"
)

func (a *app) queueListCommand() *cobra.Command {
	var f control.Filter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List queued mail, also of a spool that no daemon has open",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 0 {
				return usage("--limit is a number of entries, not %d", f.Limit)
			}
			show := &listing{app: a, some: f.Upstream+f.From+f.To+f.Storm != "" || f.Held || f.Deferred || f.Scheduled}
			err := a.list(cmd.Context(), f, show.entry)
			if err != nil && show.n == 0 {
				return err // an empty list would be a claim
			}
			return errors.Join(err, show.end())
		},
	}
	filterFlags(cmd, &f)
	return a.withJSON(cmd)
}

// list asks the daemon, or where none runs the spool itself.
func (a *app) list(ctx context.Context, f control.Filter, show func(*control.Entry) error) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	err = client.List(ctx, f, show)
	if !stopped(err) {
		return err
	}
	src, err := a.openStopped(err)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := a.checkUpstream(ctx, f.Upstream, src); err != nil {
		return err
	}
	return control.List(ctx, src, f, show)
}

// listing prints entries as they come: rows of a table, or one JSON array.
type listing struct {
	app     *app
	some    bool // a filter selects
	table   *table
	n       int
	pending int
	waits   []string // why upstreams keep mail waiting, each once
	unsaid  bool     // there were more of them
}

// maxWaits is how many reasons stand below a list: an upstream may refuse
// thousands of senders.
const maxWaits = 20

// keptHint stands below a list with messages that failed and are kept.
const keptHint = "what failed and came from <> is kept for a while: `postern queue retry` with its ID tries it again, `postern queue remove` ends it"

func (l *listing) entry(e *control.Entry) error {
	l.n++
	l.pending += len(e.To)
	if l.app.json {
		return l.entryJSON(e)
	}
	why := e.Waits
	if e.KeptUntil != nil {
		why = keptHint
	}
	if e.Storm != "" && e.State == control.Held && e.Attempts == 0 {
		why = "too many that are alike came, and these are held: `postern queue release --storm " + e.Storm + "` lets them go, `postern queue remove --storm " + e.Storm + "` ends them"
	}
	switch {
	case why == "" || slices.Contains(l.waits, why):
	case len(l.waits) < maxWaits:
		l.waits = append(l.waits, why)
	default:
		l.unsaid = true
	}
	if l.table == nil {
		l.table = newTable(l.app.stdout, "ID", "AGE", "SIZE", "STATE", "NEXT", "TRIES", "UPSTREAM", "FROM", "TO", "LAST ANSWER")
	}
	now := time.Now()
	next := "-"
	if e.State == control.Deferred || e.State == control.Scheduled {
		next = until(e.Next, now)
	}
	l.table.row(e.ID, ago(now.Sub(e.Accepted)), size(e.Size), string(e.State), next,
		fmt.Sprint(e.Attempts), e.Upstream, sender(e), recipients(e), answer(e.Last))
	return l.table.err
}

func (l *listing) entryJSON(e *control.Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	lead := ",\n  "
	if l.n == 1 {
		lead = "[\n  "
	}
	_, err = io.WriteString(l.app.stdout, lead+wire.JSON(b))
	return err
}

func (l *listing) end() error {
	switch {
	case l.app.json && l.n == 0:
		_, err := io.WriteString(l.app.stdout, "[]\n")
		return err
	case l.app.json:
		_, err := io.WriteString(l.app.stdout, "\n]\n")
		return err
	case l.n == 0:
		text := "nothing is queued\n"
		if l.some {
			text = "nothing that is queued matches\n"
		}
		_, err := io.WriteString(l.app.stdout, text)
		return err
	}
	if err := l.table.flush(); err != nil {
		return err
	}
	fmt.Fprintf(l.app.stdout, "%s, %s\n", plural(l.n, "delivery", "deliveries"), count(l.pending, "recipient"))
	for _, why := range l.waits {
		fmt.Fprintf(l.app.stdout, "%s\n", safe(why))
	}
	if l.unsaid {
		fmt.Fprintln(l.app.stdout, "more reasons: `postern upstream list`, and `postern queue show` for a message")
	}
	return l.table.err
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// path shows an address as it stands in an envelope.
func path(address string) string { return "<" + address + ">" }

func sender(e *control.Entry) string {
	if e.Unreadable {
		return "-"
	}
	return path(e.From)
}

// recipients shows the first of an entry, how many follow, and how many of all
// are copies for the administrator, or get it in place of others.
func recipients(e *control.Entry) string {
	if len(e.To) == 0 {
		return "-"
	}
	text := path(e.To[0])
	if n := len(e.To) - 1; n > 0 {
		text += fmt.Sprintf(" +%d", n)
	}
	var of []string
	for _, some := range []struct {
		list      []string
		one, many string
	}{{e.Copies, "copy", "copies"}, {e.Redirected, "redirected", "redirected"}} {
		switch n := len(some.list); {
		case n == 0:
		case len(e.To) == 1:
			of = append(of, some.one)
		default:
			of = append(of, plural(n, some.one, some.many))
		}
	}
	if of == nil {
		return text
	}
	return text + " (" + strings.Join(of, ", ") + ")"
}

// answer is the last answer in one line.
func answer(l *control.Answer) string {
	if l == nil {
		return "-"
	}
	var parts []string
	if l.Code != 0 {
		parts = append(parts, fmt.Sprint(l.Code))
	}
	for _, p := range []string{l.Enhanced, l.Text} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	text := strings.Join(parts, " ")
	switch {
	case l.Cause == "":
		return text
	case text == "":
		return l.Cause
	}
	return text + ": " + l.Cause
}
