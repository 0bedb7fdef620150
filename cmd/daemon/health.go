package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
)

// Health tells why the relay is not healthy, and what fails without making it
// so: an upstream whose mail goes by another one, a sender that is refused.
func (d *daemon) Health() (problems, degraded []string) {
	cfg, now := d.state.Load().cfg, time.Now()
	ctx := context.Background()
	lanes := d.queue.Health()
	pending, err := d.store.Lanes(ctx)
	if err != nil {
		problems = append(problems, fmt.Sprintf("the spool cannot be read: %v", err))
	}
	limit := cfg.Control.HealthMaxAge
	var oldest time.Duration
	for _, name := range slices.Sorted(maps.Keys(lanes)) {
		l := lanes[name]
		problem, lesser := judge(cfg, name, lanes, now)
		problems, degraded = append(problems, problem...), append(degraded, lesser...)
		waits := pending[name]
		if l.State == queue.Missing && waits.Shares > 0 {
			problems = append(problems, fmt.Sprintf("%d deliveries wait for the upstream %q, which is not configured", waits.Shares, name))
		}
		if due := oldestDue(waits.Due, waits.Scheduled, l.Down, l.Claimed, now); due != nil && l.State != queue.Paused && !l.Rated && l.Holder == "" {
			oldest = max(oldest, now.Sub(*due))
		}
	}
	if limit > 0 && oldest > limit {
		problems = append(problems, fmt.Sprintf("the oldest due delivery has been due for %s, longer than control.health_max_age (%s)", oldest.Round(time.Second), limit))
	}
	if lag := d.log.Lag(); !lag.Stuck.IsZero() {
		problems = append(problems, fmt.Sprintf("nobody has taken the lines of the log for %s; %d were dropped since the start", now.Sub(lag.Stuck).Round(time.Second), lag.Dropped))
	}
	usage, err := d.store.Usage(ctx)
	if err != nil {
		problems = append(problems, fmt.Sprintf("the spool cannot tell how full it is: %v", err))
	}
	if err := d.pickup.Trouble(); err != nil {
		degraded = append(degraded, fmt.Sprintf("the pickup folder cannot be used: %v", err))
	}
	if usage.Kept > 0 {
		degraded = append(degraded, keptWords(usage.Kept))
	}
	if usage.Failing != nil {
		problems = append(problems, fmt.Sprintf("the spool cannot be written: %v; new mail is answered 451", usage.Failing))
	}
	switch {
	case usage.Full && usage.MaxMessages > 0 && usage.Messages >= usage.MaxMessages:
		problems = append(problems, fmt.Sprintf("the spool holds spool.max_messages = %d: new mail is answered 452", usage.MaxMessages))
	case usage.Full:
		problems = append(problems, "the spool is full: new mail is answered 452")
	}
	return problems, degraded
}

// keptWords tells of messages that failed, and no sender is told.
func keptWords(n int) string {
	if n == 1 {
		return "1 message from <>, such as a bounce, or a copy could not be delivered and is kept: `postern queue list --held` shows it"
	}
	return fmt.Sprintf("%d messages from <>, such as bounces, or copies could not be delivered and are kept: `postern queue list --held` shows them", n)
}

// judge says what is wrong with one lane: parked at once, out of reach from
// control.health_max_age on, whatever waits for it. Other upstreams that take
// its mail make a relay degraded, and don't mend the lane.
func judge(cfg *config.Config, name string, lanes map[string]queue.LaneHealth, now time.Time) (problems, degraded []string) {
	l := lanes[name]
	limit := cfg.Control.HealthMaxAge
	age := now.Sub(l.Down).Round(time.Second)
	switch {
	case l.Down.IsZero():
	case l.State == queue.Parked:
		problems = append(problems, fmt.Sprintf("the upstream %q is parked: it fails in a way that somebody has to mend", name))
	case limit > 0 && now.Sub(l.Down) >= limit:
		problems = append(problems, fmt.Sprintf("the upstream %q has been down for %s, not less than control.health_max_age (%s): %s", name, age, limit, control.CauseOf(&l.Cause)))
	}
	if by, without, routes := standIns(cfg, name, lanes); !l.Down.IsZero() && len(by) > 0 {
		text := fmt.Sprintf("the upstream %q has been down for %s; its mail goes by %s", name, age, strings.Join(by, ", "))
		if without > 0 {
			text += fmt.Sprintf(", but mail of %d of its %d routes has no other way", without, routes)
		}
		degraded = append(degraded, text)
	}
	for i := range l.Refused {
		r := &l.Refused[i]
		text := fmt.Sprintf("the upstream %q has refused the sender <%s> for %s: %s", name, r.Sender, now.Sub(r.Since).Round(time.Second), control.CauseOf(&r.Cause))
		if r.Waiting > 0 {
			text += fmt.Sprintf("; deliveries that wait: %d", r.Waiting)
		}
		degraded = append(degraded, text)
	}
	return problems, degraded
}

// standIns are the upstreams that take the mail of a lane that is down, by the
// lists of the routes. Of the routes that name the lane, those without any such
// upstream are counted too.
func standIns(cfg *config.Config, name string, lanes map[string]queue.LaneHealth) (by []string, without, routes int) {
	for i := range cfg.Routes {
		list := cfg.Routes[i].Upstream
		if !slices.Contains(list, name) {
			continue
		}
		routes++
		first := slices.IndexFunc(list, func(other string) bool {
			state := lanes[other].State
			return state == queue.Up || state == queue.Slowed
		})
		if first < 0 {
			without++
		} else if !slices.Contains(by, list[first]) {
			by = append(by, list[first])
		}
	}
	return by, without, routes
}

// oldestDue is since when mail for an upstream could have gone; nil: none
// could. due is when the first share that nobody has is due; zero: there is
// none; scheduled is the same of mail that was not to go out before, which
// waits for nobody until then. An attempt that the failing upstream brought to nothing gives mail
// another due time, which is no reason to call it younger: while the upstream
// is down, what waits for it has been due since then, also what is claimed for
// a probe at this moment.
func oldestDue(due, scheduled, down time.Time, claimed int, now time.Time) *time.Time {
	oldest := oldestBegun(due, down, claimed, now)
	if scheduled.IsZero() || scheduled.After(now) || oldest != nil && oldest.Before(scheduled) {
		return oldest
	}
	return &scheduled
}

// oldestBegun is oldestDue without what is scheduled.
func oldestBegun(due, down time.Time, claimed int, now time.Time) *time.Time {
	ok := !due.IsZero()
	if !down.IsZero() && (ok && down.Before(due) || !ok && claimed > 0) {
		return &down // also where it went down after now was read
	}
	if !ok || due.After(now) {
		return nil
	}
	return &due
}
