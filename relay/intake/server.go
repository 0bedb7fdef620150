package intake

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/peer"
	"postern/relay/submission"
)

// Options are what a Server works with.
type Options struct {
	Submission *submission.Agent // takes the messages
	Events     func(Event)       // nil: nobody is told
	Handed     *peer.Handed      // sockets of a service manager; nil: this server takes them
}

// Server owns the listeners and their connections. Make one by New, give it
// a configuration by Apply, any number of times, and end it by Shutdown and
// Close. Its methods may be called concurrently.
type Server struct {
	submission *submission.Agent
	events     func(Event)
	site       atomic.Pointer[site]
	closed     atomic.Bool
	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	running    sync.WaitGroup // accept loops and connections

	apply sync.Mutex // one Apply, Shutdown or Close at a time

	mu        sync.Mutex // guards what follows
	listeners map[listenerKey]*listener
	stopping  bool

	handed *peer.Handed
	shared *shared
}

// site is what every connection looks at anew, so that a reload reaches clients
// that stay connected.
type site struct {
	hostname string
	askUser  bool // something asks for the user of a TCP peer of this machine
}

// ErrClosed: the server was shut down.
var ErrClosed = errors.New("intake: server closed")

// New makes a server that listens nowhere yet.
func New(o Options) *Server {
	s := &Server{submission: o.Submission, events: o.Events, handed: o.Handed, listeners: map[listenerKey]*listener{}, shared: newShared()}
	if s.handed == nil {
		s.handed = &peer.Handed{}
	}
	if s.events == nil {
		s.events = func(Event) {}
	}
	s.site.Store(&site{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *Server) hostname() string { return s.site.Load().hostname }

// Apply makes cfg and routes the ones in force, here and in the submission,
// whole or not at all: where a
// listener can't be opened, a certificate not be read or a stored password
// not be understood, the error says so and everything stays as it was.
//
// Listeners that stay keep their socket; what changed about them holds for
// new connections. Routes and host name hold from the next MAIL on. Clients
// of a listener that is gone are sent away as by Shutdown.
func (s *Server) Apply(cfg *config.Config, routes submission.Router) error {
	s.apply.Lock()
	defer s.apply.Unlock()
	if s.stopped() {
		return ErrClosed
	}
	policy, err := submission.NewPolicy(cfg, routes)
	if err != nil {
		return err
	}
	next, err := s.plan(cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.stopping { // meanwhile: nothing may listen any more
		s.mu.Unlock()
		for _, p := range next {
			p.listener.close()
		}
		return ErrClosed
	}
	s.submission.Use(policy)
	s.site.Store(&site{hostname: cfg.Hostname, askUser: cfg.AsksUnixUser()})
	old := s.listeners
	s.listeners = make(map[listenerKey]*listener, len(next))
	var fresh []*listener
	for _, p := range next {
		if l := old[p.listener.key]; l != nil {
			delete(old, p.listener.key)
		} else {
			fresh = append(fresh, p.listener)
		}
		p.listener.settings.Store(p.settings)
		s.listeners[p.listener.key] = p.listener
	}
	s.running.Add(len(fresh)) // under mu: Shutdown waits after it has taken that
	s.mu.Unlock()
	for _, l := range fresh {
		s.start(l)
	}
	for _, p := range next {
		p.listener.review(p.settings)
	}
	for _, l := range old {
		l.close()
		l.wake(wokenShutdown)
	}
	return nil
}

// planned is a listener with the settings that it is to have.
type planned struct {
	listener *listener
	settings *settings
}

// plan prepares everything that can fail. On an error nothing that it opened
// stays open.
func (s *Server) plan(cfg *config.Config) (next []planned, err error) {
	var opened []*listener
	defer func() {
		if err != nil {
			for _, l := range opened {
				l.close()
			}
		}
	}()
	for i := range cfg.Listeners {
		conf := &cfg.Listeners[i]
		set, err := newSettings(conf, s.shared)
		if err != nil {
			return nil, err
		}
		keys, err := s.keys(conf)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			s.mu.Lock()
			l := s.listeners[k]
			s.mu.Unlock()
			if l == nil {
				if l, err = s.open(k, conf); err != nil {
					return nil, err
				}
				opened = append(opened, l)
			}
			next = append(next, planned{l, set})
		}
	}
	// Last, because it can't be taken back.
	for _, p := range next {
		if err = p.listener.adjust(p.settings.cfg); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// start takes connections; running counts it already.
func (s *Server) start(l *listener) {
	go func() {
		defer s.running.Done()
		s.accept(l)
	}()
}

// accept takes connections until the listener is closed.
func (s *Server) accept(l *listener) {
	delay := time.Duration(0)
	for {
		nc, err := l.ln.Accept()
		if err == nil {
			delay = 0
			s.admit(l, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) || l.shut.Load() {
			return
		}
		// Out of descriptors, for instance: it passes, and a busy loop would
		// not help.
		s.events(&AcceptFailed{l.settings.Load().cfg.Name, err})
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(delay):
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// Addrs tells where the server listens, by the name of the listener.
func (s *Server) Addrs() map[string]net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]net.Addr, len(s.listeners))
	for _, l := range s.listeners {
		m[l.settings.Load().cfg.Name] = l.ln.Addr()
	}
	return m
}

// Connections is the number of clients that are connected, by listener.
func (s *Server) Connections() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]int, len(s.listeners))
	for _, l := range s.listeners {
		m[l.settings.Load().cfg.Name] += l.count()
	}
	return m
}

// Shutdown stops listening, sends away clients that are between commands with
// 421, lets one that is inside a message finish it, and returns when all are
// gone. When ctx ends first it closes what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	all := s.stop()
	for _, l := range all {
		l.wake(wokenShutdown)
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.Close()
		<-done
		return ctx.Err()
	}
}

// Close stops listening and closes every connection, at once.
func (s *Server) Close() error {
	all := s.stop()
	s.closed.Store(true)
	s.cancel()
	for _, l := range all {
		l.closeConns()
	}
	s.running.Wait()
	return nil
}

// stop closes all listeners for ever. They stay known: Close may follow Shutdown.
func (s *Server) stop() []*listener {
	s.mu.Lock()
	s.stopping = true
	all := make([]*listener, 0, len(s.listeners))
	for _, l := range s.listeners {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		l.close()
	}
	return all
}
