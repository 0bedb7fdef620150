package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"time"

	"postern/cmd/console"
	"postern/cmd/control"
	"postern/cmd/feed"
	"postern/cmd/history"
	"postern/config"
	"postern/queue"
	"postern/relay/api"
	"postern/relay/archive"
	"postern/relay/capture"
	"postern/relay/intake"
	"postern/relay/memory"
	"postern/relay/oauth"
	"postern/relay/origin"
	"postern/relay/outgoing"
	"postern/relay/peer"
	"postern/relay/pickup"
	"postern/relay/route"
	"postern/relay/storm"
	"postern/relay/submission"
	"postern/relay/upstream"
	"postern/spool"
	"postern/spool/disk"
	"postern/spool/statefile"
)

// start opens everything in order, the listeners last. On an error nothing stays
// open.
func (d *daemon) start(cfg *config.Config) (err error) {
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			d.close(ctx)
		}
	}()
	if err := d.openStore(cfg); err != nil {
		return startError(spoolFailed, err)
	}
	if err := d.claimState(cfg.StateDir); err != nil {
		return err
	}
	if dir := cfg.Submission.ArchiveDir; dir != "" {
		if err := archive.New(dir).Prepare(); err != nil {
			return startError(archiveFailed, fmt.Errorf("submission.archive_dir %s: %w", dir, err))
		}
	}
	d.history = history.New(history.Options{
		Dir: cfg.HistoryDir(), Keep: cfg.History.Keep, MaxSize: cfg.History.MaxSize, Failed: d.events.HistoryFailed,
	})
	d.log.Keep(d.history)
	st, err := d.prepare(cfg)
	if err != nil {
		return err
	}
	d.state.Store(st)
	if w := st.shares.scarce(cfg); w != nil {
		d.events.ConfigWarning(*w)
	}
	d.forms = outgoing.New(d.log.Outgoing())
	d.forms.Use(st.forms)
	facts := d.facts(cfg)
	d.tokens = oauth.New(oauth.Options{State: facts, Key: cfg.Spool.TokenKey, Events: d.log.Tokens()})
	d.memory = memory.New(facts)
	d.dialer = &upstream.Dialer{
		Hostname: d.Hostname, Events: d.ends.observe(d.log.Upstream()), Tokens: d.tokens, Memory: d.memory, Capture: d.connectCapture,
		Form: d.forms.Form,
	}
	recall := newRecall()
	d.queue = queue.New(queue.Options{
		Store: d.store, Deliverer: deliverer{d.dialer}, Config: st.cfg, State: facts,
		Events: recall.queue(d.log.Queue()), Route: d.notify, Grace: grace,
	})
	d.openFleet()
	admins, err := d.listenAdmin(cfg)
	if err != nil {
		return err
	}
	d.openStorms(st, d.log.Storms())
	d.agent = submission.New(submission.Options{
		Accept: d.queue, Tokens: d.tokens, Storms: d.storms.Guard, Events: d.silence.observe(d.loops.observe(recall.submission(d.log.Submission()))), Memory: origin.NewBudget(transactionMemory(memoryLimit())),
	})
	handed := &peer.Handed{}
	d.intake = intake.New(intake.Options{Submission: d.agent, Events: d.log.Intake(), Handed: handed})
	d.api = api.New(api.Options{
		Submission: d.agent, Messages: messages{d.store, d.operators, recall}, Events: d.log.API(), Handed: handed, Memory: origin.NewBudget(requestMemory(memoryLimit())),
	})
	if cfg.Path == "" && cfg.Pickup.Dir != "" {
		if err := disk.MakeFolder(cfg.Pickup.Dir); err != nil {
			return startError(stateFailed, err)
		}
	}
	d.openAlerts(cfg)
	d.silence.open(cfg.StateDir, d.log.Alerts())
	st.alerts = d.targets(cfg)
	if admins.console != nil {
		live := feed.New()
		d.log.Watch(live)
		d.openTrend(cfg)
		d.console = console.New(console.Options{
			Store: d.reader(), Standin: d.waits(), Queue: d.operators, Relay: d, Captured: capture.NewBox(cfg.CaptureDir()), Release: d.release, Login: d.login, Config: func() *config.Config { return d.state.Load().read },
			Books: d.agent.Books, Tokens: d.tokens, Submit: d.handIn,
			Search: d.search, Feed: live, Trend: d.trend, Alerts: d.alerts, Events: d.log.Console(),
		})
	}
	d.pickup = pickup.New(pickup.Options{Submission: d.agent, Events: d.log.Pickup()})
	if err := d.listen(st); err != nil {
		admins.close()
		return startError(listenFailed, err)
	}
	d.queue.Start()
	d.pickup.Start()
	d.serveAdmin(admins, st.shares)
	d.announce(st.cfg)
	return nil
}

