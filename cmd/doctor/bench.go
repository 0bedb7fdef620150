package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"postern/cmd/control"
	"postern/cmd/facts"
	"postern/config"
	"postern/relay/capture"
	"postern/relay/memory"
	"postern/relay/oauth"
	"postern/relay/route"
	"postern/relay/upstream"
)

// Bench looks at the upstreams of a configuration. Its methods may be called
// concurrently.
type Bench struct {
	config *config.Config
	routes *route.Table
	status *control.Status // of a running daemon; nil: none answers
}

// NewBench prepares to look. status is that of the daemon that runs with this
// configuration; nil: none does.
func NewBench(cfg *config.Config, status *control.Status) (*Bench, error) {
	routes, err := route.New(cfg.Routes)
	if err != nil {
		return nil, err
	}
	return &Bench{config: cfg, routes: routes, status: status}, nil
}

// Upstream looks at one upstream, which belongs to the configuration, and at
// each sender that routes map to it; from and to as in Envelopes. When ctx is
// done, the findings end where they are.
func (b *Bench) Upstream(ctx context.Context, up *config.Upstream, from, to string) []Finding {
	return b.UpstreamSeen(ctx, up, from, to, func([]Finding, string) {})
}

// UpstreamSeen is Upstream for somebody who looks on: seen is told at each step
// what was found so far, which is theirs, and what goes on, in words. The last
// word is what it returns.
func (b *Bench) UpstreamSeen(ctx context.Context, up *config.Upstream, from, to string, seen func(sofar []Finding, doing string)) []Finding {
	envelopes, more := Envelopes(b.config, b.routes, up.Name, from, to)
	rehearsals := make([]upstream.Rehearsal, len(envelopes))
	for i := range envelopes {
		rehearsals[i] = envelopes[i].Rehearsal
	}
	out := Lane(up, b.status)
	clocks := &clocks{}
	state, closed, err := facts.Open(ctx, b.config)
	if err != nil {
		return append(out, Finding{ID: SpoolDatabase, Status: Failed, Subject: "spool.url", Text: "it cannot be used: " + err.Error(),
			Remedy: "Run this command as the user of the daemon, or as root, and see postern database status."})
	}
	defer closed()
	tokens := oauth.New(oauth.Options{State: state, Key: b.config.Spool.TokenKey, Dates: clocks.dated})
	defer tokens.Wait(ctx)
	dialer := &upstream.Dialer{
		Hostname: func() string { return b.config.Hostname }, Tokens: tokens, Memory: memory.New(state),
	}
	examined, end, err := b.captured(ctx, up, dialer)
	if err != nil {
		return append(out, Finding{ID: UpstreamConnect, Status: Failed, Subject: up.Name, Text: err.Error()})
	}
	defer end()
	before := slices.Clone(out)
	r := dialer.ExamineSeen(ctx, examined, rehearsals, func(r *upstream.Report) {
		seen(slices.Concat(before, settled(Session(examined, r, b.largest(), time.Now()), r), Senders(examined, envelopes[:len(r.Rehearsed)], 0, r)), doing[r.Doing])
	})
	now := time.Now()
	session := Session(examined, r, b.largest(), now)
	if up.Password.FromEnvironment() || up.Password.IsSet() && r.SignIn == nil {
		_, err := up.Password.Read(ctx)
		out = append(out, Secret(up.Name, up.Password.Source(), up.Password.FromEnvironment(), err))
		if err != nil && up.Password.FromEnvironment() {
			withoutSecret(session)
		}
	}
	out = append(out, session...)
	if up.OAuth != nil && r.Fault == nil {
		st := tokens.Status(ctx, &up.Account)
		out = append(out, Token(up.Name, &st, now))
	}
	out = append(out, Senders(examined, envelopes, more, r)...)
	if reading, ok := BannerClock(r.Banner, now); ok {
		clocks.add(reading)
	}
	return append(out, Clock(up.Name, clocks.taken())...)
}

// withoutSecret takes back the judgement on a sign-in for which only the daemon
// has the password.
func withoutSecret(session []Finding) {
	for i := range session {
		if f := &session[i]; f.ID == UpstreamSignIn && f.Status == Failed && f.Facts == nil {
			f.Status, f.Text, f.Remedy = Skipped, "only the daemon has the password", "See "+string(UpstreamSecret)+"."
		}
	}
}

// largest is the size in bytes of the largest message that a listener takes.
func (b *Bench) largest() (size int64) {
	for i := range b.config.Listeners {
		size = max(size, b.config.Listeners[i].MaxMessageSize)
	}
	return size
}

// clocks gathers readings, of each clock the last.
type clocks struct {
	mu   sync.Mutex
	list []Reading
}

func (c *clocks) dated(host string, date time.Time) {
	c.add(Reading{Of: "the provider of tokens at " + host, Then: date, Ours: time.Now()})
}

func (c *clocks) add(r Reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(slices.DeleteFunc(c.list, func(other Reading) bool { return other.Of == r.Of }), r)
}

func (c *clocks) taken() []Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// captured leads an upstream of the capture server, and dialer, to one that
// lives as long as the examination: the daemon's own is known to the daemon alone. It keeps
// its Maildir in a folder of its own, so that nothing is made beside the
// daemon's.
func (b *Bench) captured(ctx context.Context, up *config.Upstream, dialer *upstream.Dialer) (*config.Upstream, func(), error) {
	if up.Provider != config.CaptureProvider {
		return up, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "postern-doctor-")
	if err != nil {
		// A read-only container has no folder for temporary files, and nobody
		// needs one but this command.
		dir, err = os.MkdirTemp(b.config.StateDir, ".postern-doctor-")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("no folder for the capture server can be made in %s or %s: %s", os.TempDir(), b.config.StateDir, reason(err))
	}
	server, err := capture.Start(capture.Options{Dir: dir, Hostname: b.config.Hostname})
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, fmt.Errorf("the capture server: %w", err)
	}
	dialer.Capture = server.Connect
	return server.Upstream(up), func() {
		_ = server.Close(ctx)
		os.RemoveAll(dir)
	}, nil
}
