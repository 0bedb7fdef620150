package daemon

import (
	"fmt"
	"sync"
	"time"

	"postern/cmd/alert"
	"postern/relay/submission"
)

// loopFor is how long after the last message that went in a circle is told of it.
const loopFor = time.Hour

// loops is what was refused because it came back again and again. The zero value
// has seen none.
type loops struct {
	sync.Mutex
	first, last time.Time
	count       int
	from, by    string // of the last: reverse-path and listener
}

// observe notes messages that are in a loop, and passes events on.
func (l *loops) observe(next func(submission.Event)) func(submission.Event) {
	return func(e submission.Event) {
		if r, ok := e.(*submission.Refused); ok && r.Refusal != nil && r.Refusal.Enhanced == [3]int{5, 4, 6} { // RFC 3463 §3.5
			l.note(r, time.Now())
		}
		next(e)
	}
}

func (l *loops) note(r *submission.Refused, now time.Time) {
	l.Lock()
	defer l.Unlock()
	if now.Sub(l.last) >= loopFor {
		l.first, l.count = now, 0
	}
	l.last, l.from, l.by = now, r.From, r.Client.Listener
	l.count++
}

// judge is what is to be told.
func (l *loops) judge(now time.Time) []alert.Trouble {
	l.Lock()
	defer l.Unlock()
	if l.count == 0 || now.Sub(l.last) >= loopFor {
		return nil
	}
	what := "a message was refused because it goes in a circle, "
	if l.count > 1 {
		what = fmt.Sprintf("%d messages were refused because they go in a circle, the last ", l.count)
	}
	return []alert.Trouble{{Key: alert.Key{Kind: mailLoop}, Severity: alert.Warning, Since: l.first,
		Text:   fmt.Sprintf("%sfrom <%s> at the listener %s", what, l.from, l.by),
		Remedy: "Its Received fields name the machines that it goes round: one of them sends here what this relay sends there. Correct an alias, a forwarding or a route.", Command: "postern explain --from " + quoted(l.from)}}
}
