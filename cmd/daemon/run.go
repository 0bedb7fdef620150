package daemon

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"postern/cmd/control"
	"postern/cmd/eventlog"
	"postern/config"
	"postern/queue"
	"postern/relay/api"
	"postern/relay/capture"
	"postern/relay/intake"
	"postern/relay/memory"
	"postern/relay/oauth"
	"postern/relay/outgoing"
	"postern/relay/route"
	"postern/relay/upstream"
	"postern/spool"
)

// grace is how long a stop waits for clients inside DATA and for attempts
// under way.
const grace = 30 * time.Second

// hurried is how long a stop waits after a second signal.
const hurried = 2 * time.Second

// Options are what a daemon is started with.
type Options struct {
	Config *config.Config
	// Load reads the configuration again, for a reload.
	Load    func() (*config.Config, error)
	Log     *eventlog.Log
	Version string
	// Confine says whether the configuration may confine this process, which
	// lasts as long as that does.
	Confine bool
	// Ready is called once when everything runs; nil: nobody waits.
	Ready func()
}

// daemon is the running relay. It is what the control socket asks.
type daemon struct {
	load    func() (*config.Config, error)
	log     *eventlog.Log
	events  eventlog.Process
	version string
	started time.Time

	store      spool.Store
	closeStore func() error // nil: it was not opened

	leave   func() // gives the state folder back; nil: it was not claimed
	queue   *queue.Queue
	intake  *intake.Server
	api     *api.Server
	dialer  *upstream.Dialer
	forms   *outgoing.Forms
	tokens  *oauth.Tokens
	memory  *memory.Store
	control *control.Server
	served  sync.WaitGroup // the goroutines of control and of the watchdog

	state atomic.Pointer[state]

	limit  int            // of descriptors; 0: none
	handed map[string]int // sockets of a service manager, by name

	reloading sync.Mutex                     // one reload at a time
	capture   atomic.Pointer[capture.Server] // set once, by a start or a reload; nil: none was needed yet
}

// state is what one configuration amounts to.
type state struct {
	cfg    *config.Config // with upstreams of the capture server pointed at it
	routes *route.Table
	forms  *outgoing.Policy
	shares *shares
	loaded time.Time
	// digest is that of cfg, and digests are those of its upstreams by name.
	digest  string
	digests map[string]string
}

// digested is s with the digests of its configuration.
func (s *state) digested() *state {
	s.digest, s.digests = s.cfg.Digest(), make(map[string]string, len(s.cfg.Upstreams))
	for name, up := range s.cfg.Upstreams {
		s.digests[name] = up.Digest()
	}
	return s
}

// Run runs a relay until ctx is done or a signal ends it: SIGTERM or SIGINT
// stop it in order, a second one at once, SIGHUP reloads. A *StartError says
// why a start failed.
func Run(ctx context.Context, o Options) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	// A line to a log that nobody reads any more must not end the relay. The
	// signal is taken and not ignored, which commands that we run would inherit.
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGPIPE)
	defer signal.Stop(unread)

	d := &daemon{
		load: o.Load, log: o.Log, events: o.Log.Process(), version: o.Version,
		started: time.Now(), limit: descriptorLimit(), handed: handedOver(),
	}
	defer adopt(d.events)()
	d.events.Starting(o.Version, o.Config.Path, os.Getpid())
	if os.Geteuid() == 0 {
		d.events.AsRoot("run it as a user of its own; a port below 1024 needs no more than CAP_NET_BIND_SERVICE, or a socket of systemd")
	}
	for _, w := range o.Config.Warnings {
		d.events.ConfigWarning(w)
	}
	if w := o.Config.DoubtfulHostname(); w != nil {
		d.events.ConfigWarning(*w)
	}
	if err := checkOwner(o.Config); err != nil {
		return err
	}
	heedLimit()
	why, err := d.begin(o.Config, signals)
	switch {
	case errors.Is(err, errInterrupted):
		d.events.Stopped(time.Since(d.started), false)
		return nil
	case err != nil:
		return err
	case why != "":
		d.stop(why, signals)
		return nil
	}
	if o.Confine {
		folders, err := confine(o.Config)
		if err != nil {
			short, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			d.close(short)
			return &StartError{Kind: NotAllowed, Text: "the process cannot be confined: " + err.Error(), Hint: `set confine = "off"`}
		}
		d.events.Confined(folders)
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog(running, &d.served, func() { d.Health() })
	d.tokens.KeepLogins(running, d.accounts)
	paceHeap(running, &d.served)
	d.events.Ready(time.Since(d.started))
	notify(sd.SdNotifyReady)
	if o.Ready != nil {
		o.Ready()
	}
	why = d.serve(ctx, signals)
	cancel()
	d.stop(why, signals)
	return nil
}

