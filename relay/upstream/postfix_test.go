package upstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/memory"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
	"postern/spool/statefile"
)

func TestPostfix(t *testing.T) {
	p := upstreamtest.StartPostfix(t)
	deliver := func(t *testing.T, up *config.Upstream, envs ...*spool.Envelope) (*upstreamtest.Feed, *recorder, error) {
		t.Helper()
		feed, rec := upstreamtest.NewFeed(), &recorder{}
		for i, env := range envs {
			feed.Add(env, fmt.Appendf(nil, "Subject: %s\r\nMessage-ID: <%d.%s@a.example>\r\n\r\n.dot\r\n..\r\nnumber %d\r\n", t.Name(), i, up.Name, i))
		}
		dialer := &upstream.Dialer{Hostname: func() string { return "relay.example" }, Events: rec.tell}
		err := dialer.Deliver(t.Context(), up, feed)
		for _, breach := range feed.Breaches() {
			t.Error(breach)
		}
		return feed, rec, err
	}
	to := func(rcpts ...string) *spool.Envelope {
		env := &spool.Envelope{From: "from@a.example"}
		for _, rcpt := range rcpts {
			env.Recipients = append(env.Recipients, spool.Recipient{Address: rcpt})
		}
		return env
	}

	for _, auth := range []string{"plain", "login", "cram-md5", "scram-sha-256", "auto"} {
		t.Run(auth, func(t *testing.T) {
			feed, rec, err := deliver(t, p.Upstream(auth), to("ok@b.example"))
			if err != nil {
				t.Fatal(err)
			}
			if o := feed.Settled()[0].Outcomes[0]; o.Stage != spool.StageDot || o.Code != 250 || o.Enhanced != "2.0.0" || !o.DSNRelayed {
				t.Errorf("%+v", o)
			}
			want := strings.ToUpper(auth)
			if auth == "auto" {
				want = "SCRAM-SHA-512"
			}
			if e := rec.opened[0]; e.Mechanism != want || !e.Verified || e.TLSVersion == "" || !e.Pipelining {
				t.Errorf("%+v", e)
			}
			for _, m := range p.Arrived(t, 1) {
				if !bytes.HasSuffix(bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n")), []byte("\n\n.dot\n..\nnumber 0\n")) {
					t.Errorf("%q", m)
				}
			}
		})
	}
	t.Run("implicit", func(t *testing.T) {
		up := p.Upstream("auto")
		up.Port, up.TLS = p.Implicit, config.TLSImplicit
		if _, _, err := deliver(t, up, to("ok@b.example")); err != nil {
			t.Fatal(err)
		}
		p.Arrived(t, 1)
	})
	t.Run("fifty messages over one connection", func(t *testing.T) {
		var envs []*spool.Envelope
		for range 50 {
			envs = append(envs, to("ok@b.example"))
		}
		feed, rec, err := deliver(t, p.Upstream("auto"), envs...)
		if err != nil || len(rec.opened) != 1 || len(feed.Settled()) != 50 {
			t.Fatal(err, rec)
		}
		seen := map[string]bool{}
		for _, m := range p.Arrived(t, 50) {
			_, rest, _ := bytes.Cut(m, []byte("\nnumber "))
			seen[string(bytes.TrimSpace(rest))] = true
		}
		if len(seen) != 50 {
			t.Errorf("%d different messages arrived", len(seen))
		}
	})
	t.Run("refused and accepted recipients", func(t *testing.T) {
		feed, _, err := deliver(t, p.Upstream("plain"), to("ok@b.example", "nobody@b.example", "too@b.example"))
		if err != nil {
			t.Fatal(err)
		}
		o := feed.Settled()[0].Outcomes
		if o[0].Code != 250 || o[1].Code != 550 || o[1].Enhanced != "5.1.1" || o[1].Stage != spool.StageRcpt || o[2].Code != 250 {
			t.Errorf("%+v", o)
		}
		p.Arrived(t, 2)
	})
	t.Run("more recipients than it takes at once", func(t *testing.T) {
		env := to()
		for range 70 {
			env.Recipients = append(env.Recipients, spool.Recipient{Address: "ok@b.example"})
		}
		feed, _, err := deliver(t, p.Upstream("plain"), env)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range feed.Settled()[0].Outcomes {
			if o.Stage != spool.StageDot || o.Code != 250 {
				t.Errorf("recipient %d: %+v", i, o)
			}
		}
		p.Arrived(t, 3)
	})
	t.Run("larger than it takes", func(t *testing.T) {
		feed := upstreamtest.NewFeed()
		feed.Add(to("ok@b.example"), bytes.Repeat([]byte("0123456789\r\n"), 100_000))
		if err := (&upstream.Dialer{}).Deliver(t.Context(), p.Upstream("plain"), feed); err != nil {
			t.Fatal(err)
		}
		if o := feed.Settled()[0].Outcomes[0]; !o.Unsupported || o.Code != 552 {
			t.Errorf("%+v", o)
		}
	})
	fault := func(t *testing.T, up *config.Upstream, stage spool.Stage, code int) {
		t.Helper()
		feed, _, err := deliver(t, up, to("ok@b.example"))
		var f *spool.Fault
		if !errors.As(err, &f) || f.Outcome.Stage != stage || f.Outcome.Code != code {
			t.Errorf("%v", err)
		}
		if len(feed.Settled()) != 0 {
			t.Error("a message was taken")
		}
	}
	for _, auth := range []string{"plain", "login", "cram-md5", "scram-sha-256"} {
		t.Run("wrong password by "+auth, func(t *testing.T) {
			up := p.Upstream(auth)
			up.Password = config.NewSecret("chalk")
			fault(t, up, spool.StageSignIn, 535)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		up := p.Upstream("plain")
		up.CAFile = ""
		fault(t, up, spool.StageTLS, 0)
	})
	t.Run("wrong name", func(t *testing.T) {
		up := p.Upstream("plain")
		up.ServerName = "other.postern.test"
		fault(t, up, spool.StageTLS, 0)
	})
	for _, mode := range []config.UpstreamTLS{config.TLSVerify, config.TLSImplicit, config.TLSEncrypt, config.TLSOpportunistic} {
		t.Run("resumption, "+string(mode), func(t *testing.T) {
			up := p.Upstream("plain")
			up.TLS = mode
			if mode == config.TLSImplicit {
				up.Port = p.Implicit
			}
			rec := &recorder{}
			d := &upstream.Dialer{Events: rec.tell, Memory: memory.New(&statefile.State{Dir: t.TempDir()})}
			for range 3 {
				if err := d.Deliver(t.Context(), up, upstreamtest.NewFeed()); err != nil {
					t.Fatal(err)
				}
			}
			for i, e := range rec.opened {
				if e.Resumed != (i > 0) || e.Verified != (mode != config.TLSEncrypt) {
					t.Errorf("connection %d: %+v", i, e)
				}
			}
		})
	}
	t.Run("not signed in", func(t *testing.T) {
		feed, _, err := deliver(t, p.Upstream("none"), to("ok@b.example"))
		if o := feed.Settled()[0].Outcomes[0]; err != nil || o.Code != 554 || o.Stage != spool.StageRcpt {
			t.Errorf("%+v, %v", o, err)
		}
	})
	t.Run("examined", func(t *testing.T) {
		dialer := &upstream.Dialer{Hostname: func() string { return "relay.example" }}
		r := dialer.Examine(t.Context(), p.Upstream("auto"), []upstream.Rehearsal{
			{From: "from@a.example", To: "ok@b.example"}, {From: "", To: "ok@b.example"}, {From: "from@a.example", To: "nobody@b.example"},
		})
		if r.Fault != nil || !r.Verified || r.SignIn == nil || r.SignIn.Mechanism != "SCRAM-SHA-512" || len(r.Hellos) != 2 || r.Hellos[1].MaxSize != 1_000_000 {
			t.Fatalf("%+v", r)
		}
		if e := r.Rehearsed; len(e) != 3 || e[0].Refusal != nil || e[1].Refusal != nil || e[2].Refusal == nil || e[2].Refusal.Enhanced != "5.1.1" {
			t.Errorf("%+v", e)
		}
	})
}
