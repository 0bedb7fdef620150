package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/cmd/history"
	"postern/config"
	"postern/spool"
)

func (a *app) traceCommand() *cobra.Command {
	var since, until string
	var q history.Query
	cmd := &cobra.Command{
		Use:   "trace [ID|MESSAGE-ID|ADDRESS|@DOMAIN]",
		Short: "Show the whole life of a message, also after it has left the queue",
		Long: `Shows what was told of a message from its acceptance to the last answer. It is
found by its ID, by its Message-ID, or by an address of its sender or of a
recipient, or with --since or --until by its time alone; several are listed. What is kept, and for how long, say history.keep
and history.max_size.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && (since != "" || until != "") {
				return nil
			}
			return one("an ID, a Message-ID, an address, or @ and a domain; or --since")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Text = strings.Join(args, "")
			if q.Text == "" && len(args) > 0 {
				return usage("%s", history.ErrQuery)
			}
			now := time.Now()
			for _, t := range []struct {
				flag, text string
				into       *time.Time
			}{{"since", since, &q.Since}, {"until", until, &q.Until}} {
				if t.text == "" {
					continue
				}
				at, err := moment(t.text, now)
				if err != nil {
					return usage("--%s: %s", t.flag, err)
				}
				*t.into = at
			}
			return a.trace(cmd.Context(), q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "from then on: a `TIME` such as 2h, 3d, 2026-11-28 or 2026-11-28T08:00")
	f.StringVar(&until, "until", "", "up to then: a `TIME`")
	f.IntVar(&q.Limit, "limit", 20, "the last `N` messages that are found, up to 1000")
	return a.withJSON(cmd)
}

// moment reads a time as people write it: how long ago, a day, or a time.
func moment(text string, now time.Time) (time.Time, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if days, err := strconv.ParseFloat(number, 64); err == nil {
			return now.Add(-time.Duration(days * float64(24*time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly, time.DateTime, "2006-01-02 15:04"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2h, 3d, 2026-11-28 or 2026-11-28T08:00", text)
}

func (a *app) trace(ctx context.Context, q history.Query) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	found, err := client.Trace(ctx, q)
	if stopped(err) {
		cfg, readErr := config.Find(a.config)
		if readErr != nil {
			return err
		}
		found, err = history.Search(ctx, cfg.HistoryDir(), q)
	}
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, found)
	}
	for _, part := range found.Missing {
		fmt.Fprintf(a.stderr, "postern: there may be more: %s\n", safe(part))
	}
	switch len(found.Lives) {
	case 0:
		return &failure{code: exitData, text: "nothing is known of " + cmp.Or(q.Text, "that time"), hint: a.noTrace(found)}
	case 1:
		return a.printLife(ctx, client, &found.Lives[0])
	}
	return a.printLives(found)
}

// noTrace says how far back the history goes.
func (a *app) noTrace(found *history.Found) string {
	if found.From.IsZero() {
		return "The history is empty: it begins with the first message after a start, unless history.keep is 0."
	}
	hint := "The history begins on " + found.From.Local().Format(time.DateTime) + "; what was told before is not kept."
	if found.Damaged > 0 {
		hint += fmt.Sprintf(" %d of its files end within a line, as a crash leaves them: what was told in the second before it is in the log alone.", found.Damaged)
	}
	return hint
}

// printLife prints all that was told of one message, and where it is now.
func (a *app) printLife(ctx context.Context, client *control.Client, l *history.Life) error {
	var b strings.Builder
	if l.ID != "" {
		fmt.Fprintf(&b, "message %s\n", safe(l.ID))
	}
	for i, line := range l.Lines {
		t := history.Read(line)
		fmt.Fprintf(&b, "%s  %s\n", t.Time.Local().Format("2006-01-02 15:04:05"), safe(t.Sentence(l.ID)))
		if l.Omitted > 0 && i == len(l.Lines)/2-1 {
			fmt.Fprintf(&b, "… %d lines are left out\n", l.Omitted)
		}
	}
	if id, err := spool.ParseID(l.ID); err == nil {
		switch m, err := client.Message(ctx, id); {
		case err != nil: // it has ended, or nobody knows
		default:
			for i := range m.Recipients {
				r := &m.Recipients[i]
				fmt.Fprintf(&b, "now: %s is %s: %s\n", safe(path(r.Address)), r.Status, safe(r.Why))
			}
		}
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// printLives lists several messages.
func (a *app) printLives(found *history.Found) error {
	t := newTable(a.stdout, "TIME", "ID", "FROM", "TO", "LAST")
	for i := range found.Lives {
		l := &found.Lives[i]
		if len(l.Lines) == 0 {
			continue
		}
		first, last, from := history.Read(l.Lines[0]), history.Read(l.Lines[len(l.Lines)-1]), ""
		var to []string
		for _, line := range l.Lines {
			one := history.Read(line)
			if one.From != nil && from == "" {
				from = path(*one.From)
			}
			if one.Event != "sender-notified" && one.To != "" && !slices.Contains(to, one.To) {
				to = append(to, one.To)
			}
		}
		shown := strings.Join(to[:min(len(to), 2)], ", ")
		if len(to) > 2 {
			shown += fmt.Sprintf(" and %d more", len(to)-2)
		}
		what := last.Event
		if last.Result != "" {
			what = last.Result + ": " + last.Reply()
		} else if last.Event == "mail-refused" {
			what = "refused: " + last.Reply()
		}
		t.row(first.Time.Local().Format(time.DateTime), l.ID, from, shown, what)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if found.More {
		_, err := fmt.Fprintln(a.stdout, "There are more, from before these: --limit shows them, --since and --until choose.")
		return err
	}
	return nil
}
