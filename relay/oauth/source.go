package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"postern/config"
	"postern/spool"
)

const (
	// renewalTimeout bounds an attempt to get a token: one question for
	// discovery and one for the token. Whoever waits may leave earlier.
	renewalTimeout = 70 * time.Second
	// earlyPause is how long a token that ends soon is used on after it could not
	// be renewed, before the next attempt.
	earlyPause = time.Minute
)

// source is where the tokens of one account come from.
type source struct {
	t        *Tokens
	upstream string
	identity string

	mu      sync.Mutex
	conf    *config.OAuth
	tok     *token    // in use; nil: none was read or obtained yet
	renewal *renewal  // under way; nil: none
	problem *Error    // of the last renewal
	quiet   time.Time // no early renewal before

	// What follows belongs to the renewal that is under way.
	at      endpoints
	unsaved *token // obtained, and not on disk: nobody may use it
	instead string // the refresh token that unsaved replaces
}

// renewal is one attempt that everybody waits for who wants a token meanwhile.
type renewal struct {
	reason  Reason
	refused string
	done    chan struct{}
	access  string // set before done is closed
	err     error
}

// get returns a token that is not refused, which the upstream did not take.
func (s *source) get(ctx context.Context, refused string) (string, error) {
	for {
		r, access := s.join(refused)
		if r == nil {
			return access, nil
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		switch {
		case r.err != nil:
			return "", r.err
		case r.access != refused, r.refused == refused:
			return r.access, nil
		}
		// It had begun before the upstream refused what it brought.
	}
}

// join returns the token in use, or the renewal to wait for.
func (s *source) join(refused string) (*renewal, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renewal != nil {
		return s.renewal, ""
	}
	now := time.Now()
	r := &renewal{refused: refused, done: make(chan struct{})}
	switch {
	case s.tok == nil:
		r.reason = First
	case s.tok.Access == refused:
		r.reason = NotGood
	case s.tok.ended(now):
		r.reason = Ended
	case s.tok.ending(now) && !now.Before(s.quiet):
		r.reason = Early
	default:
		return nil, s.tok.Access
	}
	s.renewal = r
	conf := s.conf
	s.t.running.Go(func() { s.run(r, conf) })
	return r, ""
}

// run gets a token. It does not end with the sessions that want one: a
// refresh token can be rotated by a request whose answer nobody waits for.
// What a provider's answer makes it do wrong ends this one attempt, and whoever
// waits goes on in any case.
func (s *source) run(r *renewal, conf *config.OAuth) {
	ctx, cancel := context.WithTimeout(context.Background(), renewalTimeout)
	defer cancel()
	var tok *token
	var e *Error
	defer func() { s.finish(r, tok, e) }()
	defer s.t.guard(s.upstream, func(v any) {
		tok, e = s.usable(r, nil), asError(defect(v))
	})
	tok, e = s.attempt(ctx, r, conf)
}

// attempt renews, tells what came of it, and returns what is to be used from
// now on, which may be there beside an error.
func (s *source) attempt(ctx context.Context, r *renewal, conf *config.OAuth) (*token, *Error) {
	began := time.Now()
	old, tok, err := s.renewSafely(ctx, r, conf)
	took := time.Since(began)
	if err == nil {
		if tok != old {
			s.t.tell(&Obtained{
				Upstream: s.upstream, Reason: r.reason, Expires: tok.Expires,
				Rotated: old != nil && old.Refresh != "" && old.Refresh != tok.Refresh, Took: took,
			})
		}
		return tok, nil
	}
	e := asError(err).withHint(s.upstream, conf.NeedsPerson())
	failed := Failed{Upstream: s.upstream, Reason: r.reason, Kind: e.Kind, Code: e.Code, Text: e.Text, Took: took}
	if tok == nil {
		tok = s.usable(r, old)
	}
	if tok != nil {
		failed.Until = tok.Expires
	}
	s.t.tell(&failed)
	return tok, e
}

// renewSafely is renew, of which a defect is an error.
func (s *source) renewSafely(ctx context.Context, r *renewal, conf *config.OAuth) (old, tok *token, err error) {
	defer s.t.guard(s.upstream, func(v any) { old, tok, err = nil, nil, defect(v) })
	return s.renew(ctx, r, conf)
}

func defect(v any) error { return fmt.Errorf("a defect of this program: %v", v) }

// usable is a token that goes on for a while where it can't be renewed; nil:
// there is none.
func (s *source) usable(r *renewal, old *token) *token {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tok := range []*token{old, s.tok} {
		if tok != nil && tok.Access != r.refused && !tok.ended(time.Now()) {
			return tok
		}
	}
	return nil
}

// finish lets everybody go on who waits.
func (s *source) finish(r *renewal, tok *token, e *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewal, s.problem, s.tok = nil, e, tok
	if e != nil {
		s.quiet = time.Now().Add(earlyPause)
	}
	if tok != nil {
		r.access = tok.Access
	} else {
		r.err = e
	}
	close(r.done)
}

// asError makes whatever went wrong on this machine one of our errors.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: Local, Text: err.Error(), cause: err}
		if errors.Is(err, spool.ErrAway) {
			e.Kind = Unreachable // it comes back without anybody's help
		}
	}
	// A copy: it is given a hint, and others may hold it.
	c := *e
	return &c
}

