package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/cmd/sendmail"
	"postern/config"
	"postern/relay/route"
)

// programs are the names under which the binary is that command, with the flags
// that the name stands for.
var programs = map[string][]string{"sendmail": nil, "mailq": {"-bp"}, "newaliases": {"-bi"}}

// asProgram is the command line of a program that is called by its name.
func asProgram(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(argv[0])), ".exe")
	if flags, ok := programs[name]; ok {
		return slices.Concat([]string{sendmailName}, flags, argv[1:])
	}
	return argv[1:]
}

const sendmailName = "sendmail"

// sendmailArgs are the flags of the command line of sendmail. Another
// configuration can be named in front of the command alone: what comes after
// it may be what a stranger wrote.
func sendmailArgs(args []string) (configuration string, flags []string, ok bool) {
	for len(args) > 0 {
		value, attached := strings.CutPrefix(args[0], "--config=")
		switch {
		case args[0] == sendmailName:
			return configuration, args[1:], true
		case attached:
			configuration, args = value, args[1:]
		case args[0] == "--config" && len(args) > 1:
			configuration, args = args[1], args[2:]
		default:
			return "", nil, false
		}
	}
	return "", nil, false
}

// sendmailCommand is there for help; run knows the command before cobra does,
// whose reading of flags is another.
func (a *app) sendmailCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "sendmail [flags of sendmail] [RECIPIENT…] < message",
		Short:              "Send a message as sendmail does, for programs; also as mailq and newaliases",
		Long:               sendmail.Help(),
		DisableFlagParsing: true, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error { return a.sendmail(cmd.Context(), args) },
	}
}

// sendmail is the command with its flags.
func (a *app) sendmail(ctx context.Context, args []string) error {
	f := sendmail.Parse(args)
	switch f.Mode {
	case sendmail.Aliases:
		return nil // they are read when they change
	case sendmail.Daemon:
		return &failure{code: exitUsage, text: "sendmail starts no daemon here", hint: "`postern serve` is the daemon."}
	case sendmail.List:
		return a.mailq(ctx)
	case sendmail.Flush:
		return a.flush(ctx)
	case sendmail.Verify:
		return a.verify(ctx, f)
	}
	place, err := a.sendmailPlace()
	if err != nil {
		return err
	}
	if f.Mode == sendmail.Session {
		return sendmailFailure(place.Session(ctx, f, a.stdin, a.stdout))
	}
	return sendmailFailure(place.Deliver(ctx, f, a.stdin))
}

// sendmailPlace finds the relay of this machine. Not everybody may read the
// configuration; where things usually are is known.
func (a *app) sendmailPlace() (*sendmail.Place, error) {
	place, err := config.Locate(a.config)
	switch {
	case err == nil:
		return &sendmail.Place{Socket: place.SubmitSocket, Pickup: place.Pickup, Host: place.Hostname}, nil
	case a.config == "" && mayNotRead(config.DefaultPath()):
		return &sendmail.Place{Socket: config.DefaultSubmitSocket(), Pickup: config.DefaultPickup(), Host: config.MachineName()}, nil
	}
	return nil, badConfig(err)
}

// verify tells of each address what would become of mail to it (-bv).
func (a *app) verify(ctx context.Context, f *sendmail.Flags) error {
	from, to, err := f.Envelope()
	if err != nil {
		return sendmailFailure(err)
	}
	if len(to) == 0 {
		return usage("-bv takes addresses")
	}
	var failed error
	for _, one := range to {
		if err := a.explain(ctx, route.Query{From: from, To: one, UnixUser: sendmail.UserName(), Listener: config.SubmitListener}); err != nil {
			failed = err
		}
	}
	return failed
}

// flush tries everything now (-q), where this user may say so; programs that
// call it for good measure get no error.
func (a *app) flush(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return nil
	}
	_, err = client.Act(ctx, control.OpRetry, control.Selection{All: true})
	var gone *control.NoDaemon
	if errors.As(err, &gone) {
		return nil
	}
	return err
}

// mailq lists the queue in the words of that program (-bp).
func (a *app) mailq(ctx context.Context) error {
	out := &sendmail.Queue{Out: a.stdout}
	err := a.list(ctx, control.Filter{}, out.Entry)
	if err != nil {
		return err
	}
	return out.End()
}

// sendmailFailure gives the errors of sendmail their exit codes.
func sendmailFailure(err error) error {
	var f *sendmail.Failure
	if errors.As(err, &f) {
		return &failure{code: f.Code, text: f.Text, err: err}
	}
	return err
}
