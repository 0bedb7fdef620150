package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"postern/cmd/control"
)

func (a *app) upstreamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upstream",
		Short: "Define the outbound connections, look at them, stop them and let them go on",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.upstreamListCommand(),
		a.upstreamDoCommand("pause", "Stop deliveries to an upstream; its mail is kept", "is paused", (*control.Client).Pause),
		a.upstreamDoCommand("resume", "Let deliveries go on, also where they were parked", "goes on", (*control.Client).Resume),
		a.upstreamLoginCommand(), a.upstreamTestCommand(),
		a.upstreamForgetCommand(),
	)
	cmd.AddCommand(a.upstreamDefineCommands()...)
	return cmd
}

func (a *app) upstreamListCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "list",
		Short: "List the upstreams and how they are",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.stdout, st.Lanes)
			}
			return a.printLanes(st.Lanes)
		},
	})
}

func (a *app) upstreamDoCommand(name, short, done string, do func(*control.Client, context.Context, string) (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   name + " NAME",
		Short: short,
		Args:  one("the name of one upstream"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			note, err := do(client, cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if note != "" {
				fmt.Fprintln(a.stderr, "postern: "+safe(note))
			}
			_, err = fmt.Fprintf(a.stdout, "%s %s\n", safe(args[0]), done)
			return err
		},
	}
}
