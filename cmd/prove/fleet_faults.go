//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// fault is something that may happen to a fleet. It is over when do returns.
type fault struct {
	name string
	do   func(*fleet, context.Context) error
}

// faults are all of them. What is more likely stands more often.
var faults = []fault{
	{"relay-killed", (*fleet).relayKilled},
	{"relay-killed", (*fleet).relayKilled},
	{"relay-dead", (*fleet).relayDead},
	{"relay-dead", (*fleet).relayDead},
	{"machine-of-relay-lost", (*fleet).relayLost},
	{"relay-restarted", (*fleet).relayRestarted},
	{"relay-stopped", (*fleet).relayStopped},
	{"relay-without-database", (*fleet).relayWithoutDatabase},
	{"relay-without-database", (*fleet).relayWithoutDatabase},
	{"relay-without-upstream", (*fleet).relayWithoutUpstream},
	{"answers-lost", (*fleet).answersLost},
	{"answers-lost", (*fleet).answersLost},
	{"database-killed", (*fleet).databaseKilled},
	{"database-and-relay-killed", (*fleet).bothKilled},
	{"database-stopped", (*fleet).databaseStopped},
	{"standby-killed", (*fleet).standbyKilled},
	{"standby-cut-off", (*fleet).standbyCutOff},
	{"standby-promoted", (*fleet).promoted},
	{"standby-promoted", (*fleet).promoted},
	{"machine-of-primary-lost", (*fleet).machineLost},
}

// trouble breaks things until the time of the plan is over: each of them once,
// in any order, and then at random.
func (f *fleet) trouble(ctx context.Context) error {
	if f.plan.alone {
		pause(ctx, f.plan.length)
		return f.promoted(ctx)
	}
	faults, err := f.plan.faults()
	if err != nil {
		return err
	}
	order := rand.Perm(len(faults))
	for n, end := 0, time.Now().Add(f.plan.length); time.Now().Before(end) && ctx.Err() == nil; n++ {
		f.sinks["sink"].fail(f.plan.failing * float64(rand.IntN(3)))
		pause(ctx, time.Duration(500+rand.IntN(2500))*time.Millisecond)
		if n >= len(order) {
			order = append(order, rand.IntN(len(faults)))
		}
		what := faults[order[n]]
		f.books.killed()
		began := time.Now()
		if err := what.do(f, ctx); err != nil {
			return fmt.Errorf("%s: %w", what.name, err)
		}
		f.broken = append(f.broken, span{began, time.Now()})
		f.rep.Faults[what.name]++
		fmt.Fprintf(f.stderr, "%s %s for %.1f s, %d still owed\n", began.Format(time.TimeOnly), what.name, time.Since(began).Seconds(), f.books.owed())
	}
	return ctx.Err()
}

// faults are those that the run has.
func (p *plan) faults() (some []fault, err error) {
	if p.only == "" {
		return faults, nil
	}
	for name := range strings.SplitSeq(p.only, ",") {
		n := len(some)
		for _, f := range faults {
			if f.name == name {
				some = append(some, f)
			}
		}
		if len(some) == n {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
	}
	return some, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// while is how long a fault lasts: mostly short, and sometimes beyond a lease.
func while() time.Duration {
	if rand.IntN(4) == 0 {
		return time.Duration(5+rand.IntN(20)) * time.Second
	}
	return time.Duration(200+rand.IntN(3000)) * time.Millisecond
}

func (f *fleet) any() *member { return f.relays[rand.IntN(len(f.relays))] }

// again starts a relay, and anew where it ends for want of the database, as
// whoever watches over it does.
func (f *fleet) again(ctx context.Context, r *member) (err error) {
	f.rep.Restarts++
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); pause(ctx, 500*time.Millisecond) {
		if err = r.start(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		if !r.gone() {
			r.kill()
		}
	}
	return err
}

func (f *fleet) relayKilled(ctx context.Context) error {
	r := f.any()
	r.kill()
	f.rep.Kills++
	pause(ctx, time.Duration(rand.IntN(2000))*time.Millisecond)
	return f.again(ctx, r)
}

// relayDead has a relay that delivers stay dead until another one delivers.
func (f *fleet) relayDead(ctx context.Context) error {
	return f.relayEnds(ctx, func(r *member) { r.kill() }, func(*member) {})
}

// relayLost is the same where its machine is gone, so that nobody tells the database
// that its connections are over.
func (f *fleet) relayLost(ctx context.Context) error {
	return f.relayEnds(ctx, func(r *member) {
		for _, l := range r.database {
			l.set(stalls)
		}
		r.kill()
	}, func(r *member) {
		for _, l := range r.database {
			l.set(cut)
			l.set(flows)
		}
	})
}

// relayEnds ends the relay that delivers, waits until another one does, and starts it
// again.
func (f *fleet) relayEnds(ctx context.Context, end, before func(*member)) error {
	var holder string
	for begun := time.Now(); holder == "" && time.Since(begun) < 30*time.Second && ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		var err error // nobody is in charge for a while after what was before
		if holder, err = f.holder(ctx, "sink"); err != nil {
			return err
		}
	}
	for i, r := range f.relays {
		if holder != fmt.Sprintf("relay%d", i) {
			continue
		}
		died := time.Now()
		end(r)
		f.rep.Kills++
		for time.Since(died) < time.Minute && ctx.Err() == nil {
			if at, ok := f.sinks["sink"].firstOf(died); ok {
				f.gap(died, at)
				break
			}
			pause(ctx, 20*time.Millisecond)
		}
		before(r)
		return f.again(ctx, r)
	}
	return nil
}

// gap notes how long a lane waited for another relay: until that came with the first
// message, and until the upstream took one, which it refuses now and then.
func (f *fleet) gap(died, delivered time.Time) {
	tried := delivered
	if at, ok := f.sinks["sink"].firstAsked(died); ok {
		tried = at
	}
	f.rep.Tries = append(f.rep.Tries, tried.Sub(died).Seconds())
	f.rep.Gaps = append(f.rep.Gaps, delivered.Sub(died).Seconds())
	fmt.Fprintf(f.stderr, "          the next message was tried after %.1f s and delivered after %.1f s\n", tried.Sub(died).Seconds(), delivered.Sub(died).Seconds())
}

// firstAsked is the first message by a connection that was opened after t.
func (s *sink) firstAsked(t time.Time) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if a.connected.After(t) {
			return a.at, true
		}
	}
	return time.Time{}, false
}