// renew returns what lies on disk and what is to be used from now on, which
// is the same where somebody else was quicker: another process, or a login.
func (s *source) renew(ctx context.Context, r *renewal, conf *config.OAuth) (old, tok *token, err error) {
	unlock, err := s.t.store.hold(ctx, s.upstream)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	old, err = s.stored(ctx, conf)
	if err != nil {
		return nil, nil, err
	}
	if old, err = s.settle(ctx, conf, old); err != nil {
		return old, nil, err
	}
	now := time.Now()
	if old != nil && old.Access != r.refused && !old.ending(now) && !old.ended(now) {
		return old, old, nil
	}
	next, err := s.obtain(ctx, conf, old)
	if err != nil {
		return old, nil, err
	}
	if err := s.t.store.save(ctx, s.upstream, conf.TokenKey, next); err != nil {
		s.unsaved = next
		if old != nil {
			s.instead = old.Refresh
		}
		return old, nil, err
	}
	return old, next, nil
}

// stored reads the token on disk; nil where it is of no use to this client.
func (s *source) stored(ctx context.Context, conf *config.OAuth) (*token, error) {
	old, err := s.t.store.load(ctx, s.upstream, conf.TokenKey)
	if errors.Is(err, errSealed) {
		if !conf.NeedsPerson() {
			return nil, nil // the next one costs a question
		}
		return nil, &Error{Kind: NeedsLogin, Text: err.Error()}
	}
	if err != nil || old == nil || old.Identity == s.identity {
		return old, err
	}
	if conf.NeedsPerson() {
		return nil, &Error{Kind: NeedsLogin, Text: "the stored login is for another client, user or server, or other scopes"}
	}
	return nil, nil
}

// settle writes what could not be written before, unless somebody has logged
// in meanwhile.
func (s *source) settle(ctx context.Context, conf *config.OAuth, old *token) (*token, error) {
	if s.unsaved == nil {
		return old, nil
	}
	// Its own file counts as not written, too: its name may not be durable.
	if old != nil && old.Refresh != s.instead && old.Access != s.unsaved.Access {
		s.unsaved = nil
		return old, nil
	}
	if err := s.t.store.save(ctx, s.upstream, conf.TokenKey, s.unsaved); err != nil {
		if old != nil && old.Access == s.unsaved.Access {
			old = nil
		}
		return old, err
	}
	old, s.unsaved = s.unsaved, nil
	return old, nil
}

// obtain asks the provider for the next token.
func (s *source) obtain(ctx context.Context, conf *config.OAuth, old *token) (*token, error) {
	c, grant, scope, err := s.grant(ctx, conf, old)
	if err != nil {
		return nil, err
	}
	got, err := c.ask(ctx, grant, scope)
	if err != nil {
		return nil, err
	}
	if !conf.NeedsPerson() {
		got.RefreshToken = "" // the grant can be repeated
	}
	next := newToken(s.identity, got)
	next.after(old)
	return next, nil
}

// grant is what the flow has to show.
func (s *source) grant(ctx context.Context, conf *config.OAuth, old *token) (*client, url.Values, bool, error) {
	if conf.Flow == config.FlowServiceAccount {
		account, key, err := readServiceAccount(conf.ServiceAccountFile)
		if err != nil {
			return nil, nil, false, err
		}
		statement, err := account.statement(key, conf)
		c := &client{conf: conf, http: s.t.http, at: endpoints{token: account.TokenURL}}
		return c, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {statement}}, false, err
	}
	if conf.NeedsPerson() && (old == nil || old.Refresh == "") {
		return nil, nil, false, &Error{Kind: NeedsLogin, Text: "nobody has logged in yet"}
	}
	c, err := s.client(ctx, conf)
	if err != nil {
		return nil, nil, false, err
	}
	if conf.NeedsPerson() {
		// RFC 6749 §6 has the scopes only where they are to be fewer; some
		// refreshes of Microsoft do not go without.
		return c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}},
			conf.Provider == config.OAuthMicrosoft365, nil
	}
	return c, url.Values{"grant_type": {"client_credentials"}}, true, nil
}

// client finds the provider.
func (s *source) client(ctx context.Context, conf *config.OAuth) (*client, error) {
	at, ok := preset(conf)
	if !ok {
		if s.at.read.IsZero() || time.Since(s.at.read) > discoveryLife {
			asking, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			found, e := discover(asking, s.t.http, conf.Issuer)
			if e != nil {
				return nil, e
			}
			s.at = found
		}
		at = s.at
	}
	return &client{conf: conf, http: s.t.http, at: at}, nil
}
