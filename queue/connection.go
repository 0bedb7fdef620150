package queue

import (
	"regexp"
	"slices"
	"sync"
	"time"

	"postern/queue/verdict"
	"postern/spool"
)

const (
	// limitLifetime is how long it is known what an upstream takes over one
	// connection, before it is asked for more.
	limitLifetime = 30 * time.Minute
	// ownLifetime is how long after it came last an answer that a fresh
	// connection has given too is taken to be about what was asked.
	ownLifetime = time.Hour
	// trialEvery is how many sessions there are for one that tries to carry
	// more than what was learnt: a limit that is none must not last.
	trialEvery = 8
	// maxOwn bounds how many such answers are known of an upstream.
	maxOwn = 64
)

// signature is what makes two answers the same one: texts hold addresses,
// numbers and times.
type signature struct {
	stage    spool.Stage
	code     int
	enhanced string
}

func signatureOf(o *spool.Outcome) signature { return signature{o.Stage, o.Code, o.Enhanced} }

// suspicion is an answer over a used connection that a fresh one is asked
// about.
type suspicion struct {
	carried int // messages that the connection had carried before
	sign    signature
}

// connections is what is learnt of the connections of an upstream. Its lane
// guards it.
type connections struct {
	limit int       // messages that one takes; 0: not known
	until time.Time // when the limit is forgotten
	last  int       // where the last one that was used up broke off
	count int       // sessions opened under the limit
	own   map[signature]time.Time
	asked map[*spool.Delivery]suspicion
}

// known is how many messages one connection takes; 0: nobody knows.
func (c *connections) known(now time.Time) int {
	if !now.Before(c.until) {
		return 0
	}
	return c.limit
}

// allot is how many messages the next session may carry: what the
// configuration and what experience say; 0: any number.
func (c *connections) allot(configured int, now time.Time) int {
	n := c.known(now)
	if n == 0 {
		return configured
	}
	if c.count++; c.count%trialEvery == 0 {
		n *= 2
	}
	if configured > 0 {
		n = min(n, configured)
	}
	return n
}

// bore notes that a connection has carried so many messages.
func (c *connections) bore(carried int, now time.Time) {
	if n := c.known(now); n > 0 && carried > n {
		c.limit, c.last = carried, 0
	}
}

// suspects says whether an answer may be the connection's fault. An answer
// that a fresh connection has given lately is not.
func (c *connections) suspects(o *spool.Outcome, v *verdict.Verdict, now time.Time) bool {
	if !mayBeConnection(o, v) {
		return false
	}
	s := signatureOf(o)
	if until, known := c.own[s]; known && now.Before(until) {
		c.own[s] = now.Add(ownLifetime)
		return false
	}
	return true
}

// ask notes that a fresh connection is asked for d. An answer that comes
// earlier than at the limit that was learnt shows that it was none: the
// upstream counts something else, such as recipients or time. Whether the
// connection is at fault is still for the fresh one to say.
func (c *connections) ask(d *spool.Delivery, s suspicion) {
	if s.carried < c.limit {
		c.limit, c.last = 0, 0
	}
	if c.asked == nil {
		c.asked = map[*spool.Delivery]suspicion{}
	}
	c.asked[d] = s
}

// forget drops a question that nobody will answer.
func (c *connections) forget(d *spool.Delivery) { delete(c.asked, d) }

// learn takes the answer of a fresh connection. It returns the limit where it
// is news, and otherwise 0: one that was found twice at the same place.
func (c *connections) learn(d *spool.Delivery, outs []spool.Outcome, verdicts []verdict.Verdict, now time.Time) int {
	s, asked := c.asked[d]
	delete(c.asked, d)
	if !slices.ContainsFunc(verdicts, func(v verdict.Verdict) bool { return v.Status == spool.Delivered }) {
		for i := range outs {
			if outs[i].Code != 0 && mayBeConnection(&outs[i], &verdicts[i]) {
				c.acquit(signatureOf(&outs[i]), now)
			}
		}
		return 0
	}
	if !asked {
		return 0
	}
	before := c.known(now)
	if c.last == s.carried {
		c.limit, c.until = s.carried, now.Add(limitLifetime)
	}
	c.last = s.carried
	if after := c.known(now); after != before {
		return after
	}
	return 0
}

// acquit notes that an answer is not about what a connection has carried.
func (c *connections) acquit(s signature, now time.Time) {
	c.limit, c.last = 0, 0
	if c.own == nil {
		c.own = map[signature]time.Time{}
	}
	if len(c.own) >= maxOwn {
		clear(c.own)
	}
	c.own[s] = now.Add(ownLifetime)
}

