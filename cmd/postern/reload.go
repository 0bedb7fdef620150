package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/config"
)

func (a *app) reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again; a wrong one is refused and the old one kept",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.Reload(cmd.Context())
			var refused *control.Refused
			if errors.As(err, &refused) && refused.Rejected != nil {
				return a.printRejected(refused)
			}
			if err != nil {
				return err
			}
			return a.printReloaded(done)
		},
	}
	return a.withJSON(cmd)
}

func (a *app) printReloaded(r *control.Reloaded) error {
	if a.json {
		return printJSON(a.stdout, r)
	}
	printProblems(a.stderr, "warning: ", r.Warnings)
	for _, k := range r.Kept {
		fmt.Fprintf(a.stderr, "postern: %s\n", safe(k))
	}
	_, err := fmt.Fprintln(a.stdout, "the configuration was replaced")
	return err
}

func (a *app) printRejected(r *control.Refused) error {
	if a.json {
		if err := printJSON(a.stdout, r.Rejected); err != nil {
			return err
		}
		return errReported{exitConfig}
	}
	printProblems(a.stderr, "", r.Rejected.Problems)
	fmt.Fprintf(a.stderr, "postern: %s; the old one is kept\n", safe(r.Reason))
	return errReported{exitConfig}
}

// printProblems prints findings about a configuration, one a line.
func printProblems(w io.Writer, lead string, list []config.Problem) {
	for _, p := range list {
		fmt.Fprintf(w, "%s%s\n", lead, safe(p.String()))
	}
}
