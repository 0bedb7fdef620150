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

	"postern/cmd/alert"
	"postern/cmd/console"
	"postern/cmd/control"
	"postern/cmd/eventlog"
	"postern/cmd/history"
	"postern/cmd/trend"
	"postern/config"
	"postern/queue"
	"postern/relay/api"
	"postern/relay/capture"
	"postern/relay/intake"
	"postern/relay/memory"
	"postern/relay/oauth"
	"postern/relay/outgoing"
	"postern/relay/pickup"
	"postern/relay/route"
	"postern/relay/storm"
	"postern/relay/submission"
	"postern/relay/upstream"
	"postern/spool"
	"postern/spool/postgres"
	"postern/spool/standin"
)

// grace is how long a stop waits for clients inside DATA and for attempts
// under way.
const grace = 30 * time.Second

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
	// Signals are those that came since Heed; nil: from Run on.
	Signals *Signals
}

// daemon is the running relay. It is what the control socket asks.
type daemon struct {
	load    func() (*config.Config, error)
	log     *eventlog.Log
	events  eventlog.Process
	version string
	program string // the path of this one; empty: the system does not say
	started time.Time

	store      spool.Store
	closeStore func() error    // nil: it was not opened
	database   *postgres.Store // the same, where relays share it; else nil
	standin    *standin.Store  // for a database that is away; nil: none

	leave func() // gives the state folder back; nil: it was not claimed
	queue *queue.Queue
	// operators carries out what they want of the queue, and search finds the
	// lives of messages; where relays share it, at all of them.
	operators control.MailQueue
	search    func(context.Context, history.Query) (*history.Found, error)

	intake  *intake.Server
	api     *api.Server
	agent   *submission.Agent
	pickup  *pickup.Server
	dialer  *upstream.Dialer
	forms   *outgoing.Forms
	tokens  *oauth.Tokens
	memory  *memory.Store
	history *history.History
	control *control.Server
	alerts  *alert.Watch
	refused atomic.Pointer[alert.Trouble] // the last reload; nil: it was not
	lag     lag
	ends    ends
	clock   clock
	loops   loops
	silence silence
	storms  storms
	served  sync.WaitGroup  // the goroutines of control and of the watchdog
	console *console.Server // nil: it is off
	trend   *trend.Day      // for its charts; nil: it is off

	state atomic.Pointer[state]

	limit  int            // of descriptors; 0: none
	handed map[string]int // sockets of a service manager, by name

	reloading chan struct{}                  // has one in it while a reload is under way
	capture   atomic.Pointer[capture.Server] // set once, by a start or a reload; nil: none was needed yet
}

// lag is how many lines of the log were dropped, and when that was seen last.
type lag struct {
	sync.Mutex
	dropped int
	at      time.Time
}

// state is what one configuration amounts to.
type state struct {
	cfg    *config.Config // with upstreams of the capture server pointed at it
	read   *config.Config // as it was read
	routes *route.Table
	forms  *outgoing.Policy
	storms *storm.Policy
	alerts []alert.Target
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
	signals := o.Signals
	if signals == nil {
		signals = Heed()
	}
	signal.Notify(signals.stop, os.Interrupt, syscall.SIGTERM)
	defer signals.Forget()

	d := &daemon{
		load: o.Load, log: o.Log, events: o.Log.Process(), version: o.Version,
		started: time.Now(), limit: descriptorLimit(), handed: handedOver(), reloading: make(chan struct{}, 1),
	}
	d.program, _ = os.Executable()
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
	d.served.Go(func() { d.alerts.Run(running) })
	d.served.Go(func() { d.runStorms(running) })
	if d.trend != nil {
		d.served.Go(func() { d.runTrend(running) })
	}
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

// accounts are those that are configured now.
func (d *daemon) accounts() (list []*config.Account) {
	for _, up := range d.state.Load().cfg.Upstreams {
		list = append(list, &up.Account)
	}
	return list
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
		both.Go(func() { d.pickup.Shutdown(ctx) })
	}
	if d.queue != nil {
		both.Go(func() { _ = d.queue.Stop(ctx) })
	}
	both.Wait()
	if d.agent != nil {
		d.agent.Close()
	}
	if d.tokens != nil {
		d.tokens.Wait(ctx) // for what a provider is giving out at this moment
	}
	if d.control != nil {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = d.control.Shutdown(short)
		cancel()
	}
	if d.console != nil {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = d.console.Shutdown(short)
		cancel()
	}
	d.served.Wait()
	if d.silence.folder != nil {
		d.silence.close()
	}
	if d.storms.folder != nil {
		d.storms.save()
	}
	select {
	case d.reloading <- struct{}{}:
		defer func() { <-d.reloading }()
	case <-ctx.Done(): // one that hangs; what it was to change ends with the process
	}
	if server := d.capture.Load(); server != nil {
		_ = server.Close(ctx)
	}
	if d.closeStore != nil {
		if err := d.closeStore(); err != nil {
			d.events.PartFailed("spool", err)
		}
	}
	if d.history != nil {
		d.history.Close(2 * time.Second)
	}
	if d.leave != nil {
		d.leave()
	}
}