// mayBeConnection says whether an outcome may be about what the connection has
// carried before, so that a fresh one can have another: everything that
// doesn't fail a recipient for good, and what says so.
func mayBeConnection(o *spool.Outcome, v *verdict.Verdict) bool {
	switch {
	case v.Status == spool.Delivered, v.InDoubt, o.Unsupported, o.Stage < spool.StageMail:
		return false
	case o.Code == 0: // cut off before the final dot
		return o.Stage < spool.StageDot
	case o.Code < 400 || o.Code > 599:
		return false
	case v.Status == spool.Pending:
		return true
	}
	return connectionWords().MatchString(o.Text)
}

// connectionWords are those by which upstreams say, by a 5xx, that they have
// enough of a connection.
var connectionWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(session|connection)s?\b.{0,40}\b(limit|exceed|maximum|too many)|` +
		`\b(please reconnect|(new|another|fresh) (smtp )?(session|connection))\b|` +
		`\b(limit|exceed\w*|maximum|too many|max)\b.{0,60}\b(per|this|one|single|same|a|smtp) (smtp )?(session|connection)\b`)
})

// refresh lets t wait for a fresh session. What the upstream may have counted
// of it counts, and so does what is to be sent once more.
func (l *lane) refresh(t taking, outs []spool.Outcome, asked suspicion) {
	s, d := &l.state, t.d
	l.mu.Lock()
	s.sent(t, outs)
	l.q.parts.widen(d)
	r := s.room(time.Now(), &l.q.parts)
	l.mu.Unlock()
	err := r.reserve(1, l.q.parts.size(d))
	l.mu.Lock()
	defer l.unlock()
	l.unkeptLocked(err)
	s.connections.ask(d, asked)
	s.work.fresh = append(s.work.fresh, d)
	if !s.flows() {
		l.returnReadyLocked()
	}
	l.poke()
}

// untried takes out of an attempt those recipients whose answer may be the
// connection's fault: they come again, over a fresh one, and nothing is
// charged to anybody. It returns the outcomes of the others; done: there are
// none, and d has been given back as a whole.
func (q *Queue) untried(f *Feed, d *spool.Delivery, outs []spool.Outcome, verdicts []verdict.Verdict) (_ []spool.Outcome, _ []verdict.Verdict, done bool) {
	l := f.lane
	l.mu.Lock()
	defer l.unlock()
	now := time.Now()
	progress := slices.ContainsFunc(verdicts, func(v verdict.Verdict) bool { return v.Status == spool.Delivered })
	if progress {
		l.state.connections.bore(f.carried+1, now)
	}
	if f.carried > 0 {
		l.state.connections.forget(d) // it was given back, and taken by another session
	} else {
		if n := l.state.connections.learn(d, outs, verdicts, now); n > 0 {
			l.afterLocked(func() { q.tell(&ConnectionLimited{l.name, n}) })
		}
		if !progress {
			return outs, verdicts, false
		}
	}
	first, suspects, suspected := -1, 0, make([]bool, len(outs))
	for i := range outs {
		// Recipients of a transaction are carried one after the other, too.
		if progress && verdicts[i].Soon || f.carried == 0 && outs[i].Stage != spool.StageRcpt {
			continue
		}
		if suspected[i] = l.state.connections.suspects(&outs[i], &verdicts[i], now); suspected[i] {
			suspects++
			if first < 0 {
				first = i
			}
		}
	}
	if suspects == 0 {
		return outs, verdicts, false
	}
	f.finish()
	l.state.sessions.renewals++
	cause := outs[first]
	l.afterLocked(func() { q.tell(&ConnectionSpent{l.name, f.carried, cause}) })
	if suspects == len(outs) {
		l.afterLocked(func() { l.refresh(f.last, outs, suspicion{f.carried, signatureOf(&cause)}) })
		return nil, nil, true
	}
	q.parts.leave(d)
	pending, keptOuts, keptVerdicts := []int{}, []spool.Outcome{}, []verdict.Verdict{}
	for i := range outs {
		if !suspected[i] {
			pending, keptOuts, keptVerdicts = append(pending, d.Pending[i]), append(keptOuts, outs[i]), append(keptVerdicts, verdicts[i])
		}
	}
	d.Pending = pending
	return keptOuts, keptVerdicts, false
}
