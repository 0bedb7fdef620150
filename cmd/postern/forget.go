package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/cmd/facts"
	"postern/config"
	"postern/relay/memory"
)

func (a *app) upstreamForgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget-tls NAME",
		Short: "Forget what is remembered about the TLS of an upstream",
		Long: `Forgets that an upstream with tls = "opportunistic" has offered STARTTLS or
shown a valid certificate, which it must then go on to do, and by which port one
with tls = "auto" was reached. Whoever runs it vouches for it that the upstream
has changed, and that nobody sits between.

A parked upstream is tried again at once. Without a daemon, run it as the user of
the daemon, or as root.`,
		Args: one("the name of one upstream"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			had, err := client.ForgetTLS(cmd.Context(), args[0])
			var gone *control.NoDaemon
			if errors.As(err, &gone) && !permission(gone.Err) {
				had, err = a.forgetStopped(cmd.Context(), args[0])
			}
			if err != nil {
				return err
			}
			text := "%s: forgotten\n"
			if !had {
				text = "%s: there was nothing to forget\n"
			}
			fmt.Fprintf(a.stdout, text, safe(args[0]))
			return a.goOn(cmd.Context(), client, args[0])
		},
	}
}

// forgetStopped forgets while no daemon runs.
func (a *app) forgetStopped(ctx context.Context, upstream string) (had bool, err error) {
	cfg, err := config.Find(a.config)
	if err != nil {
		return false, badConfig(err)
	}
	if _, err := upstreamOf(cfg, upstream); err != nil {
		return false, err
	}
	state, closed, err := facts.Open(ctx, cfg)
	if err != nil {
		return false, noFacts(err)
	}
	defer closed()
	had, err = memory.New(state).Forget(ctx, upstream)
	if permission(err) {
		return false, &failure{code: exitNoPerm, text: err.Error(), hint: "Run it as the user of the daemon, or as root."}
	}
	return had, err
}

// noFacts is that the database of the queue can't be asked for facts.
func noFacts(err error) error {
	return &failure{code: exitUnavailable, text: "what relays have in common is in the database of the queue, which cannot be used: " + err.Error(),
		hint: "Run it as the user of the daemon, or as root, and see postern database status."}
}
