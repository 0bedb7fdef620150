package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/alert"
)

func (a *app) alertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alert",
		Short: "Show what needs a person, and define and try those who are told of it",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.alertListCommand(), a.alertTestCommand(), a.alertSendCommand())
	cmd.AddCommand(a.alertDefineCommands()...)
	return cmd
}

func (a *app) alertListCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "list",
		Short: "Show what is wrong, since when, and what to do about it",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.alertList(cmd.Context()) },
	})
}

func (a *app) alertList(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	list, err := client.AlertList(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, list)
	}
	var b strings.Builder
	now := time.Now()
	for i := range list.Alerts {
		o := &list.Alerts[i]
		fmt.Fprintf(&b, "%s: %s\n", strings.ToUpper(string(o.Severity)), safe(o.Text))
		for _, line := range o.Lines(now) {
			fmt.Fprintf(&b, "  %-9s %s\n", line[0], safe(line[1]))
		}
		fmt.Fprintf(&b, "  %-9s %s\n\n", "told", safe(o.KnownTo(list.Receivers)))
	}
	if len(list.Alerts) == 0 {
		b.WriteString("Nothing is wrong.\n")
	}
	if len(list.Receivers) == 0 {
		b.WriteString("Nobody is told: the configuration has no [[alert]].\n")
	}
	_, err = io.WriteString(a.stdout, b.String())
	return err
}

func (a *app) alertTestCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "test [NAME]",
		Short: "Tell each receiver, or one, that this is a test, and say what became of it",
		Long: `Has the daemon tell each [[alert]], or the one with this name, that this is a
test. Mail counts as told when it is in the queue.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.alertTest(cmd.Context(), strings.Join(args, ""))
		},
	})
}

func (a *app) alertTest(ctx context.Context, name string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	tried, err := client.TryAlerts(ctx, name)
	if err != nil {
		return err
	}
	failed := slices.ContainsFunc(tried, func(t alert.Tried) bool { return t.Error != "" })
	if a.json {
		err = printJSON(a.stdout, tried)
	} else {
		err = a.printTried(tried)
	}
	if err == nil && failed {
		err = errReported{exitUnavailable}
	}
	return err
}

// printTried prints what became of tests.
func (a *app) printTried(tried []alert.Tried) error {
	t := newTable(a.stdout, "RECEIVER", "RESULT", "TOOK")
	for _, one := range tried {
		result := "told"
		if one.Error != "" {
			result = one.Error
		}
		t.row(one.Receiver, result, fmt.Sprintf("%.2fs", one.Took))
	}
	return t.flush()
}

// alertSendCommand is what the daemon calls to speak to a service.
func (a *app) alertSendCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "send",
		Short:  "Tell a service, as the daemon says on standard input",
		Hidden: true,
		Args:   noArguments,
		RunE:   func(*cobra.Command, []string) error { return alert.Serve(a.stdin, a.stdout) },
	}
}
