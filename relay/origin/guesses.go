package origin

import (
	"context"
	"sync"
	"time"
)

// How wrong passwords are answered for.
const (
	freeFailures = 5                // of an origin before others of it have to wait
	forgetAfter  = 10 * time.Minute // a failure counts half after each such time
	longestQueue = 30 * time.Second // that a sign-in of one origin waits
	pauseForUser = 2 * time.Second  // at most, for what other origins did
)

// Guesses remembers who gave wrong passwords, over connections. Beyond a few,
// sign-ins of the same origin are checked one after the other, with a pause
// that grows. A user at whom others guess is never locked out: from another
// origin a sign-in waits two seconds at most, and not at all where the last
// one of that user from there succeeded.
type Guesses struct {
	mu      sync.Mutex // guards what follows
	origins recent[Key, guesser]
	users   recent[string, guesser]
	pairs   recent[pair, guesser]
}

type pair struct {
	origin Key
	user   string
}

// guesser is what is remembered of one origin, user, or user at an origin.
type guesser struct {
	failures float64   // as of last, halved with time
	last     time.Time // of the last failure
	next     time.Time // when the next password may be checked
	trusted  bool      // of a pair: the last sign-in was right
}

// NewGuesses remembers up to size origins, users, and users at origins each.
func NewGuesses(size int) *Guesses {
	return &Guesses{
		origins: newRecent[Key, guesser](size),
		users:   newRecent[string, guesser](size),
		pairs:   newRecent[pair, guesser](size),
	}
}

// Wait tells how long a sign-in has to wait before it may be checked; false:
// so long that it isn't checked at all. It makes the next one wait longer.
func (g *Guesses) Wait(k Key, user string, now time.Time) (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p, ok := g.pairs.get(pair{k, user}); ok && p.trusted {
		return 0, true
	}
	o, _ := g.origins.get(k)
	wait := max(0, o.next.Sub(now))
	if wait > longestQueue {
		return 0, false
	}
	if pause := pauseAfter(o.count(now)); pause > 0 {
		o.next = now.Add(wait + pause)
		g.origins.put(k, o)
	}
	u, _ := g.users.get(user)
	return max(wait, min(pauseAfter(u.count(now)), pauseForUser)), true
}

// Failed remembers a wrong password, also of a user who doesn't exist.
func (g *Guesses) Failed(k Key, user string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := pair{k, user}
	o, _ := g.origins.get(k)
	u, _ := g.users.get(user)
	both, _ := g.pairs.get(p)
	for _, one := range []*guesser{&o, &u, &both} {
		one.failures = one.count(now) + 1
		one.last = now
	}
	both.trusted = false
	o.next = maxTime(o.next, now.Add(pauseAfter(o.failures)))
	g.origins.put(k, o)
	g.users.put(user, u)
	g.pairs.put(p, both)
}

// Succeeded remembers a right one. It takes nothing from the failures of the
// origin: whoever has one password may still guess at others.
func (g *Guesses) Succeeded(k Key, user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := pair{k, user}
	if both, known := g.pairs.get(p); known && both.trusted {
		return
	}
	g.pairs.put(p, guesser{trusted: true})
}

// count is how many failures still count.
func (g *guesser) count(now time.Time) float64 {
	n := g.failures
	for t := now.Sub(g.last); n >= 0.5 && t >= forgetAfter; t -= forgetAfter {
		n /= 2
	}
	return n
}

// pauseAfter is the pause after so many failures: none at first, then half a
// second, and up to eight.
func pauseAfter(failures float64) time.Duration {
	over := failures - freeFailures
	if over <= 0 {
		return 0
	}
	return min(time.Duration(over*float64(500*time.Millisecond)), 8*time.Second)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Pause lets d pass; false: ctx has ended before.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
