package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"postern/config"
)

// hurried is how long a stop waits after a second signal.
const hurried = 2 * time.Second

// Signals are what a process was told from outside. Those to stop have a place
// of their own, so that no number of SIGHUP takes it from them: a channel that
// is full loses what comes.
type Signals struct {
	stop   chan os.Signal // the first stops in order, the second at once
	hangup chan os.Signal
	unread chan os.Signal
}

// Heed takes SIGHUP from now on, which would end a process that is still
// reading its configuration; Run reads it again when everything runs. SIGPIPE,
// by a line to a log that nobody reads any more, must not end the relay. It is
// taken and not ignored, which commands that we run would inherit.
func Heed() *Signals {
	s := &Signals{stop: make(chan os.Signal, 2), hangup: make(chan os.Signal, 1), unread: make(chan os.Signal, 1)}
	signal.Notify(s.hangup, syscall.SIGHUP)
	signal.Notify(s.unread, syscall.SIGPIPE)
	return s
}

// Forget gives up all of them: each does what it does to any process.
func (s *Signals) Forget() {
	signal.Stop(s.stop)
	signal.Stop(s.hangup)
	signal.Stop(s.unread)
}

// again has SIGHUP come once more.
func (s *Signals) again() {
	select {
	case s.hangup <- syscall.SIGHUP:
	default: // there is one already
	}
}

// errInterrupted ends a start that a signal did not wait for. What is on disk
// survives that as it does a crash.
var errInterrupted = errors.New("interrupted while it started")

// begin starts, and heeds signals meanwhile: after one it waits a little for
// the start to end, after a second one it doesn't. why is the reason to stop
// what has started, or empty.
func (d *daemon) begin(cfg *config.Config, signals *Signals) (why string, err error) {
	started := make(chan error, 1)
	go func() { started <- d.start(cfg) }()
	var hurry <-chan time.Time
	reload := false
	for {
		select {
		case err := <-started:
			if reload {
				signals.again() // for whoever serves
			}
			return why, err
		case <-hurry:
			return why, errInterrupted
		case <-signals.hangup:
			reload = true
		case s := <-signals.stop:
			if why != "" {
				return why, errInterrupted
			}
			why = "signal: " + s.String()
			d.events.Stopping(why, hurried)
			hurry = time.After(hurried)
		}
	}
}

// serve waits for a reason to stop and returns it. A reload goes on beside it:
// one that hangs, on a disk or a file server that does, must not hold up a stop.
func (d *daemon) serve(ctx context.Context, signals *Signals) (why string) {
	var reloaded chan struct{} // closed with the end of the one under way; nil: none is
	again := false             // another was asked for meanwhile
	for {
		select {
		case <-ctx.Done():
			return "the caller ended it"
		case s := <-signals.stop:
			return "signal: " + s.String()
		case <-signals.hangup:
			if again = reloaded != nil; again {
				continue
			}
			reloaded = make(chan struct{})
			go func() {
				defer close(reloaded)
				_, _ = d.Reload(ctx, "SIGHUP") // what came of it stands in the log
			}()
		case <-reloaded:
			if reloaded = nil; again {
				again = false
				signals.again()
			}
		}
	}
}

// stop ends everything in the reverse order of the start. It waits for the
// grace period, or for a second signal.
func (d *daemon) stop(why string, signals *Signals) {
	began := time.Now()
	d.events.Stopping(why, grace)
	notify(sd.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.close(ctx)
	}()
	var hurry <-chan time.Time
wait:
	for {
		select {
		case <-done:
			break wait
		case <-hurry:
			break wait // something hangs; what is on disk survives that as it does a crash
		case <-signals.stop:
			cancel()
			hurry = time.After(hurried)
		}
	}
	notified(time.Second)
	d.events.Stopped(time.Since(began), ctx.Err() == nil)
}
