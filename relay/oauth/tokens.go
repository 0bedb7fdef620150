package oauth

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"postern/config"
	"postern/spool"
)

// Options are what Tokens are made with.
type Options struct {
	// State keeps the tokens.
	State spool.State
	// Key encrypts the tokens of accounts that have no key of their own; not set:
	// a random one that State keeps, too.
	Key config.Secret
	// Events is told what becomes of tokens; nil: nobody is.
	Events func(Event)
	// Transport carries requests to providers; nil: one that goes through
	// the proxy of the environment.
	Transport http.RoundTripper
	// Dates is told the Date of each answer of a provider (RFC 9110 §6.6.1),
	// whose host is given; nil: nobody asks. It is called concurrently.
	Dates func(host string, date time.Time)
}

// Tokens has the tokens of all accounts. Its methods may be called
// concurrently.
type Tokens struct {
	store   *store
	events  func(Event) // nil: nobody is told
	http    *http.Client
	running sync.WaitGroup

	mu      sync.Mutex
	sources map[string]*source // by name of the account
}

// New opens nothing yet.
func New(o Options) *Tokens {
	return &Tokens{
		store: &store{o.State, o.Key}, events: o.Events,
		http: newHTTP(o.Transport, o.Dates), sources: map[string]*source{},
	}
}

func (t *Tokens) tell(e Event) {
	if t.events != nil {
		t.events(e)
	}
}

// guard is deferred where a panic is to be told, and no more than the account's
// fault. after is called behind one, with its value.
func (t *Tokens) guard(account string, after func(v any)) {
	if v := recover(); v != nil {
		after(v)
		t.tell(&Panicked{Upstream: account, Value: v, Stack: debug.Stack()})
	}
}

// Token returns an access token for a, whose OAuth is set, from memory where
// there is one that goes on for a while, and durable on disk in any case.
//
// refused is a token that the other side has just turned down, or "": the
// answer is then another one, if it can be had. The error is a *Error, or
// that of ctx; what has begun goes on without ctx.
func (t *Tokens) Token(ctx context.Context, a *config.Account, refused string) (string, error) {
	return t.source(a).get(ctx, refused)
}

// Wait returns when nothing is under way any more, or ctx is done. Call it
// when nobody asks for tokens any more, and the context of KeepLogins is done.
func (t *Tokens) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.running.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// source is made anew where the configuration asks for tokens of another kind.
func (t *Tokens) source(a *config.Account) *source {
	id := identity(a)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sources[a.Name]
	if s == nil || s.identity != id {
		s = &source{t: t, upstream: a.Name, identity: id, conf: a.OAuth}
		t.sources[a.Name] = s
		return s
	}
	s.mu.Lock()
	s.conf = a.OAuth // after a reload: files and secrets may be others
	s.mu.Unlock()
	return s
}

// Status tells how it stands with the token of a, from memory, or from disk
// where none is in use, or one with an end. It asks no provider.
func (t *Tokens) Status(ctx context.Context, a *config.Account) Status {
	s := t.source(a)
	s.mu.Lock()
	tok, problem, conf := s.tok, s.problem, s.conf
	s.mu.Unlock()
	st := Status{Upstream: a.Name}
	if a.OAuth != nil {
		st.SecretEnds = a.OAuth.ClientSecretEnds
	}
	if tok == nil {
		var err error
		tok, err = s.stored(ctx, conf)
		switch {
		case problem != nil: // of the last attempt, which knew as much
		case err != nil:
			problem = asError(err).withHint(a.Name, conf.NeedsPerson())
		case tok == nil && conf.NeedsPerson():
			problem = (&Error{Kind: NeedsLogin, Text: "nobody has logged in yet"}).withHint(a.Name, true)
		}
	}
	if tok != nil && conf.NeedsPerson() && (tok.Refresh == "" || !tok.RefreshEnds.IsZero()) {
		// Somebody may have logged in anew, which a token in use has no need to know.
		if next, err := s.stored(ctx, conf); err == nil && next != nil && next.Obtained.After(tok.Obtained) {
			tok = next
		}
	}
	if tok != nil {
		st.Present, st.Obtained, st.Expires = true, tok.Obtained, tok.Expires
		if !tok.Prolonged {
			st.LoginEnds = tok.RefreshEnds
		}
		st.idle = idleLimit
		if half := tok.RefreshEnds.Sub(tok.Obtained) / 2; !tok.RefreshEnds.IsZero() && half < idleLimit {
			st.idle = half
		}
	}
	st.Renewable = !conf.NeedsPerson() || tok != nil && tok.Refresh != ""
	if problem != nil {
		st.Problem, st.NeedsLogin = problem.Text, problem.Kind == NeedsLogin
		st.Renewable = st.Renewable && problem.Kind == Unreachable
	}
	return st
}
