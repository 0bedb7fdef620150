package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"postern/cmd/definition"
	"postern/spool"
	"postern/spool/disk"
)

// undefineCommand removes definitions of a kind that were added.
func (a *app) undefineCommand(kind definition.Kind, short, long string) *cobra.Command {
	d := &define{app: a, kind: kind}
	d.cmd = &cobra.Command{
		Use: verb(kind, "remove") + " NAME", Short: short, Long: long,
		Args: one("the name of one " + string(kind)),
		RunE: func(cmd *cobra.Command, args []string) error { return d.remove(cmd.Context(), args[0]) },
	}
	d.cmd.Flags().BoolVar(&d.dryRun, "dry-run", false, "say whether it can be removed, and remove nothing")
	if kind == definition.Upstream {
		d.cmd.Flags().BoolVar(&d.force, "force", false, "remove it although mail waits for it, or nobody can tell")
	}
	return a.withJSON(d.cmd)
}

func (d *define) remove(ctx context.Context, name string) error {
	store, err := definition.Open(d.config)
	if err != nil {
		return &failure{code: exitConfig, text: err.Error(), err: err}
	}
	there, err := store.Read(d.kind, name)
	if err != nil {
		return d.notOurs(err, name)
	}
	if d.kind == definition.Upstream && !d.force {
		if err := d.nothingWaits(ctx, name); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	how := definition.Change{Seen: there.Digest, DryRun: d.dryRun, Reload: d.reloadAfter}
	if err := d.keepers(ctx, &there.Definition, &how); err != nil {
		return err
	}
	done, err := store.Remove(ctx, d.kind, name, how)
	if err == nil && d.dryRun && !d.json {
		_, err = fmt.Fprintf(d.stdout, "%s would be removed\n", safe(done.File))
		return err
	}
	return d.tell(done, !d.dryRun, err)
}

// nothingWaits is an error where mail waits for an upstream.
func (d *define) nothingWaits(ctx context.Context, name string) error {
	st, err := d.status(ctx)
	waiting := 0
	switch {
	case stopped(err):
		if waiting, err = d.waitingInSpool(ctx, name, err); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		for i := range st.Lanes {
			if l := &st.Lanes[i]; l.Upstream == name {
				waiting = l.Queued
			}
		}
	}
	if waiting == 0 {
		return nil
	}
	return &failure{code: exitTempFail, text: fmt.Sprintf("%s for %s", plural(waiting, "delivery waits", "deliveries wait"), name),
		hint: "`postern queue list --upstream " + name + "` shows them; --force removes the upstream all the same, and routes decide anew."}
}

// waitingInSpool counts what waits for an upstream while no daemon runs, which
// gone says.
func (d *define) waitingInSpool(ctx context.Context, name string, gone error) (n int, err error) {
	src, err := d.openStopped(gone)
	if errors.Is(err, disk.ErrMissing) {
		return 0, nil // a machine whose relay has never run
	}
	if err != nil {
		return 0, err
	}
	defer src.Close()
	return n, src.Find(ctx, spool.Query{Upstream: name}, func(spool.Summary) bool { n++; return true })
}

func (a *app) routeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "route",
		Short: "Add and remove routes, which say who may send and over which upstream",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.defineCommand(definition.Route, false, "Add a route, and have the daemon take it",
			`Writes conf.d/50-route-NAME.toml beside postern.toml, reads the whole
configuration with it, and has the daemon reload. Where anything is wrong, nothing
is changed.

Routes of postern.toml come before those of conf.d: one that takes everything there
hides the new one, which a warning tells. Those that are added are asked in the order
of their names, unless --before or --first says otherwise.`),
		a.defineCommand(definition.Route, true, "Change a route that was added", "Changes what the flags say, and keeps the rest."),
		a.undefineCommand(definition.Route, "Remove a route that was added", "Removes the file that `postern route add` has written."),
	)
	return cmd
}

func (a *app) bookDefineCommands() []*cobra.Command {
	return []*cobra.Command{
		a.defineCommand(definition.Book, false, "Define a book: read it, keep it, and have the daemon take it",
			`Asks on a terminal for what the flags do not tell: what the book is, its file or
its URL, user and password. Then it reads the book, or asks its server, as `+"`postern\nbook test`"+` does, writes conf.d/50-book-NAME.toml beside postern.toml, and has the
daemon reload. Where anything is wrong, nothing is changed and nothing is left behind.

Secrets are kept in files of mode 0600 in the folder "secrets" of the state folder.`),
		a.defineCommand(definition.Book, true, "Change a book that was defined", "Changes what the flags say, and keeps the rest, also the password."),
		a.undefineCommand(definition.Book, "Remove the definition of a book", "Removes the file that `postern book define` has written, and its password. The people\nand groups stay where they are."),
	}
}

func (a *app) alertDefineCommands() []*cobra.Command {
	return []*cobra.Command{
		a.defineCommand(definition.Alert, false, "Add somebody who is told: have the daemon tell them, and keep it",
			`Asks on a terminal for what the flags do not tell: an address for mail and an
upstream, the URL of a service, or that of an Alertmanager. It writes
conf.d/50-alert-NAME.toml beside postern.toml, has the daemon reload, and has it
tell the new receiver that this is a test, as `+"`postern alert test`"+` does. Where that
fails, the file and the daemon are again what they were before. While no daemon
runs, nothing is tried.

The URL of a service is a secret: it and passwords are kept in files of mode 0600 in
the folder "secrets" of the state folder.`),
		a.defineCommand(definition.Alert, true, "Change a receiver that was added", "Changes what the flags say, and keeps the rest, also secrets. It is tried before it\nis kept, as with `postern alert add`."),
		a.undefineCommand(definition.Alert, "Remove a receiver that was added", "Removes the file that `postern alert add` has written, and its secrets."),
	}
}

func (a *app) upstreamDefineCommands() []*cobra.Command {
	return []*cobra.Command{
		a.defineCommand(definition.Upstream, false, "Add an upstream: test it, keep it, and have the daemon take it",
			`Asks on a terminal for what the flags do not tell: the user, the server or the
provider, the password. Where the user is an address, its domain, or what DNS says of
that, often tells the provider. Then it reads the whole configuration with the new upstream, walks
the way to it as `+"`postern upstream test`"+` does, writes
conf.d/50-upstream-NAME.toml beside postern.toml, and has the daemon reload. Where
anything is wrong, nothing is changed and nothing is left behind.

The password is kept in a file of mode 0600 in the folder "secrets" of the state
folder, and never in the configuration.`),
		a.defineCommand(definition.Upstream, true, "Change an upstream that was added", "Changes what the flags say, and keeps the rest, also the password. It is tested\nbefore it is kept, as with `postern upstream add`."),
		a.undefineCommand(definition.Upstream, "Remove an upstream that was added",
			"Removes the file that `postern upstream add` has written, and its password. It refuses\nwhile mail waits for the upstream or routes lead to it."),
	}
}
