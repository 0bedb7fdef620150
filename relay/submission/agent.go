package submission

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/archive"
	"postern/relay/naming"
	"postern/relay/origin"
	"postern/relay/route"
	"postern/relay/storm"
	"postern/relay/webclient"
	"postern/spool"
)

// Acceptor keeps messages. The queue is one.
type Acceptor interface {
	// Create begins a message. spool.ErrFull becomes 452, anything else 451.
	Create(ctx context.Context) (spool.Draft, error)
	// Known tells what a commit would say of a key (spool.Store).
	Known(ctx context.Context, k *spool.Key) error
}

// Router says where mail goes. *route.Table is one.
type Router interface {
	// Sender tells whether any route may take mail from q.From.
	Sender(q route.Query) bool
	// Refusal is what to tell a sender that no route may take; empty: that.
	Refusal(q route.Query) string
	// Recipient decides for q.To.
	Recipient(q route.Query) route.Decision
	// Held decides for q.To where no route does, and mail goes by upstreams.
	Held(to string, upstreams []string) route.Decision
	// Fields are the canonical names of the header fields that decisions can
	// depend on.
	Fields() []string
}

// Options are what an Agent works with.
type Options struct {
	Accept Acceptor
	// Tokens are for address books that sign in by OAuth; nil: there are none.
	Tokens webclient.Tokens
	// Events is told what was accepted and refused; nil: nobody is.
	Events func(Event)
	// Storms counts messages that are alike, and says which are to be put on hold;
	// nil: none are.
	Storms *storm.Guard
	// Memory is what open messages may hold together, beyond a little that
	// each may hold in any case; nil: no limit.
	Memory *origin.Budget
}

// Agent takes messages in, whatever way they come (the message submission
// agent of RFC 6409). Its methods may be called concurrently.
type Agent struct {
	accept Acceptor
	events func(Event)
	storms *storm.Guard
	tokens webclient.Tokens
	memory *origin.Budget
	rates  *origin.Rates
	policy atomic.Pointer[Policy]

	keysMu sync.Mutex                 // guards what follows
	keys   map[spool.KeyName]struct{} // of messages that have begun, see Message.reserve
}

// Policy is what the configuration says about messages. It is never changed.
type Policy struct {
	hostname string
	routes   Router
	senders  *route.Senders
	names    *naming.Names
	remember time.Duration   // keys; 0: not at all
	archive  []string        // who gets a copy of everything
	folder   *archive.Folder // of copies; nil: none
}

// NewPolicy compiles a policy. It fails on what config.Load would refuse.
func NewPolicy(cfg *config.Config, routes Router) (*Policy, error) {
	senders, err := route.NewSenders(cfg.SenderRules())
	if err != nil {
		return nil, err
	}
	n, err := naming.New(cfg)
	if err != nil {
		return nil, err
	}
	p := &Policy{hostname: cfg.Hostname, routes: routes, senders: senders, names: n, remember: cfg.Submission.Idempotency,
		archive: cfg.Submission.Archive}
	if dir := cfg.Submission.ArchiveDir; dir != "" {
		p.folder = archive.New(dir)
	}
	return p, nil
}

// remembered is how many accounts with rates are kept in mind.
const remembered = 10_000

// New makes an agent. It takes nothing before Use.
func New(o Options) *Agent {
	a := &Agent{accept: o.Accept, events: o.Events, tokens: o.Tokens, storms: o.Storms, memory: o.Memory, rates: origin.NewRates(remembered),
		keys: map[spool.KeyName]struct{}{}}
	if a.events == nil {
		a.events = func(Event) {}
	}
	if a.memory == nil {
		a.memory = origin.NewBudget(0)
	}
	return a
}

// Use puts p in force, from the next Begin on. Messages that were begun before
// end as they began.
func (a *Agent) Use(p *Policy) {
	if a.tokens != nil {
		p.names.Books().UseTokens(a.tokens)
	}
	if old := a.policy.Swap(p); old != nil && old != p {
		old.names.Books().Close()
	}
}

// Close ends what the address books do by themselves.
func (a *Agent) Close() { a.Books().Close() }

// Refuse tells of a refusal that is its caller's own, such as that of an
// address without a domain, in the same way as of those of this package.
func (a *Agent) Refuse(c *Client, at Stage, from string, r *Refusal) {
	a.events(&Refused{Client: c, Stage: at, From: from, Refusal: r})
}