// listen puts the listeners of a state in force, all of them or none.
func (d *daemon) listen(st *state) error {
	cfg := st.shares.lowered(st.cfg)
	settings, err := console.Prepare(cfg)
	if err != nil {
		return err
	}
	plan, err := d.api.Prepare(cfg)
	if err != nil {
		return err
	}
	if err := d.intake.Apply(cfg, st.routes); err != nil {
		plan.Drop()
		return err
	}
	d.api.Use(plan)
	if d.console != nil {
		d.console.Use(settings)
	}
	d.pickup.Use(cfg)
	return nil
}

// claimState keeps a second daemon out of the state folder: each would write
// over what the other has counted. A folder that cannot be used at all keeps
// no relay from starting.
func (d *daemon) claimState(dir string) (err error) {
	d.leave, err = (&statefile.Folder{Dir: dir}).Claim()
	var held *disk.Held
	switch {
	case errors.As(err, &held):
		return startError(stateFailed, inUse(dir, held))
	case err != nil:
		d.events.ConfigWarning(unclaimed(dir, err))
	}
	return nil
}

// unclaimed says that the state folder could not be claimed. The error names
// the part of the path at which it was met.
func unclaimed(dir string, err error) config.Problem {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return config.Problem{Key: "state_dir", Text: fmt.Sprintf("%s cannot be used, and a second daemon on it would not be noticed: %v", dir, err),
		Hint: "create it for the user that runs postern"}
}

// inUse says that another process has the state folder.
func inUse(dir string, held *disk.Held) error {
	return &peer.Advised{Err: fmt.Errorf("state_dir %s is %w, which is another daemon", dir, held),
		Remedy: "stop that one, or give this one a state_dir of its own"}
}

// prepare turns a configuration into a state: routes compiled, the capture
// server running where it is needed. A reload is under way, or d is starting.
func (d *daemon) prepare(cfg *config.Config) (*state, error) {
	routes, err := route.New(cfg.Routes)
	if err != nil {
		return nil, startError(configFailed, err)
	}
	forms, err := outgoing.NewPolicy(cfg)
	if err != nil {
		return nil, startError(configFailed, err)
	}
	storms, err := storm.NewPolicy(cfg.Storm)
	if err != nil {
		return nil, startError(configFailed, err)
	}
	st := &state{cfg: cfg, read: cfg, routes: routes, forms: forms, storms: storms, shares: share(d.limit, cfg, d.handed), loaded: time.Now()}
	if !cfg.NeedsCapture() {
		return st.digested(), nil
	}
	server := d.capture.Load()
	if server == nil {
		server, err = capture.Start(capture.Options{
			Dir: cfg.CaptureDir(), Hostname: cfg.Hostname, Events: d.log.Capture(),
		})
		if err != nil {
			return nil, startError(captureFailed, fmt.Errorf("the Maildir of the capture server, %s: %w", cfg.CaptureDir(), err))
		}
		d.capture.Store(server)
	}
	own := *cfg
	own.Upstreams = make(map[string]*config.Upstream, len(cfg.Upstreams))
	for name, up := range cfg.Upstreams {
		if up.Provider == config.CaptureProvider {
			up = server.Upstream(up)
		}
		own.Upstreams[name] = up
	}
	st.cfg = &own
	return st.digested(), nil
}

// connectCapture connects to the capture server. Who has an upstream that leads
// there got it from prepare, which starts the server.
func (d *daemon) connectCapture(ctx context.Context) (net.Conn, error) {
	return d.capture.Load().Connect(ctx)
}

// adminListeners are where administrators and scrapers are answered. All but
// control may be nil: not wanted.
type adminListeners struct{ control, read, scrapes, console net.Listener }

