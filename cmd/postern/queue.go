package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool"
)

func (a *app) queueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Look at queued mail and decide about it",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.queueListCommand(), a.queueShowCommand(), a.queueCatCommand(),
		a.queueActCommand(control.OpRetry, "Try messages again now", "due at once"),
		a.queueActCommand(control.OpHold, "Keep messages back until they are released", "put on hold"),
		a.queueActCommand(control.OpRelease, "Let messages that are on hold go on", "released"),
		a.queueActCommand(control.OpRemove, "Remove messages without telling anybody", "removed"),
		a.queueActCommand(control.OpBounce, "Return messages to their senders", "returned to the sender"),
	)
	return cmd
}

// filterFlags are the flags that select messages.
func filterFlags(cmd *cobra.Command, f *control.Filter) {
	cmd.Flags().StringVar(&f.Upstream, "upstream", "", "only mail that is to go to the upstream `NAME` next")
	cmd.Flags().StringVar(&f.From, "from", "", "only mail whose sender contains `TEXT`; \"<>\" is the null sender")
	cmd.Flags().StringVar(&f.To, "to", "", "only mail with a waiting recipient that contains `TEXT`")
	cmd.Flags().StringVar(&f.Storm, "storm", "", "only mail that was put on hold for the storm `ID`, as too many that are alike")
	cmd.Flags().BoolVar(&f.Held, "held", false, "only mail on hold")
	cmd.Flags().BoolVar(&f.Deferred, "deferred", false, "only mail that waits for its next attempt")
	cmd.Flags().BoolVar(&f.Scheduled, "scheduled", false, "only mail that is not to go out yet")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "at most `N` entries")
}

func (a *app) queueActCommand(op control.Op, short, done string) *cobra.Command {
	var sel control.Selection
	var yes bool
	cmd := &cobra.Command{
		Use:   string(op) + " [ID...] [--all] [--upstream NAME] [--from TEXT] [--to TEXT]",
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			sel.IDs = args
			if err := checkSelection(&sel); err != nil {
				return err
			}
			if ends(op) && sel.All && sel.Filter == (control.Filter{}) && !yes && isTerminal(a.stdin) && !a.agreed() {
				return &failure{code: exitUsage, text: "nothing was done", hint: "--yes answers beforehand."}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			result, err := client.Act(cmd.Context(), op, sel)
			if err != nil {
				return err
			}
			return a.printActed(op, result, done, len(args) > 0)
		},
	}
	filterFlags(cmd, &sel.Filter)
	if ends(op) {
		cmd.Flags().BoolVar(&yes, "yes", false, "don't ask on a terminal whether all are meant")
		cmd.Use = string(op) + " [ID...] [--recipient ADDRESS]... [--all] [--upstream NAME] [--from TEXT] [--to TEXT]"
		cmd.Flags().StringArrayVar(&sel.Recipients, "recipient", nil, "of the messages named, only the recipient `ADDRESS`; may be given several times")
	}
	if op == control.OpBounce {
		cmd.Flags().StringVar(&sel.Reason, "reason", "", "`TEXT` for the sender")
	}
	cmd.Flags().BoolVar(&sel.All, "all", false, "all messages, or with a filter: all that it selects")
	return a.withJSON(cmd)
}

// ends says whether an operation leaves nothing to be tried again.
func ends(op control.Op) bool { return op == control.OpRemove || op == control.OpBounce }

// agreed asks on the terminal whether all messages are meant. Only a line that
// begins with y agrees.
func (a *app) agreed() bool {
	fmt.Fprint(a.stderr, "This ends every message that is queued, for good. Go on? [y/N] ")
	line, _ := bufio.NewReader(a.stdin).ReadString('\n')
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y")
}

func checkSelection(sel *control.Selection) error {
	filtered := sel.Filter != control.Filter{}
	switch {
	case len(sel.IDs) > 0 && (sel.All || filtered):
		return usage("name messages or select them by flags, not both")
	case len(sel.IDs) == 0 && !sel.All && sel.Filter == control.Filter{Limit: sel.Filter.Limit}:
		return usage("name messages, or select them by --upstream, --from, --to, --storm, --held, --deferred, --scheduled, or --all")
	case len(sel.IDs) == 0 && len(sel.Recipients) > 0:
		return usage("--recipient needs the IDs of messages; --to selects by recipient")
	case sel.Filter.Limit < 0:
		return usage("--limit is a number of entries, not %d", sel.Filter.Limit)
	}
	for _, id := range sel.IDs {
		if _, err := parseID(id); err != nil {
			return err
		}
	}
	return nil
}

// printActed tells what was done, and of each message that was named and left
// alone; of others only how many.
func (a *app) printActed(op control.Op, r *queue.Result, done string, named bool) error {
	if a.json {
		if err := printJSON(a.stdout, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "%s %s\n", extent(op, r), done)
		for _, id := range r.Busy {
			fmt.Fprintf(a.stderr, "postern: %s: an attempt is under way%s\n", id, busyHint(op))
		}
		for _, id := range r.Missing {
			fmt.Fprintf(a.stderr, "postern: %s: no such message is queued\n", id)
		}
		a.printLeft(r.Held, named, "on hold", "`postern queue release` lets it go", "`postern queue release` lets them go")
		a.printLeft(r.Scheduled, named, "it is not to go out yet", "`postern queue remove` ends it", "`postern queue remove` ends them")
		a.printLeft(r.Senderless, named, "there is no sender to return to",
			"`postern queue remove` ends it", "`postern queue remove` ends them")
		a.printLeft(r.Unreadable, named, "cannot be read, and was set aside",
			"where it is still queued, `postern queue remove` ends it", "where they are still queued, `postern queue remove` ends them")
	}
	switch {
	case len(r.Missing) > 0, named && len(r.Senderless)+len(r.Unreadable) > 0:
		return errReported{exitData}
	case len(r.Busy) > 0 && op != control.OpRetry:
		return errReported{exitTempFail}
	}
	return nil
}

// printLeft tells of messages that were left alone.
func (a *app) printLeft(ids []spool.ID, named bool, why, one, many string) {
	switch {
	case named:
		for _, id := range ids {
			fmt.Fprintf(a.stderr, "postern: %s: %s; %s\n", id, why, one)
		}
	case len(ids) == 1:
		fmt.Fprintf(a.stderr, "postern: 1 message was left alone: %s; %s\n", why, one)
	case len(ids) > 1:
		fmt.Fprintf(a.stderr, "postern: %d messages were left alone: %s; %s\n", len(ids), why, many)
	}
}

// extent says how much an operation changed. Only a removal and a bounce can
// concern some recipients of a message.
func extent(op control.Op, r *queue.Result) string {
	if !ends(op) || r.Done == 0 {
		return count(r.Done, "message")
	}
	return fmt.Sprintf("%s of %s", count(r.Recipients, "recipient"), count(r.Done, "message"))
}

// busyHint says what to do about an attempt that is under way: nothing, where
// an attempt was all that was asked for.
func busyHint(op control.Op) string {
	if op == control.OpRetry {
		return " already"
	}
	return "; try again when it has ended"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func parseID(s string) (spool.ID, error) {
	id, err := spool.ParseID(s)
	if err != nil {
		return 0, usage("%q is not the ID of a message: `postern queue list` shows them", s)
	}
	return id, nil
}

// stopped reports whether err means that no daemon runs, so that the spool
// may be read by ourselves.
func stopped(err error) bool {
	var gone *control.NoDaemon
	return errors.As(err, &gone) && !permission(gone.Err)
}