// adopt makes events of what libraries write by the standard logger, such as
// net/http of a server that answers unasked: no line stands beside ours on
// standard error. end gives the logger back.
func adopt(events eventlog.Process) (end func()) {
	flags, out := log.Flags(), log.Writer()
	log.SetFlags(0)
	log.SetOutput(libraries{events})
	return func() {
		log.SetFlags(flags)
		log.SetOutput(out)
	}
}

type libraries struct{ events eventlog.Process }

func (l libraries) Write(p []byte) (int, error) {
	l.events.LibrarySaid(strings.TrimSpace(string(p)))
	return len(p), nil
}

// errInterrupted ends a start that a signal did not wait for. What is on disk
// survives that as it does a crash.
var errInterrupted = errors.New("interrupted while it started")

// begin starts, and heeds signals meanwhile: after one it waits a little for
// the start to end, after a second one it doesn't. why is the reason to stop
// what has started, or empty.
func (d *daemon) begin(cfg *config.Config, signals chan os.Signal) (why string, err error) {
	started := make(chan error, 1)
	go func() { started <- d.start(cfg) }()
	var hurry <-chan time.Time
	reload := false
	for {
		select {
		case err := <-started:
			if reload {
				select {
				case signals <- syscall.SIGHUP: // for whoever serves
				default: // there are others before it
				}
			}
			return why, err
		case <-hurry:
			return why, errInterrupted
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				reload = true
			case why != "":
				return why, errInterrupted
			default:
				why = "signal: " + s.String()
				d.events.Stopping(why, hurried)
				hurry = time.After(hurried)
			}
		}
	}
}

// accounts are those that are configured now.
func (d *daemon) accounts() (list []*config.Account) {
	for _, up := range d.state.Load().cfg.Upstreams {
		list = append(list, &up.Account)
	}
	return list
}

// serve waits for a reason to stop and returns it.
func (d *daemon) serve(ctx context.Context, signals <-chan os.Signal) (why string) {
	for {
		select {
		case <-ctx.Done():
			return "the caller ended it"
		case s := <-signals:
			if s != syscall.SIGHUP {
				return "signal: " + s.String()
			}
			// What came of it stands in the log.
			_, _ = d.Reload(ctx, "SIGHUP")
		}
	}
}

// stop ends everything in the reverse order of the start. It waits for the
// grace period, or for a second signal.
func (d *daemon) stop(why string, signals <-chan os.Signal) {
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
		case s := <-signals:
			if s != syscall.SIGHUP {
				cancel()
				hurry = time.After(hurried)
			}
		}
	}
	notified(time.Second)
	d.events.Stopped(time.Since(began), ctx.Err() == nil)
}

// close ends whatever was started. Clients and attempts have until ctx is
// done; the queue and the listeners end side by side, so that one grace
// period is enough for all.
func (d *daemon) close(ctx context.Context) {
	var both sync.WaitGroup
	if d.intake != nil {
		both.Go(func() { _ = d.intake.Shutdown(ctx) })
	}
	if d.api != nil {
		both.Go(func() { _ = d.api.Shutdown(ctx) })
	}
	if d.queue != nil {
		both.Go(func() { _ = d.queue.Stop(ctx) })
	}
	both.Wait()
	if d.tokens != nil {
		d.tokens.Wait(ctx) // for what a provider is giving out at this moment
	}
	if d.control != nil {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = d.control.Shutdown(short)
		cancel()
	}
	d.served.Wait()
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if server := d.capture.Load(); server != nil {
		_ = server.Close(ctx)
	}
	if d.closeStore != nil {
		if err := d.closeStore(); err != nil {
			d.events.PartFailed("spool", err)
		}
	}
	if d.leave != nil {
		d.leave()
	}
}
