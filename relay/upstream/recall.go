package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"postern/config"
	"postern/relay/memory"
)

// recall reads what is known about the upstream, before anything is decided
// by it.
func (s *session) recall() {
	if s.dialer.Memory == nil {
		return
	}
	facts, err := s.dialer.Memory.Recall(s.up.Name, Target(s.up))
	s.facts = facts
	if err != nil {
		s.blind = err
		s.dialer.tell(&MemoryFailed{Upstream: s.up.Name, Operation: "read", Cause: describe(err)})
	}
}

// learn makes a fact durable before anything is done that rests on it. Where
// it cannot be written, this process goes on with what it knows, and tries
// again with the next session.
func (s *session) learn(ctx context.Context, e Learned, change func(f *memory.Facts, now time.Time)) {
	now := time.Now().Truncate(time.Second)
	set := func(f *memory.Facts) { change(f, now) }
	before := s.facts
	set(&s.facts)
	if s.dialer.Memory == nil || s.blind != nil || s.notes != nil {
		return // nothing is written over what cannot be read, nor by an examination
	}
	err := s.dialer.Memory.Learn(ctx, s.up.Name, Target(s.up), set)
	s.facts.Unsaved = err != nil
	if err != nil {
		s.dialer.tell(&MemoryFailed{Upstream: s.up.Name, Operation: "write", Cause: describe(err)})
	}
	if news(before, s.facts) {
		e.Upstream, e.Remote, e.Durable = s.up.Name, s.remote, err == nil
		s.dialer.tell(&e)
	}
}

// news tells whether there is more to say than that something known is on disk
// now, or has worked again.
func news(before, after memory.Facts) bool {
	a, b := before.Way, after.Way
	return before.Offered != after.Offered || before.Valid != after.Valid ||
		b != nil && (a == nil || a.String() != b.String() || a.Implicit != b.Implicit)
}

// sawOffer remembers that "opportunistic" was offered STARTTLS.
func (s *session) sawOffer(ctx context.Context) {
	if s.up.TLS != config.TLSOpportunistic || !s.facts.Offered.IsZero() && !s.facts.Unsaved {
		return
	}
	s.learn(ctx, Learned{Fact: LearnedOffer}, func(f *memory.Facts, now time.Time) {
		if f.Offered.IsZero() {
			f.Offered = now
		}
	})
}

// sawValid remembers that "opportunistic" was shown a valid certificate.
func (s *session) sawValid(ctx context.Context) {
	if !s.facts.Valid.IsZero() && !s.facts.Unsaved {
		return
	}
	s.learn(ctx, Learned{Fact: LearnedCertificate}, func(f *memory.Facts, now time.Time) {
		if f.Valid.IsZero() {
			f.Valid = now
		}
	})
}

// downgrade is a refusal to fall back behind what is remembered.
type downgrade struct{ text string }

func (d *downgrade) Error() string { return d.text }

// unless ends a refusal.
func (s *session) unless() string {
	return ". Somebody may be in between; if it is meant to be so: postern upstream forget-tls " + s.up.Name
}

// anew ends a refusal where nobody knows.
func (s *session) anew() string {
	return " (" + describe(s.blind) + "). To begin anew: postern upstream forget-tls " + s.up.Name
}

// mayGoInClear tells why an upstream that offers no STARTTLS is not talked to
// in clear; nil: it is.
func (s *session) mayGoInClear() error {
	switch {
	case s.blind != nil:
		return &downgrade{"the upstream offers no STARTTLS, and whether it did before cannot be read" + s.anew()}
	case !s.facts.Offered.IsZero():
		return &downgrade{"the upstream offers no STARTTLS, and did so on " + day(s.facts.Offered) + s.unless()}
	}
	return nil
}

// mayBeInvalid tells why a certificate that is not valid, for a reason, is not
// taken; nil: it is.
func (s *session) mayBeInvalid(reason error) error {
	switch {
	case s.blind != nil:
		return &downgrade{"the certificate is not valid, and whether there was a valid one before cannot be read" + s.anew()}
	case !s.facts.Valid.IsZero():
		return &downgrade{"the certificate is not valid, and there was a valid one on " + day(s.facts.Valid) + s.unless() +
			" (" + s.shaken.cause(reason) + ")"}
	}
	return nil
}

// watchful is conf for one handshake of "opportunistic": it notes whether the
// certificate is valid, which matters only where there was a valid one before.
func (s *session) watchful(conf *tls.Config) *tls.Config {
	own, check := conf.Clone(), conf.VerifyConnection
	own.VerifyConnection = func(state tls.ConnectionState) error {
		if check != nil { // a pin
			return check(state)
		}
		invalid := checkChain(state, conf.RootCAs, []string{conf.ServerName})
		if s.valid = invalid == nil; s.valid {
			return nil
		}
		return s.mayBeInvalid(invalid)
	}
	return own
}

// isDowngrade tells a refusal to fall back from other trouble.
func isDowngrade(err error) bool {
	var d *downgrade
	return errors.As(err, &d)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
