package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/cmd/doctor"
	"postern/config"
)

// testTimeout bounds `postern upstream test`. A delivery would wait longer for
// some answers.
const testTimeout = 2 * time.Minute

func (a *app) upstreamTestCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Walk the way to an upstream step by step, without sending mail",
		Long: `Opens a session with the upstream by the code that delivers: DNS, connection,
banner, EHLO, TLS with every certificate, sign-in. Then each sender that the
routes map to it is tried with MAIL and RCPT, and taken back with RSET. No
message is sent, and a running daemon is not disturbed.

It reads the configuration and needs no daemon. Run it as the user of the
daemon, or as root.`,
		Args: one("the name of one upstream"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := findOwn(a.config)
			if err != nil {
				return badConfig(err)
			}
			up, err := upstreamOf(cfg, args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), testTimeout)
			defer cancel()
			bench, err := doctor.NewBench(cfg, a.running(ctx, cfg))
			if err != nil {
				return badConfig(err)
			}
			return a.printFindings(bench.Upstream(ctx, up, bare(from), bare(to)), false)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "try this sender, an `ADDRESS`, also in place of \"*\"")
	cmd.Flags().StringVar(&to, "to", "", "the recipient of every try, an `ADDRESS` (default: the sender itself)")
	return a.withJSON(cmd)
}

// running is the status of the daemon that has this configuration; nil: none
// answers, or not to us.
func (a *app) running(ctx context.Context, cfg *config.Config) *control.Status {
	st, err := control.Dial(cfg.Control.Socket).Status(ctx)
	if err != nil {
		return nil
	}
	return st
}

// printFindings prints a list and ends with the exit code that it deserves.
// subjects says whether they are about different things.
func (a *app) printFindings(list []doctor.Finding, subjects bool) error {
	var err error
	if a.json {
		err = printJSON(a.stdout, list)
	} else {
		err = a.tabulate(list, subjects)
	}
	if code := doctor.Exit(list); err == nil && code != exitOK {
		err = errReported{code}
	}
	return err
}

func (a *app) tabulate(list []doctor.Finding, subjects bool) error {
	head := []string{"STATUS", "FINDING", "TIME", "WHAT WAS SEEN"}
	if subjects {
		head = []string{"STATUS", "FINDING", "ABOUT", "TIME", "WHAT WAS SEEN"}
	}
	t := newTable(a.stdout, head...)
	for i := range list {
		f := &list[i]
		cells := []string{string(f.Status), string(f.ID)}
		if subjects {
			cells = append(cells, f.Subject)
		}
		t.row(append(cells, duration(f.Took), f.Text)...)
		if f.Remedy != "" {
			t.row(append(make([]string, len(head)-1), "→ "+f.Remedy)...)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := io.WriteString(a.stdout, "\n"+summary(list)+"\n")
	return err
}

// summary counts.
func summary(list []doctor.Finding) string {
	failed, warned := doctor.Count(list, doctor.Failed), doctor.Count(list, doctor.Warning)
	switch {
	case failed == 0 && warned == 0:
		return "Nothing is wrong."
	case failed == 0:
		return plural(warned, "warning", "warnings") + ", nothing failed."
	case warned == 0:
		return plural(failed, "failure", "failures") + "."
	}
	return plural(failed, "failure", "failures") + ", " + plural(warned, "warning", "warnings") + "."
}

// duration is a time in milliseconds as a person reads it.
func duration(ms float64) string {
	switch {
	case ms == 0:
		return ""
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
