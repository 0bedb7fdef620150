package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// examined runs an examination with the options of its line: "from>to" is an
// envelope, and "until=10s" ends it.
func (c *transcript) examined(t *testing.T, dialer *upstream.Dialer, up *config.Upstream) []string {
	ctx := t.Context()
	var envelopes []upstream.Rehearsal
	for _, option := range c.examine {
		if from, to, ok := strings.Cut(option, ">"); ok {
			envelopes = append(envelopes, upstream.Rehearsal{From: from, To: to})
			continue
		}
		limit, err := time.ParseDuration(strings.TrimPrefix(option, "until="))
		if err != nil {
			t.Fatal(err)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	dialer.LookUp = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	}
	return reported(dialer.Examine(ctx, up, envelopes))
}

// reported writes a report down.
func reported(r *upstream.Report) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, s := range r.Steps {
		line := string(s.Step)
		if s.Fault != nil {
			line += ": " + describeOutcome(&s.Fault.Outcome)
		}
		if s.Took >= time.Second {
			line += " took " + s.Took.Truncate(100*time.Millisecond).String()
		}
		say("%s", line)
	}
	if r.Banner != "" {
		say("banner %q", r.Banner)
	}
	for _, h := range r.Hellos {
		say("announced, encrypted %v: %s, size %d", h.Encrypted, strings.Join(h.Extensions, " | "), h.MaxSize)
	}
	if h := r.Handshake; h != nil {
		say("TLS %q, verified %v, certificate of %s, %d in the chain", h.Version, r.Verified, h.Chain[0].Subject, len(h.Chain))
	}
	if s := r.SignIn; s != nil {
		say("auth %s of %s: %s", s.Auth, strings.Join(s.Offered, " "), s.Mechanism)
	}
	for _, e := range r.Rehearsed {
		line := fmt.Sprintf("<%s> to <%s>: goes", e.From, e.To)
		if e.Refusal != nil {
			line = fmt.Sprintf("<%s> to <%s>: %s", e.From, e.To, describeOutcome(e.Refusal))
		}
		say("%s", line)
	}
	switch last := r.Steps[len(r.Steps)-1].Fault; {
	case last != r.Fault && r.Fault == nil:
		say("a step failed, and the session did not")
	case last != r.Fault:
		say("fault: %s", describeOutcome(&r.Fault.Outcome))
	}
	return out
}

// Every address of a host is tried, and those that are dead are told apart.
func TestExamineTriesEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("connection refused")
		dialer := &upstream.Dialer{
			LookUp: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
			},
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				if address == "192.0.2.1:25" {
					near, far := net.Pipe()
					far.Close()
					return near, nil
				}
				return nil, refused
			},
		}
		r := dialer.Examine(t.Context(), &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25}, nil)
		if len(r.Addresses) != 2 || r.Addresses[0].Err != "" || r.Addresses[1].Err != refused.Error() || !r.Addresses[1].Tried {
			t.Errorf("%+v", r.Addresses)
		}
		if r.Fault == nil || r.Fault.Outcome.Stage != spool.StageGreet || !strings.Contains(r.Fault.Outcome.Cause, "[2001:db8::1]:25: could not connect: connection refused") {
			t.Errorf("%v", r.Fault)
		}
	})
}

func TestExamineWithoutAnAddress(t *testing.T) {
	gone := &net.DNSError{Err: "no such host", Name: "mx.example", IsNotFound: true}
	dialer := &upstream.Dialer{
		LookUp: func(context.Context, string) ([]netip.Addr, error) { return nil, gone },
		Dial:   func(context.Context, string, string) (net.Conn, error) { return nil, gone },
	}
	r := dialer.Examine(t.Context(), &config.Upstream{Account: config.Account{Name: "test"}, Host: "mx.example", Port: 25}, nil)
	if !errors.Is(r.Lookup.Err, gone) || !errors.Is(r.Fault, gone) || len(r.Steps) != 1 || r.Steps[0].Step != upstream.StepConnect {
		t.Errorf("%+v", r)
	}
}

// Without a token everything is looked at that does not need one.
func TestExamineWithoutAToken(t *testing.T) {
	sink := &upstreamtest.Sink{Extensions: []string{"AUTH XOAUTH2"}}
	dialer := &upstream.Dialer{Tokens: purse{}}
	up := &config.Upstream{TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "xoauth2", Username: "user", OAuth: &config.OAuth{}}}
	up.Host, up.Port = sink.Start(t)
	r := dialer.Examine(t.Context(), up, []upstream.Rehearsal{{From: "a@example.com", To: "b@example.com"}})
	if r.Steps[0].Step != upstream.StepToken || r.Fault == nil || r.Fault != r.Steps[0].Fault ||
		r.Banner == "" || len(r.Hellos) != 1 || r.SignIn != nil || len(r.Rehearsed) != 0 {
		t.Errorf("%+v", r)
	}
	dialer.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
	if r := dialer.Examine(t.Context(), up, nil); r.Fault == nil || r.Fault.Outcome.Stage != spool.StageConnect || r.Steps[0].Fault == nil {
		t.Errorf("%+v", r)
	}
}

// A resolver that never answers is waited for as long as a connection would be,
// whatever time there is; after the end of the examination it isn't asked.
func TestExaminationOfASilentResolver(t *testing.T) {
	for _, c := range []struct {
		name           string
		all, took      time.Duration
		asked, skipped bool
	}{
		{"time enough", time.Hour, 2 * 7 * time.Second, true, false}, // once by the session, once for the report
		{"ends before", 3 * time.Second, 3 * time.Second, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.all)
				defer cancel()
				dialer := &upstream.Dialer{
					LookUp: func(ctx context.Context, _ string) ([]netip.Addr, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					},
				}
				r := dialer.Examine(ctx, &config.Upstream{Account: config.Account{Name: "office"}, Host: "mail.example",
					Port: 587, TLS: config.TLSVerify, ConnectTimeout: 7 * time.Second}, nil)
				if r.Took != c.took || (r.Lookup.Err != nil) != c.asked || r.Lookup.Skipped != c.skipped || r.Lookup.Host != "mail.example" {
					t.Errorf("took %s: %+v", r.Took, r.Lookup)
				}
			})
		})
	}
}
