package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"postern/cmd/control"
	"postern/config"
)

// Reload reads the configuration again and puts it in force as a whole, or
// keeps the old one and says why.
func (d *daemon) Reload(_ context.Context, operator string) (*control.Reloaded, error) {
	d.reloading <- struct{}{}
	defer func() { <-d.reloading }()
	notifyReload()
	defer notify(sd.SdNotifyReady)
	old := d.state.Load()
	done, err := d.replace(old)
	if err != nil {
		d.refuse(old.cfg.Path, operator, err)
		d.reloadFailed(old.cfg.Path, err)
		return nil, blocked(err)
	}
	d.refused.Store(nil)
	d.events.Reloaded(done.Config, operator, done.Kept)
	for _, w := range done.Warnings {
		d.events.ConfigWarning(w)
	}
	return done, nil
}

// blocked turns what would have ended a start into control's words.
func blocked(err error) error {
	var start *StartError
	if !errors.As(err, &start) {
		return err
	}
	obstacles := map[Kind]control.Obstacle{
		Misconfigured: control.ObstacleSettings, CannotCreate: control.ObstacleMissing,
		NotAllowed: control.ObstacleDenied, Taken: control.ObstacleTaken,
	}
	return &control.Blocked{Obstacle: obstacles[start.Kind], Reason: start.Text, Hint: start.Hint}
}

// replace does the work of Reload. What can fail comes first.
func (d *daemon) replace(old *state) (*control.Reloaded, error) {
	cfg, err := d.load()
	var problems *config.Problems
	if errors.As(err, &problems) {
		return nil, &control.Rejected{Problems: problems.ForOthers().List}
	}
	if err != nil {
		return nil, err
	}
	if err := checkOwner(cfg); err != nil {
		return nil, err
	}
	cfg, kept := config.KeepUntilRestart(old.cfg, cfg)
	st, err := d.prepare(cfg)
	if err != nil {
		return nil, err
	}
	st.alerts = d.targets(st.cfg)
	if err := d.listen(st); err != nil {
		return nil, d.inOwnWay(startError(listenFailed, err))
	}
	// From here on nothing fails. New mail may name new upstreams already:
	// until the next line that only makes it wait.
	d.forms.Use(st.forms)
	d.storms.Use(st.storms, time.Now())
	d.queue.Apply(st.cfg)
	d.state.Store(st)
	if err := d.log.SetLevel(string(cfg.Log.Level)); err != nil {
		return nil, err // config lets no such level through
	}
	d.announce(st.cfg)
	warnings := slices.Clone(cfg.Warnings)
	if w := st.shares.scarce(st.cfg); w != nil {
		warnings = append(warnings, *w)
	}
	return &control.Reloaded{Config: cfg.Path, Warnings: warnings, Kept: kept}, nil
}

// inOwnWay is err, with another hint where the listener that is in the way is
// one of ours: a new address is opened before an old one is given up, so that
// "127.0.0.1:2525" cannot become "0.0.0.0:2525".
func (d *daemon) inOwnWay(err error) error {
	var start *StartError
	var op *net.OpError
	if !errors.As(err, &start) || start.Kind != Taken || !errors.As(err, &op) || op.Addr == nil {
		return err
	}
	_, port, _ := net.SplitHostPort(op.Addr.String())
	for _, a := range d.intake.Addrs() {
		if _, own, e := net.SplitHostPort(a.String()); e == nil && own == port {
			start.Hint = fmt.Sprintf("This relay listens at %s, which is in the way: restart it, and it listens at the new address.", a)
		}
	}
	return err
}

// refuse tells the log why a configuration was not taken.
func (d *daemon) refuse(path, operator string, err error) {
	var rejected *control.Rejected
	if !errors.As(err, &rejected) {
		d.events.ReloadRefused(path, operator, 0, err.Error())
		return
	}
	d.events.ReloadRefused(path, operator, len(rejected.Problems), rejected.Error())
	for _, p := range rejected.Problems {
		d.events.ConfigProblem(p)
	}
}
