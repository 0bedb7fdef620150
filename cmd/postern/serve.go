package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/daemon"
	"postern/cmd/eventlog"
	"postern/config"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the relay",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signals := daemon.Heed()
			defer signals.Forget()
			load := func() (*config.Config, error) { return findConfig(a.config) }
			cfg, err := load()
			var problems *config.Problems
			if errors.As(err, &problems) && !isTerminal(a.stderr) { // it is a log that others read, too
				err = problems.ForOthers()
			}
			if err != nil {
				return badConfig(err)
			}
			log, err := eventlog.New(a.stderr, eventlog.Options{
				Level: string(cfg.Log.Level), Format: string(cfg.Log.Format), Terminal: isTerminal(a.stderr),
			})
			if err != nil {
				return badConfig(err)
			}
			defer log.Close(2 * time.Second)
			err = daemon.Run(cmd.Context(), daemon.Options{
				Config: cfg, Load: load, Log: log, Version: currentVersion(), Confine: true,
				Signals: signals,
				Ready:   func() { go a.welcome(cfg) }, // whoever reads it or not
			})
			return told(log, startFailure(err))
		},
	}
}

// welcome tells whoever tries it out, without a configuration, what happens
// to mail.
func (a *app) welcome(cfg *config.Config) {
	if cfg.Path != "" {
		return
	}
	var listeners []string
	for _, l := range cfg.AllListeners() {
		listeners = append(listeners, l.Address)
	}
	fmt.Fprintf(a.stdout, `There is no configuration at %s: this is the embedded default.
Hand mail to %s (by HTTP). It stays on this machine, whoever it is for, and arrives in the Maildir %s.
`, safe(config.DefaultPath()), safe(strings.Join(listeners, ", ")), safe(cfg.CaptureDir()))
}

// told tells a failed start in the log where its lines are JSON, so that whoever
// reads them finds it there; elsewhere err is printed as ever.
func told(log *eventlog.Log, err error) error {
	if err == nil || !log.JSON() {
		return err
	}
	f := asFailure(err)
	log.Process().StartFailed(strings.ReplaceAll(f.text, "\n", "; "), f.hint, f.code)
	return errReported{f.code}
}

// startFailure gives a failed start its exit code.
func startFailure(err error) error {
	var start *daemon.StartError
	if !errors.As(err, &start) {
		return err
	}
	codes := map[daemon.Kind]int{
		daemon.Misconfigured: exitConfig,
		daemon.Locked:        exitTempFail,
		daemon.CannotCreate:  exitCantCreate,
		daemon.NotAllowed:    exitNoPerm,
		daemon.Taken:         exitUnavailable,
	}
	return &failure{code: codes[start.Kind], text: start.Text, hint: start.Hint, err: err}
}
