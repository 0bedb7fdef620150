package intake

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/route"
	"postern/relay/submission"
	"postern/spool"
)

// store is an Acceptor that keeps messages in memory, and can be made to fail.
type store struct {
	mu       sync.Mutex
	next     spool.ID
	open     int // drafts neither committed nor discarded
	messages []message

	create, write, commit error
	writeAfter            int // write fails once that much was written
}

type message struct {
	id      spool.ID
	env     *spool.Envelope
	content string
}

func (s *store) Create(context.Context) (spool.Draft, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.create != nil {
		return nil, s.create
	}
	s.next++
	s.open++
	return &draft{store: s, id: s.next}, nil
}

func (s *store) Known(context.Context, *spool.Key) error { return nil }

func (s *store) all() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

type draft struct {
	store *store
	id    spool.ID
	buf   bytes.Buffer
	ended bool
}

func (d *draft) ID() spool.ID { return d.id }

func (d *draft) Write(p []byte) (int, error) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if d.store.write != nil && d.buf.Len()+len(p) > d.store.writeAfter {
		return 0, d.store.write
	}
	return d.buf.Write(p)
}

func (d *draft) Commit(_ context.Context, env *spool.Envelope) error {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if d.ended {
		return errors.New("draft ended twice")
	}
	d.ended = true
	d.store.open--
	if d.store.commit != nil {
		return d.store.commit
	}
	for _, r := range env.Recipients {
		if len(r.Upstreams) == 0 {
			return errors.New("recipient without upstream")
		}
	}
	d.store.messages = append(d.store.messages, message{d.id, env, d.buf.String()})
	return nil
}

func (d *draft) Discard() {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if !d.ended {
		d.ended = true
		d.store.open--
	}
}

// routes of the tests: anything but @nowhere.example goes to "up". Of
// one.example only boss may send.
func testRoutes(t testing.TB, extra ...config.Route) *route.Table {
	t.Helper()
	rs := append(extra, config.Route{
		Name: "route 1", From: []string{"*@example.com", "*@example.org", "*@xn--bcher-kva.example", "*@bücher.example", "<>"},
		To: []string{"*@example.net", "*@example.org", "*@bücher.example"}, Upstream: []string{"up"},
	})
	rs = append(rs, config.Route{Name: "boss", From: []string{"boss@one.example"}, Upstream: []string{"up"}})
	rs = append(rs, config.Route{Name: "route 2", From: []string{"*@any.example"}, Upstream: []string{"any", "up"}})
	table, err := route.New(rs)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func testListener() config.Listener {
	return config.Listener{
		Name: "test", Address: "127.0.0.1:0", Network: "tcp", Target: "127.0.0.1:0", TLS: config.ListenerTLSOff,
		MaxMessageSize: 1 << 20, MaxRecipients: 100, MaxConnections: 100,
		IdleTimeout: 5 * time.Minute, DataTimeout: 3 * time.Minute, Newlines: "refuse",
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")},
	}
}

// rig is a server without sockets: connections are pipes, so that the tests
// may stop the clock (testing/synctest).
type rig struct {
	t        testing.TB
	server   *Server
	store    *store
	events   *record
	memory   *origin.Budget
	listener *listener
}

// newServer is a server over a submission of its own.
func newServer(accept submission.Acceptor, ev *record, memory *origin.Budget) *Server {
	o := Options{Submission: submission.New(submission.Options{Accept: accept, Memory: memory})}
	if ev != nil {
		o.Submission = submission.New(submission.Options{Accept: accept, Memory: memory, Events: ev.submission})
		o.Events = ev.tell
	}
	return New(o)
}

// use puts a policy in force without listeners.
func use(t testing.TB, s *Server, routes *route.Table, senders ...config.Sender) {
	t.Helper()
	cfg := &config.Config{Hostname: "mx.example.com", Senders: senders}
	p, err := submission.NewPolicy(cfg, routes)
	if err != nil {
		t.Fatal(err)
	}
	s.submission.Use(p)
	s.site.Store(&site{hostname: cfg.Hostname})
}

func newRig(t testing.TB, change func(*config.Listener), extra ...config.Route) *rig {
	t.Helper()
	return newRigWith(t, 0, change, extra...)
}

// newRigWith is newRig with so many bytes of memory for open messages.
func newRigWith(t testing.TB, memory int64, change func(*config.Listener), extra ...config.Route) *rig {
	t.Helper()
	r := &rig{t: t, store: &store{}, events: &record{}, memory: origin.NewBudget(memory)}
	r.server = newServer(r.store, r.events, r.memory)
	l := testListener()
	if change != nil {
		change(&l)
	}
	set, err := newSettings(&l, r.server.shared)
	if err != nil {
		t.Fatal(err)
	}
	use(t, r.server, testRoutes(t, extra...))
	r.listener = newListener(listenerKey{"tcp", "test", 0})
	r.listener.ln = noListener{}
	r.listener.settings.Store(set)
	r.server.listeners[r.listener.key] = r.listener
	t.Cleanup(func() { r.server.Close() })
	return r
}

type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (noListener) Close() error              { return nil }
func (noListener) Addr() net.Addr            { return &net.TCPAddr{} }

// dial connects a client from addr ("" is loopback).
func (r *rig) dial(addr string) net.Conn {
	if addr == "" {
		addr = "127.0.0.1:40000"
	}
	client, server := newPipe(addr)
	r.server.admit(r.listener, server)
	return client
}

// record keeps events.
type record struct {
	mu       sync.Mutex
	lines    []string
	refusals []*submission.Refusal
	accepted []submission.Accepted
	closed   []string
	abused   []string
	panics   []any
}

func (r *record) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *record) submission(e submission.Event) {
	r.add(func() {
		switch e := e.(type) {
		case *submission.Refused:
			r.refusals = append(r.refusals, e.Refusal)
		case *submission.Accepted:
			r.accepted = append(r.accepted, *e)
		}
	})
}

func (r *record) tell(e Event) {
	r.add(func() {
		switch e := e.(type) {
		case *Abused:
			r.abused = append(r.abused, e.What)
		case *Closed:
			r.closed = append(r.closed, e.Why)
		case *Refused:
			r.lines = append(r.lines, "refused "+e.Client.Peer+": "+e.Why)
		case *SignedIn:
			r.lines = append(r.lines, "signed in "+e.Mechanism+" "+e.User)
		case *SignInFailed:
			r.lines = append(r.lines, "sign-in failed "+e.Mechanism+" "+e.User)
		case *TLSFailed:
			r.lines = append(r.lines, "TLS failed")
		case *Panicked:
			r.panics = append(r.panics, e.Value)
		}
	})
}

func (r *record) has(part string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.lines, func(s string) bool { return strings.Contains(s, part) })
}
