package control

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"postern/queue"
	"postern/queue/budget"
	"postern/queue/verdict"
	"postern/spool"
)

// Reasons tells why mail waits other than for its due time. It asks the queue
// once, when it is first needed. It is for one goroutine, and one answer.
type Reasons struct {
	queue   MailQueue
	standin func(context.Context, spool.ID) bool

	lanes []queue.LaneStatus
	asked bool
	known map[string]why // by upstream
}

// why is what keeps mail for an upstream waiting, in sentences without a full
// stop.
type why struct {
	all     string            // of all mail; empty: nothing does
	senders map[string]string // of the mail of some reverse-paths
}

// WaitsForDatabase is why a message in a stand-in spool waits.
const WaitsForDatabase = "it was accepted while the database was away, and goes out once it is there"

// NewReasons is what q tells. standin tells which messages are in a spool that
// stands in for a database; nil: none is.
func NewReasons(q MailQueue, standin func(context.Context, spool.ID) bool) *Reasons {
	return &Reasons{queue: q, standin: standin}
}

// Of is the reason that concerns a message of one sender for an upstream; empty:
// none does.
func (r *Reasons) Of(ctx context.Context, id spool.ID, upstream, sender string) string {
	if r.standin != nil && r.standin(ctx, id) {
		return WaitsForDatabase
	}
	w := r.why(ctx, upstream)
	return cmp.Or(w.all, w.senders[sender])
}

// Tell says at an entry why its message waits. What cannot be read has said so, and
// what is held or under way does not wait for its upstream.
func (r *Reasons) Tell(ctx context.Context, id spool.ID, e *Entry) {
	if e.Unreadable {
		return
	}
	if why := r.Of(ctx, id, e.Upstream, e.From); why == WaitsForDatabase || e.State != Held && e.State != Active {
		e.Waits = why
	}
}

// OfAll is the reason that concerns all mail for an upstream; empty: none does.
func (r *Reasons) OfAll(ctx context.Context, upstream string) string {
	return r.why(ctx, upstream).all
}

func (r *Reasons) why(ctx context.Context, upstream string) why {
	if !r.asked {
		r.asked, r.known = true, map[string]why{}
		r.lanes, _ = r.queue.Lanes(ctx) // an error is the spool's, which Health tells
	}
	w, ok := r.known[upstream]
	if !ok {
		for i := range r.lanes {
			if l := &r.lanes[i]; l.Upstream == upstream {
				w = why{whyAll(l, time.Now()), whySenders(l)}
			}
		}
		r.known[upstream] = w
	}
	return w
}

// whySenders explains what keeps the mail of some senders waiting.
func whySenders(l *queue.LaneStatus) map[string]string {
	why := make(map[string]string, len(l.Refused))
	for i := range l.Refused {
		r := &l.Refused[i]
		why[r.Sender] = fmt.Sprintf("the upstream %q refuses the sender <%s> (%s); one message of this sender at a time tries again", l.Upstream, r.Sender, CauseOf(&r.Cause))
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
		return fmt.Sprintf("the upstream %q throttles (%s), so it is sent %.3g messages a minute", upstream, CauseOf(&l.Cause), l.Pace)
	case queue.Parked:
		return fmt.Sprintf("the upstream %q is parked (%s)%s", upstream, CauseOf(&l.Cause), probe)
	case queue.Waiting:
		return fmt.Sprintf("the upstream %q cannot take mail at present (%s)%s", upstream, CauseOf(&l.Cause), probe)
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

// Advise translates an upstream's answer to a message of a sender for an
// administrator; nil: nothing is known of it beyond its own words.
func Advise(sender string, o *spool.Outcome) *verdict.Advice {
	return AdviceOf(verdict.AdviseSender(sender, o))
}

// AdviceOf is a pointer to advice that is known; nil: it is not.
func AdviceOf(a verdict.Advice, known bool) *verdict.Advice {
	if !known {
		return nil
	}
	return &a
}

// CauseOf is what a fault came to, in a few words.
func CauseOf(o *spool.Outcome) string {
	text := o.Text
	if o.Code != 0 {
		text = fmt.Sprintf("%s answered %d %s", o.Remote, o.Code, strings.TrimSpace(o.Enhanced+" "+o.Text))
	}
	if o.Cause != "" {
		text += ": " + o.Cause
	}
	return text
}