func (a *adminListeners) close() {
	for _, l := range []net.Listener{a.control, a.read, a.scrapes, a.console} {
		if l != nil {
			l.Close()
		}
	}
}

// listenAdmin opens the control socket and, where they are wanted, the one for
// those who may look, and the address for scrapers.
func (d *daemon) listenAdmin(cfg *config.Config) (a *adminListeners, err error) {
	a = &adminListeners{}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	c := &cfg.Control
	if a.control, err = control.Listen(c.Socket, c.Mode, c.Group); err != nil {
		return a, startError(controlFailed, fmt.Errorf("the control socket %s: %w", c.Socket, err))
	}
	if c.ReadSocket != "" {
		if a.read, err = control.Listen(c.ReadSocket, readMode, c.ReadGroup); err != nil {
			return a, startError(controlFailed, fmt.Errorf("control.read_socket %s: %w", c.ReadSocket, err))
		}
	}
	if c.Metrics != "" {
		if a.scrapes, err = net.Listen("tcp", c.Metrics); err != nil {
			return a, startError(metricsFailed, fmt.Errorf("control.metrics: %w", err))
		}
	}
	if l := &cfg.Console.Listener; l.Address != "" {
		if a.console, err = console.Listen(l); err != nil {
			return a, startError(listenFailed, fmt.Errorf("console.address: %w", err))
		}
	}
	return a, nil
}

// readMode is the mode of control.read_socket: its group may look.
const readMode = 0o660

func (d *daemon) serveAdmin(a *adminListeners, has *shares) {
	d.control = control.NewServer(control.Options{
		Store: d.reader(), Standin: d.waits(), Queue: d.operators, Relay: d, Scrapes: d.log.Metrics(d.Status), Search: d.search, Alerts: d.alerts,
		Events: func(e control.Event) {
			if e, ok := e.(control.Failed); ok {
				d.events.ControlFailed(e.Text)
			}
		},
	})
	run := func(name string, serve func(net.Listener, int) error, l net.Listener, places int) {
		d.served.Go(func() {
			if err := serve(l, places); err != nil {
				d.events.PartFailed(name, err)
			}
		})
	}
	run("control", d.control.ServeControl, a.control, has.operators)
	if a.read != nil {
		run("read", d.control.ServeRead, a.read, has.readers)
	}
	if a.scrapes != nil {
		run("metrics", d.control.ServeMetrics, a.scrapes, has.scrapers)
	}
	if a.console != nil {
		run("console", d.console.Serve, a.console, has.browsers)
	}
}

// announce tells where the listeners are and what does not leave the machine.
func (d *daemon) announce(cfg *config.Config) {
	for _, l := range d.listeners(cfg) {
		what := "smtp"
		if l.Name == config.HTTPListener || l.Name == config.SubmitListener {
			what = "http"
		}
		d.events.Listening(what, l.Name, l.Address, l.TLS)
	}
	if cfg.Pickup.Dir != "" {
		d.events.Listening("pickup", config.PickupListener, cfg.Pickup.Dir, "off")
	}
	d.events.Listening("control", "", cfg.Control.Socket, "off")
	if cfg.Control.ReadSocket != "" {
		d.events.Listening("read", "", cfg.Control.ReadSocket, "off")
	}
	if l := &cfg.Console.Listener; l.Address != "" {
		d.events.Listening("console", "", l.Address, string(l.TLS))
	}
	if cfg.Control.Metrics != "" {
		d.events.Listening("metrics", "", cfg.Control.Metrics, "off")
	}
	var captured []string
	for name, up := range cfg.Upstreams {
		if up.Provider == config.CaptureProvider {
			captured = append(captured, name)
		}
	}
	if len(captured) > 0 {
		slices.Sort(captured)
		d.events.Capturing(captured, filepath.Clean(cfg.CaptureDir()))
	}
}

// notify says who gets a notice, by the submission's rules.
func (d *daemon) notify(sender string, upstreams []string) []spool.Recipient {
	return d.agent.Notify(sender, upstreams)
}

// deliverer joins the queue's sessions to the upstreams': a Feed of the one
// is a Feed of the other.
type deliverer struct{ dialer *upstream.Dialer }

func (d deliverer) Deliver(ctx context.Context, up *config.Upstream, feed *queue.Feed) error {
	return d.dialer.Deliver(ctx, up, feed)
}
