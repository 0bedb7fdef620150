package daemon

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/queue/verdict"
	"postern/relay/oauth"
	"postern/relay/upstream"
	"postern/spool"
)

// storeTimeout bounds what the store is asked for people. On a disk it answers at
// once.
const storeTimeout = 3 * time.Second

// tokenTimeout bounds a look at a stored token, which is a file.
const tokenTimeout = time.Second

// Status is the state of the whole.
func (d *daemon) Status() *control.Status {
	st := d.state.Load()
	problems, degraded := d.Health() // says what the store can't tell
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	now := time.Now()
	usage, _ := d.store.Usage(ctx)
	t, _ := d.store.Tally(ctx, now)
	s := &control.Status{
		Version: d.version, PID: os.Getpid(), Hostname: st.cfg.Hostname, Config: st.cfg.Path, Settings: st.digest,
		Started: d.started, Loaded: st.loaded, Healthy: len(problems) == 0, Problems: problems, Degraded: degraded,
		Descriptors: st.shares.status(st.cfg),
		Listeners:   d.listeners(st.cfg), Metrics: st.cfg.Control.Metrics, Console: st.cfg.Console.Listener.Address, Spool: control.Spool{Dir: st.cfg.Spool.Dir, Shared: st.cfg.Spool.Shared(), Usage: usage, Relays: d.relays(ctx), Standin: d.away(ctx)},
	}
	s.Expected = d.silence.status(st.cfg.Routes)
	s.Storms = d.storms.status()
	lanes, _ := d.queue.Lanes(ctx)
	for _, l := range lanes {
		s.Lanes = append(s.Lanes, d.lane(st, &l, now))
	}
	s.Queue = control.Queue{Deliveries: t.Due + t.Deferred + t.Scheduled + t.Held + t.Claimed,
		Due: t.Due, Deferred: t.Deferred, Scheduled: t.Scheduled, Held: t.Held, Kept: usage.Kept, Active: t.Claimed}
	for i := range s.Lanes {
		if due := s.Lanes[i].OldestDue; due != nil && (s.Queue.OldestDue == nil || due.Before(*s.Queue.OldestDue)) {
			s.Queue.OldestDue = due
		}
	}
	return s
}

func (d *daemon) listeners(cfg *config.Config) []control.Listener {
	addrs, conns := d.intake.Addrs(), d.intake.Connections()
	list := []control.Listener{}
	maps.Copy(addrs, d.api.Addrs())
	maps.Copy(conns, d.api.Connections())
	for _, l := range cfg.AllListeners() {
		address := l.Address
		if a := addrs[l.Name]; a != nil && l.Network == "tcp" {
			address = a.String()
		}
		list = append(list, control.Listener{Name: l.Name, Address: address, TLS: string(l.TLS), Connections: conns[l.Name]})
	}
	return list
}

func (d *daemon) lane(st *state, l *queue.LaneStatus, now time.Time) control.Lane {
	lane := control.Lane{
		Upstream: l.Upstream, State: l.State,
		Since: moment(l.Since), NextProbe: moment(l.Probe),
		Sessions: l.Sessions, Queued: l.Pending, OldestDue: oldestDue(l.Due, l.Scheduled, l.Down, l.Claimed, now), DownSince: moment(l.Down),
		PausedBy: l.By, Rates: l.Budget, WaitsSince: moment(l.Short), Pace: l.Pace, Holder: l.Holder,
	}
	for i := range l.Refused {
		r := &l.Refused[i]
		lane.RefusedSenders = append(lane.RefusedSenders, r.Sender)
		lane.Refusals = append(lane.Refusals, control.Refusal{Sender: r.Sender, Since: r.Since, Waiting: r.Waiting, Reason: control.CauseOf(&r.Cause)})
	}
	if l.State != queue.Up {
		lane.Reason, lane.Advice = control.CauseOf(&l.Cause), control.AdviceOf(verdict.Advise(&l.Cause))
	}
	if lane.Advice == nil && slices.Contains(lane.RefusedSenders, "") {
		lane.Advice = control.Advise("", &spool.Outcome{Stage: spool.StageMail, Code: 550})
	}
	if up := st.cfg.Upstreams[l.Upstream]; up != nil {
		lane.Address = upstream.Target(up)
		lane.Settings = st.digests[l.Upstream]
		lane.Provider, lane.TLS, lane.Auth, lane.Username = up.Provider, string(up.TLS), string(up.Auth), up.Username
		lane.MaxConnections, lane.MaxRecipients, lane.MaxMessageSize = l.MaxSessions, up.MaxRecipients, up.MaxMessageSize
		lane.Memory = d.remembered(up)
		lane.CertificateEnds = moment(d.ends.ofUpstream(l.Upstream))
		if lane.Memory != nil && lane.Memory.Way != "" {
			lane.Address = lane.Memory.Way
		}
		if up.Provider == config.CaptureProvider {
			lane.Address = "kept in " + st.cfg.CaptureDir()
		}
		if up.OAuth != nil {
			lane.Token = d.token(up)
		}
	}
	return lane
}

// token is how it stands with the access token of an upstream.
func (d *daemon) token(up *config.Upstream) *oauth.Status {
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	st := d.tokens.Status(ctx, &up.Account)
	return &st
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Hostname is the name of the relay.
func (d *daemon) Hostname() string { return d.state.Load().cfg.Hostname }

// Upstreams names what is configured and what mail waits for.
func (d *daemon) Upstreams() []string {
	all := map[string]bool{}
	for name := range d.state.Load().cfg.Upstreams {
		all[name] = true
	}
	pending, _ := d.store.Lanes(context.Background()) // after an error: what is configured is known all the same
	for name := range pending {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}
