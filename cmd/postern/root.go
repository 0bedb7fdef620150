package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/config"
)

// app is one run of the program: where it reads and prints, and what the
// flags said that all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	config  string // --config; empty: the default
	json    bool   // --json
	started bool   // the command line was understood and a command began
}

// run is the whole program. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	if configuration, flags, ok := sendmailArgs(args); ok {
		a.config = configuration
		if err := a.sendmail(ctx, flags); err != nil {
			return report(stderr, err)
		}
		return exitOK
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case !a.started:
		return report(stderr, misread(cmd, err))
	}
	return report(stderr, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Version:       currentVersion(),
		Short:         "A mail relay: accepts mail, keeps it safe, and delivers it to its upstreams",
		Args:          noArguments,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionLine())
	root.PersistentFlags().StringVar(&a.config, "config", "",
		"configuration `FILE` (default "+config.DefaultPath()+" where it exists, else the embedded default)")
	root.AddCommand(
		a.serveCommand(), a.checkCommand(), a.explainCommand(),
		a.queueCommand(), a.traceCommand(), a.statusCommand(), a.reloadCommand(), a.upstreamCommand(), a.routeCommand(), a.alertCommand(), a.adoptCommand(),
		a.sendCommand(), a.sendmailCommand(), a.bookCommand(), a.passwdCommand(), a.dkimCommand(), a.importCommand(), a.databaseCommand(), a.topCommand(), a.doctorCommand(), a.manualCommand(), a.versionCommand(),
	)
	root.SetHelpCommand(helpCommand())
	root.SetOut(a.stdout) // which the next line asks for
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil && c != root {
		c.Args, c.RunE = noArguments, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		a.completeNames(c)
	}
	return root
}

// helpCommand is cobra's, but that a command that is not there is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		Long:  "Help provides help for any command in the application.\nSimply type postern help [path to command] for full details.",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usage("there is no command `postern %s`", strings.Join(args, " "))
			}
			if len(rest) > 0 && of.HasSubCommands() {
				return noArguments(of, rest)
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// withJSON gives a command that prints a table the flag --json.
func (a *app) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// client is the way to the daemon of the configuration. It needs no more of
// the file than where the socket is: a file in the middle of an edit keeps
// nobody from the running daemon.
func (a *app) client() (*control.Client, error) {
	place, err := config.Locate(a.config)
	if err != nil {
		// Not everybody who may operate or look may read the file.
		if a.config == "" && mayNotRead(config.DefaultPath()) {
			return control.DialEither(config.DefaultSockets()), nil
		}
		return nil, badConfig(err)
	}
	return control.DialEither(place.Socket, place.ReadSocket), nil
}

// status asks the daemon how it is.
func (a *app) status(ctx context.Context) (*control.Status, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	return client.Status(ctx)
}
