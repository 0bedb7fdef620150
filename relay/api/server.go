package api

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/merge"
	"postern/relay/origin"
	"postern/relay/peer"
	"postern/relay/submission"
)

// Options are what a Server works with.
type Options struct {
	Submission *submission.Agent // takes the messages
	Messages   Messages          // tells of them
	Events     func(Event)       // nil: nobody is told
	Handed     *peer.Handed      // sockets of a service manager; nil: none
	// Memory is what bodies that are not streamed may hold together; nil: no
	// limit.
	Memory *origin.Budget
}

// Server owns the two listeners and their requests. Make one by New, give it a
// configuration by Prepare and Use, any number of times, and end it by Shutdown.
// Its methods may be called concurrently.
type Server struct {
	submission *submission.Agent
	messages   Messages
	events     func(Event)
	handed     *peer.Handed
	memory     *origin.Budget
	gate       *gate
	secret     []byte // of the digests of tokens
	settings   atomic.Pointer[settings]
	large      atomic.Pointer[origin.Budget] // of requests with a large JSON body
	running    sync.WaitGroup                // of the goroutines that serve
	filling    chan struct{}                 // has an element for each template that is being filled in

	mu        sync.Mutex // guards what follows
	listeners map[target]*listener
	stopping  bool
}

// settings are those of one configuration. They are never changed.
type settings struct {
	hostname string
	http     *config.HTTP
	tokens   *tokens
	messages merge.Folder
}

// New makes a server that listens nowhere yet.
func New(o Options) *Server {
	s := &Server{
		submission: o.Submission, messages: o.Messages, events: o.Events, handed: o.Handed, memory: o.Memory,
		gate: newGate(), secret: newSecret(), listeners: map[target]*listener{}, filling: make(chan struct{}, 4),
	}
	if s.events == nil {
		s.events = func(Event) {}
	}
	if s.handed == nil {
		s.handed = &peer.Handed{}
	}
	if s.memory == nil {
		s.memory = origin.NewBudget(0)
	}
	s.settings.Store(&settings{http: &config.HTTP{}, tokens: &tokens{}})
	return s
}

// Plan is a configuration that can be put in force.
type Plan struct {
	settings *settings
	keep     map[target]*limits
	opened   []*listener
}

// Prepare does all that can fail about a configuration: it opens sockets that
// are not open yet, reads certificates and hashes. The plan is to be used, or
// dropped by Drop.
func (s *Server) Prepare(cfg *config.Config) (p *Plan, err error) {
	tokens, err := newTokens(&cfg.HTTP, s.secret)
	if err != nil {
		return nil, err
	}
	p = &Plan{settings: &settings{cfg.Hostname, &cfg.HTTP, tokens, merge.Folder{Dir: cfg.MessagesDir(), Domain: cfg.Hostname}}, keep: map[target]*limits{}}
	defer func() {
		if err != nil {
			p.Drop()
		}
	}()
	for _, l := range cfg.HTTP.Listeners() {
		lim, err := newLimits(l)
		if err != nil {
			return p, err
		}
		targets, err := s.targets(l)
		if err != nil {
			return p, err
		}
		for _, t := range targets {
			p.keep[t] = lim
			s.mu.Lock()
			known := s.listeners[t]
			s.mu.Unlock()
			if known != nil {
				if err := known.adjust(l); err != nil {
					return p, err
				}
				continue
			}
			fresh, err := s.open(t, l)
			if err != nil {
				return p, err
			}
			fresh.limits.Store(lim)
			p.opened = append(p.opened, fresh)
		}
	}
	return p, nil
}

// Drop closes what a plan has opened.
func (p *Plan) Drop() {
	for _, l := range p.opened {
		l.Close()
	}
}

// Use puts a plan in force, at once for tokens and limits. Requests at a
// listener that is gone are finished.
func (s *Server) Use(p *Plan) {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		p.Drop()
		return
	}
	p.settings.tokens.inherit(s.settings.Load().tokens)
	s.settings.Store(p.settings)
	s.large.Store(origin.NewBudget(int64(p.settings.http.MaxJSON) + 1)) // of which something is always left
	var gone []*listener
	for t, l := range s.listeners {
		lim := p.keep[t]
		if lim == nil {
			gone = append(gone, l)
			delete(s.listeners, t)
			continue
		}
		l.limits.Store(lim)
		l.bounded.Resize(lim.cfg.MaxConnections)
	}
	for _, l := range p.opened {
		s.listeners[l.target] = l
		s.running.Go(func() { _ = l.http.Serve(l) }) // until it is closed
	}
	s.mu.Unlock()
	for _, l := range gone {
		_ = l.Close() // at once: whoever asked for it finds no socket any more
		s.running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), l.limits.Load().cfg.DataTimeout)
			defer cancel()
			l.end(ctx)
		})
	}
}

// The time-outs that are not configured.
const (
	headerTimeout = 10 * time.Second // from the first byte of a request to the end of its header
	writeTimeout  = 30 * time.Second // while nothing of an answer is taken
)

// newHTTP is what serves one listener.
func (s *Server) newHTTP(l *config.Listener) *http.Server {
	header := 32 << 10
	if l.Name == config.SubmitListener {
		header = 256 << 10 // the query of /v1/messages may have thousands of recipients
	}
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    header,
		ErrorLog:          log.New(said{s, l.Name}, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

type connKey struct{}

type said struct {
	s    *Server
	name string
}

func (w said) Write(p []byte) (int, error) {
	w.s.events(&Said{w.name, strings.TrimSpace(string(p))})
	return len(p), nil
}

// Addrs tells where the server listens, by the name of the listener.
func (s *Server) Addrs() map[string]net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]net.Addr, len(s.listeners))
	for _, l := range s.listeners {
		m[l.limits.Load().cfg.Name] = l.Addr()
	}
	return m
}

// Connections is the number of clients that are connected, by listener.
func (s *Server) Connections() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]int, len(s.listeners))
	for _, l := range s.listeners {
		m[l.limits.Load().cfg.Name] += l.bounded.Open()
	}
	return m
}

// Shutdown stops listening, lets requests under way finish, and returns when
// all are gone. When ctx ends first it closes what is left and returns ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	all := s.listeners
	s.listeners = map[target]*listener{}
	s.mu.Unlock()
	var ending sync.WaitGroup
	for _, l := range all {
		ending.Go(func() { l.end(ctx) })
	}
	ending.Wait()
	s.running.Wait()
	return ctx.Err()
}

// end stops one listener and its requests.
func (l *listener) end(ctx context.Context) {
	if err := l.http.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		_ = l.http.Close()
	}
}