// firstOf is the first arrival by a connection that was opened after t.
func (s *sink) firstOf(t time.Time) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.seen) - 1; i >= 0 && s.seen[i].at.After(t); i-- {
		if s.seen[i].connected.After(t) && (i == 0 || !s.seen[i-1].at.After(t) || !s.seen[i-1].connected.After(t)) {
			return s.seen[i].at, true
		}
	}
	return time.Time{}, false
}

// holder is the relay that has a lane.
func (f *fleet) holder(ctx context.Context, upstream string) (name string, err error) {
	c, err := pgx.Connect(ctx, f.servers[f.primary].URL("postgres"))
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	err = c.QueryRow(ctx, `SELECT coalesce((SELECT relay FROM lane WHERE name = $1 AND holder <> 0 AND until > now()), '')`, upstream).Scan(&name)
	return name, err
}

func (f *fleet) relayRestarted(ctx context.Context) error {
	r := f.any()
	if err := r.stop(); err != nil {
		return err
	}
	return f.again(ctx, r)
}

func (f *fleet) relayStopped(ctx context.Context) error {
	r := f.any()
	_ = r.cmd.Process.Signal(syscall.SIGSTOP)
	pause(ctx, while())
	return r.cmd.Process.Signal(syscall.SIGCONT)
}

func (f *fleet) relayWithoutDatabase(ctx context.Context) error {
	r, how := f.any(), []linkState{cut, stalls}[rand.IntN(2)]
	for _, l := range r.database {
		l.set(how)
	}
	pause(ctx, while())
	for _, l := range r.database {
		l.set(flows)
	}
	return nil
}

func (f *fleet) relayWithoutUpstream(ctx context.Context) error {
	l := f.any().upstream
	l.set([]linkState{cut, stalls, deaf}[rand.IntN(3)])
	pause(ctx, while())
	l.set(flows)
	return nil
}

// answersLost has what a relay asks of the database happen, and its connections
// end before it hears of it.
func (f *fleet) answersLost(ctx context.Context) error {
	r := f.any()
	for _, l := range r.database {
		l.set(deaf)
	}
	pause(ctx, time.Duration(rand.IntN(500))*time.Millisecond)
	for _, l := range r.database {
		l.set(flows)
	}
	return nil
}

func (f *fleet) databaseKilled(ctx context.Context) error {
	f.servers[f.primary].Stop()
	pause(ctx, while())
	return f.servers[f.primary].Run(f.settings()...)
}

func (f *fleet) bothKilled(ctx context.Context) error {
	r := f.any()
	f.servers[f.primary].Stop()
	pause(ctx, time.Duration(rand.IntN(1000))*time.Millisecond)
	r.kill()
	f.rep.Kills++
	if err := f.servers[f.primary].Run(f.settings()...); err != nil {
		return err
	}
	return f.again(ctx, r)
}

func (f *fleet) databaseStopped(ctx context.Context) error {
	f.servers[f.primary].Freeze()
	pause(ctx, while())
	f.servers[f.primary].Thaw()
	return nil
}

// standbyKilled: commits wait as long as there is none.
func (f *fleet) standbyKilled(ctx context.Context) error {
	f.servers[1-f.primary].Stop()
	pause(ctx, while())
	return f.servers[1-f.primary].Run(f.settings()...)
}

func (f *fleet) standbyCutOff(ctx context.Context) error {
	f.follow.set(stalls)
	pause(ctx, while())
	f.follow.set(flows)
	return nil
}

// promoted has the standby go on where the primary was killed. What was the
// primary is made anew, as a standby.
func (f *fleet) promoted(ctx context.Context) error {
	if f.plan.alone {
		f.follow.set(stalls) // what nobody waits for is behind
		pause(ctx, 2*time.Second)
	}
	if err := f.servers[f.primary].Remove(); err != nil {
		return err
	}
	if f.plan.alone {
		f.follow.set(cut)
		f.follow.set(flows)
	}
	if err := f.servers[1-f.primary].Promote(ctx); err != nil {
		return err
	}
	f.primary = 1 - f.primary
	pause(ctx, time.Duration(rand.IntN(4000))*time.Millisecond)
	return f.newStandby(ctx)
}

// machineLost is the same where nobody answers for the primary any more, not
// even that it is not there.
func (f *fleet) machineLost(ctx context.Context) error {
	lost := f.primary
	for _, r := range f.relays {
		r.database[lost].set(stalls)
	}
	err := f.promoted(ctx)
	if err == nil {
		pause(ctx, 2*while())
	}
	for _, r := range f.relays {
		r.database[lost].set(cut)
		r.database[lost].set(flows)
	}
	return err
}
