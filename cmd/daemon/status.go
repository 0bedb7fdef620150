package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/queue/budget"
	"postern/queue/verdict"
	"postern/relay/oauth"
	"postern/relay/upstream"
	"postern/spool"
)

// tokenTimeout bounds a look at a stored token, which is a file.
const tokenTimeout = time.Second

// Status is the state of the whole.
func (d *daemon) Status() *control.Status {
	st := d.state.Load()
	problems, degraded := d.Health() // says what the store can't tell
	ctx, now := context.Background(), time.Now()
	usage, _ := d.store.Usage(ctx)
	t, _ := d.store.Tally(ctx, now)
	s := &control.Status{
		Version: d.version, PID: os.Getpid(), Hostname: st.cfg.Hostname, Config: st.cfg.Path, Settings: st.digest,
		Started: d.started, Loaded: st.loaded, Healthy: len(problems) == 0, Problems: problems, Degraded: degraded,
		Descriptors: st.shares.status(st.cfg),
		Listeners:   d.listeners(st.cfg), Metrics: st.cfg.Control.Metrics, Spool: control.Spool{Dir: st.cfg.Spool.Dir, Usage: usage},
	}
	lanes, _ := d.queue.Lanes(ctx)
	for _, l := range lanes {
		s.Lanes = append(s.Lanes, d.lane(st, &l, now))
	}
	s.Queue = control.Queue{Deliveries: t.Due + t.Deferred + t.Held + t.Claimed,
		Due: t.Due, Deferred: t.Deferred, Held: t.Held, Kept: usage.Kept, Active: t.Claimed}
	for i := range s.Lanes {
		if due := s.Lanes[i].OldestDue; due != nil && (s.Queue.OldestDue == nil || due.Before(*s.Queue.OldestDue)) {
			s.Queue.OldestDue = due
		}
	}
	return s
}

func (d *daemon) listeners(cfg *config.Config) []control.Listener {
	addrs, conns := d.doors.Addrs(), d.doors.Connections()
	list := []control.Listener{}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
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
		Sessions: l.Sessions, Queued: l.Pending, OldestDue: oldestDue(l.Due, l.Down, l.Claimed, now), DownSince: moment(l.Down),
		PausedBy: l.By, Rates: l.Budget, WaitsSince: moment(l.Short), Pace: l.Pace, Holder: l.Holder,
	}
	for i := range l.Refused {
		r := &l.Refused[i]
		lane.RefusedSenders = append(lane.RefusedSenders, r.Sender)
		lane.Refusals = append(lane.Refusals, control.Refusal{Sender: r.Sender, Since: r.Since, Waiting: r.Waiting, Reason: causeOf(&r.Cause)})
	}
	if l.State != queue.Up {
		lane.Reason, lane.Advice = causeOf(&l.Cause), adviceOf(verdict.Advise(&l.Cause))
	}
	if lane.Advice == nil && slices.Contains(lane.RefusedSenders, "") {
		lane.Advice = Advise("", &spool.Outcome{Stage: spool.StageMail, Code: 550})
	}
	if up := st.cfg.Upstreams[l.Upstream]; up != nil {
		lane.Address = upstream.Target(up)
		lane.Settings = st.digests[l.Upstream]
		lane.Provider, lane.TLS, lane.Auth, lane.Username = up.Provider, string(up.TLS), string(up.Auth), up.Username
		lane.MaxConnections, lane.MaxRecipients, lane.MaxMessageSize = l.MaxSessions, up.MaxRecipients, up.MaxMessageSize
		lane.Memory = d.remembered(up)
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

// Advise translates an upstream's answer to a message of a sender for an
// administrator; nil: nothing is known of it beyond its own words.
func Advise(sender string, o *spool.Outcome) *verdict.Advice {
	return adviceOf(verdict.AdviseSender(sender, o))
}

func adviceOf(a verdict.Advice, known bool) *verdict.Advice {
	if !known {
		return nil
	}
	return &a
}

// Advise is Advise, for those who ask a daemon.
func (d *daemon) Advise(sender string, o *spool.Outcome) *verdict.Advice { return Advise(sender, o) }

// causeOf is what a fault came to, in a few words.
func causeOf(o *spool.Outcome) string {
	text := o.Text
	if o.Code != 0 {
		text = fmt.Sprintf("%s answered %d %s", o.Remote, o.Code, strings.TrimSpace(o.Enhanced+" "+o.Text))
	}
	if o.Cause != "" {
		text += ": " + o.Cause
	}
	return text
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Why explains what keeps mail for an upstream waiting.
func (d *daemon) Why(upstream string) control.Why {
	now := time.Now()
	lanes, err := d.queue.Lanes(context.Background())
	if err != nil {
		return control.Why{}
	}
	for i := range lanes {
		if l := &lanes[i]; l.Upstream == upstream {
			return control.Why{All: whyAll(l, now), Senders: whySenders(l)}
		}
	}
	return control.Why{}
}

// whySenders explains what keeps the mail of some senders waiting.
func whySenders(l *queue.LaneStatus) map[string]string {
	why := make(map[string]string, len(l.Refused))
	for i := range l.Refused {
		r := &l.Refused[i]
		why[r.Sender] = fmt.Sprintf("the upstream %q refuses the sender <%s> (%s); one message of this sender at a time tries again", l.Upstream, r.Sender, causeOf(&r.Cause))
	}
	return why
}

func whyAll(l *queue.LaneStatus, now time.Time) string {
	upstream := l.Upstream
	if !l.Short.IsZero() && (l.State == queue.Up || l.State == queue.Slowed) {
		return ratesSpent(upstream, l.Budget, now)
	}
	probe := ""
	if !l.Probe.IsZero() {
		probe = fmt.Sprintf("; it is probed again in %s", max(0, l.Probe.Sub(now)).Round(time.Second))
	}
	switch l.State {
	case queue.Missing:
		return fmt.Sprintf("no upstream %q is configured any more: define it again, or remove or bounce the mail", upstream)
	case queue.Paused:
		return fmt.Sprintf("the upstream %q is paused by %s, until somebody runs `postern upstream resume %s`", upstream, cmp.Or(l.By, "an operator"), upstream)
	case queue.Slowed:
		return fmt.Sprintf("the upstream %q throttles (%s), so it is sent %.3g messages a minute", upstream, causeOf(&l.Cause), l.Pace)
	case queue.Parked:
		return fmt.Sprintf("the upstream %q is parked (%s)%s", upstream, causeOf(&l.Cause), probe)
	case queue.Waiting:
		return fmt.Sprintf("the upstream %q cannot take mail at present (%s)%s", upstream, causeOf(&l.Cause), probe)
	}
	return ""
}

// ratesSpent says which rates keep mail waiting, and for how long.
func ratesSpent(upstream string, left []budget.Left, now time.Time) string {
	text := fmt.Sprintf("the upstream %q is sent no more than its configuration allows", upstream)
	for _, r := range left {
		if r.Left == 0 && !r.Next.IsZero() {
			text += fmt.Sprintf("; %s is used up, the next may go in %s", r.Rate, max(0, r.Next.Sub(now)).Round(time.Second))
		}
	}
	return text
}

// Metrics answers scrapes.
func (d *daemon) Metrics() http.Handler { return d.log.Metrics(d.Status) }

// Failed tells of a fault at the sockets of administrators and scrapers.
func (d *daemon) Failed(text string) { d.events.ControlFailed(text) }
