package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/config"
	"postern/queue"
)

// weight is what a finding means for the health of the relay.
type weight int

const (
	unweighed weight = iota // nothing
	lesser                  // it is degraded
	grave                   // it is not healthy
)

// finding is something that is wrong, in the words that health and alerts have
// for it. One without a kind is no alert: another finding tells it.
type finding struct {
	alert.Trouble
	weight weight
}

// Health tells why the relay is not healthy, and what fails without making it
// so: an upstream whose mail goes by another one, a sender that is refused.
func (d *daemon) Health() (problems, degraded []string) { return weigh(d.findings(time.Now())) }

// weigh is what findings mean for health.
func weigh(findings []finding) (problems, degraded []string) {
	for i := range findings {
		switch f := &findings[i]; f.weight {
		case grave:
			problems = append(problems, f.Text)
		case lesser:
			degraded = append(degraded, f.Text)
		}
	}
	return problems, degraded
}

// findings is all that is wrong and that the parts of the relay know of.
func (d *daemon) findings(now time.Time) (all []finding) {
	cfg := d.state.Load().cfg
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	lanes := d.queue.Health()
	pending, unread := d.store.Lanes(ctx)
	limit := cfg.Control.HealthMaxAge
	var oldest time.Duration
	late := 0
	for _, name := range slices.Sorted(maps.Keys(lanes)) {
		l := lanes[name]
		waits := pending[name]
		found := judge(cfg, name, lanes, now)
		for i := range found {
			if found[i].Kind != senderRefused {
				found[i].Waiting = waits.Shares
			}
		}
		all = append(all, found...)
		if l.State == queue.Missing && waits.Shares > 0 {
			all = append(all, missing(name, waits.Shares))
		}
		if due := oldestDue(waits.Due, waits.Scheduled, l.Down, l.Claimed, now); due != nil && l.State != queue.Paused && !l.Rated && l.Holder == "" {
			oldest = max(oldest, now.Sub(*due))
			if limit > 0 && now.Sub(*due) > limit {
				late += waits.Shares
			}
		}
	}
	if limit > 0 && oldest > limit {
		f := finding{weight: grave, Trouble: alert.Trouble{Key: alert.Key{Kind: mailLate}, Severity: alert.Critical, Since: now.Add(-oldest), Waiting: late,
			Text:   fmt.Sprintf("the oldest due delivery has been due for %s, longer than control.health_max_age (%s)", oldest.Round(time.Second), limit),
			Remedy: "Look why it does not go: each delivery says what it waits for.", Command: "postern queue list"}}
		all = append(all, f)
	}
	all = append(all, d.judgeLog(now)...)
	all = append(all, d.storms.judge()...)
	return append(all, d.judgeSpool(ctx, unread)...)
}

// keptWords tells of messages that failed, and no sender is told.
func keptWords(n int) string {
	if n == 1 {
		return "1 message from <>, such as a bounce, or a copy could not be delivered and is kept: `postern queue list --held` shows it"
	}
	return fmt.Sprintf("%d messages from <>, such as bounces, or copies could not be delivered and are kept: `postern queue list --held` shows them", n)
}

// shortTimes is for how many times control.health_max_age mail waits for the rates
// of an upstream before somebody is told: an hour, where nothing else is set.
const shortTimes = 4

// judge says what is wrong with one lane: parked at once, out of reach from
// control.health_max_age on, whatever waits for it. Other upstreams that take
// its mail make a relay degraded, and don't mend the lane.
func judge(cfg *config.Config, name string, lanes map[string]queue.LaneHealth, now time.Time) (all []finding) {
	l := lanes[name]
	limit := cfg.Control.HealthMaxAge
	age := now.Sub(l.Down).Round(time.Second)
	by, without, routes := standIns(cfg, name, lanes)
	switch {
	case l.Down.IsZero():
	case l.State == queue.Parked:
		all = append(all, troubled(grave, upstreamParked, name, &l, l.Down, fmt.Sprintf("the upstream %q is parked: it fails in a way that somebody has to mend", name)))
	case limit > 0 && now.Sub(l.Down) >= limit:
		all = append(all, troubled(grave, upstreamDown, name, &l, l.Down, fmt.Sprintf("the upstream %q has been down for %s, not less than control.health_max_age (%s): %s", name, age, limit, control.CauseOf(&l.Cause))))
	default:
		all = append(all, troubled(unweighed, upstreamDown, name, &l, l.Down, fmt.Sprintf("the upstream %q has been down for %s: %s", name, age, control.CauseOf(&l.Cause))))
	}
	if l.State == queue.Slowed {
		f := troubled(unweighed, upstreamSlowed, name, &l, l.Since, fmt.Sprintf("the upstream %q throttles: %s", name, control.CauseOf(&l.Cause)))
		f.Severity = alert.Warning
		all = append(all, f)
	}
	if limit > 0 && !l.Short.IsZero() && now.Sub(l.Short) >= shortTimes*limit {
		all = append(all, finding{Trouble: alert.Trouble{Key: alert.Key{Kind: rateUsedUp, Subject: name}, Severity: alert.Warning, Since: l.Short,
			Text:   fmt.Sprintf("due mail for the upstream %q has waited for its rates for %s", name, now.Sub(l.Short).Round(time.Second)),
			Remedy: "More is sent than rate lets through: raise it where the provider takes more, or give the routes another upstream.", Command: "postern status"}})
	}
	if !l.Down.IsZero() && len(by) > 0 {
		text := fmt.Sprintf("the upstream %q has been down for %s; its mail goes by %s", name, age, strings.Join(by, ", "))
		if without > 0 {
			text += fmt.Sprintf(", but mail of %d of its %d routes has no other way", without, routes)
		} else {
			all[0].Severity = alert.Warning
		}
		all = append(all, finding{weight: lesser, Trouble: alert.Trouble{Text: text}})
		all[0].Remedy = strings.TrimSpace(all[0].Remedy + " Meanwhile its mail goes by " + strings.Join(by, ", ") + ".")
	}
	for i := range l.Refused {
		all = append(all, refusedSender(name, &l.Refused[i], now))
	}
	return all
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
