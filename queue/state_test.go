package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/queue/budget"
	"postern/spool"
)

// laneFor is the state of a lane that is up, with so many sessions open, of
// at most four.
func laneFor(open int) *laneState {
	b, _ := budget.Open(nil, "office", nil)
	return &laneState{up: &config.Upstream{MaxConnections: 4}, health: health{state: Up}, tenure: tenure{lease: spool.Lease{Epoch: 1}}, rates: rates{budget: b},
		sessions: sessions{all: sessionsOf(open), open: open}}
}

func sessionsOf(n int) map[*session]struct{} {
	all := map[*session]struct{}{}
	for range n {
		all[&session{opened: true, end: make(chan struct{})}] = struct{}{}
	}
	return all
}

func TestWant(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		open, ready, want int
		change            func(*laneState)
	}{
		"no session: one, to see whether it goes": {0, 0, 1, nil},
		"no session, one is ready":                {0, 1, 0, nil},
		"no session, one is being opened":         {0, 0, 0, func(s *laneState) { s.sessions.all, s.sessions.connecting = sessionsOf(1), 1 }},
		"nothing ready":                           {1, 0, 16, nil},
		"half is ready":                           {1, 8, 8, nil},
		"more than half is ready":                 {1, 9, 0, nil},
		"all sessions at work":                    {4, 0, 16, nil},
		"nothing is due":                          {1, 0, 0, func(s *laneState) { s.work.hot = false }},
		"the store is being asked":                {1, 0, 0, func(s *laneState) { s.work.claiming = true }},
	} {
		s := laneFor(c.open)
		s.work.hot, s.work.ready = true, make([]*spool.Delivery, c.ready)
		if c.change != nil {
			c.change(s)
		}
		if n := s.want(now); n != c.want {
			t.Errorf("%s: %d, want %d", name, n, c.want)
		}
	}
}

func TestRest(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		change func(*laneState)
		want   time.Duration
	}{
		"nothing known":        {func(*laneState) {}, longNap},
		"due later":            {func(s *laneState) { s.work.nextWake = now.Add(time.Second) }, time.Second},
		"due now":              {func(s *laneState) { s.work.nextWake = now }, time.Millisecond},
		"sessions fall behind": {func(s *laneState) { s.work.hot, s.sessions.behind = true, now }, catchUpTime},
		"another is refused": {func(s *laneState) {
			s.work.hot, s.sessions.growAt = true, now.Add(time.Minute)
		}, time.Minute},
		"another may be opened since it was looked at": {func(s *laneState) {
			s.work.hot, s.sessions.growAt, s.looked = true, now.Add(-time.Millisecond), now.Add(-2*time.Millisecond)
		}, time.Millisecond},
		"the pace lets one go since it was looked at": {func(s *laneState) {
			s.work.hot, s.looked = true, now.Add(-time.Hour)
			s.pace.Refused(s.looked.Add(-time.Second), s.looked.Add(-time.Second), 2, spool.Outcome{Code: 451})
			s.pace.Began(s.looked)
			if wait := s.pace.Wait(s.looked); wait.IsZero() || wait.After(now) {
				panic(wait)
			}
		}, time.Millisecond},
		"down":       {func(s *laneState) { s.health = health{state: Waiting, probeAt: now.Add(2 * time.Second)} }, 2 * time.Second},
		"is probed":  {func(s *laneState) { s.health = health{state: Waiting, probeAt: now, probing: true} }, longNap},
		"is paused":  {func(s *laneState) { s.pause.Paused, s.work.nextWake = true, now }, longNap},
		"is missing": {func(s *laneState) { s.up, s.work.nextWake = nil, now }, longNap},
	} {
		s := laneFor(1)
		s.looked = now
		c.change(s)
		if d := s.rest(now); d != c.want {
			t.Errorf("%s: %v, want %v", name, d, c.want)
		}
	}
}

// TestRestAsRatesOpen: what the rates held up when the lane looked goes as soon
// as they have room, also where that was before it reckoned how long to rest.
func TestRestAsRatesOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate, err := config.ParseRate("1/1m")
		if err != nil {
			t.Fatal(err)
		}
		s := laneFor(1)
		s.work.hot = true
		s.rates.budget.SetRates([]config.Rate{rate})
		if err := s.rates.budget.Reserve(1, 1); err != nil || !s.rates.budget.Take(1, 1) {
			t.Fatal(err)
		}
		s.rates.budget.Spend(1, 1)
		time.Sleep(time.Minute - time.Millisecond)
		s.looked = time.Now()
		if free, _ := s.rates.budget.Free(); free != 0 {
			t.Fatalf("%d free", free)
		}
		if d := s.rest(time.Now()); d != time.Millisecond {
			t.Errorf("%v before there is room", d)
		}
		time.Sleep(2 * time.Millisecond)
		if d := s.rest(time.Now()); d != time.Millisecond {
			t.Errorf("%v once there is room", d)
		}
		s.looked = time.Now()
		if d := s.rest(time.Now()); d != longNap {
			t.Errorf("%v after it was seen", d)
		}
	})
}

func TestCanGrow(t *testing.T) {
	now := time.Now()
	behind := now.Add(-catchUpTime)
	for name, c := range map[string]struct {
		s    sessions
		want bool
	}{
		"none":                       {sessions{}, true},
		"the first is being opened":  {sessions{all: sessionsOf(1), connecting: 1}, false},
		"they keep up":               {sessions{all: sessionsOf(1), open: 1}, false},
		"they fall behind just now":  {sessions{all: sessionsOf(1), open: 1, behind: now}, false},
		"they fall behind":           {sessions{all: sessionsOf(1), open: 1, behind: behind}, true},
		"each open one brings one":   {sessions{all: sessionsOf(3), open: 2, connecting: 1, behind: behind}, true},
		"and no more":                {sessions{all: sessionsOf(2), open: 1, connecting: 1, behind: behind}, false},
		"the upstream wants no more": {sessions{all: sessionsOf(1), open: 1, behind: behind, growAt: now.Add(1)}, false},
		"one was used up":            {sessions{all: sessionsOf(1), open: 1, renewals: 1}, true},
		"all places are taken":       {sessions{all: sessionsOf(4), open: 4, behind: behind, renewals: 1}, false},
	} {
		if got := c.s.canGrow(now, 4); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestWork(t *testing.T) {
	now := time.Now()
	one, two := &spool.Delivery{ID: 1, Envelope: &spool.Envelope{From: "a"}}, &spool.Delivery{ID: 2, Envelope: &spool.Envelope{From: "b"}}
	for name, c := range map[string]struct {
		act  func(*work)
		hot  bool
		wake time.Duration // from now; 0: none
		left int
	}{
		"due now":                  {func(w *work) { w.wake(now, now) }, true, 0, 0},
		"due later":                {func(w *work) { w.wake(now.Add(2), now); w.wake(now.Add(1), now); w.wake(now.Add(3), now) }, false, 1, 0},
		"due meanwhile":            {func(w *work) { w.wake(now.Add(1), now); w.ripen(now.Add(1)) }, true, 0, 0},
		"all that was asked for":   {func(w *work) { w.asks(); w.told([]*spool.Delivery{one}, true, time.Time{}, false, now) }, true, 0, 1},
		"less":                     {func(w *work) { w.asks(); w.told([]*spool.Delivery{one}, false, now.Add(time.Hour), true, now) }, false, time.Hour, 1},
		"due, and not handed out":  {func(w *work) { w.asks(); w.told(nil, false, now, true, now) }, false, claimPause, 0},
		"due while it was asked":   {func(w *work) { w.asks(); w.wake(now, now); w.told(nil, false, time.Time{}, false, now) }, true, 0, 0},
		"given back":               {func(w *work) { w.putBack(one); w.fresh = []*spool.Delivery{two}; w.drain() }, true, 0, 0},
		"nothing to give back":     {func(w *work) { w.drain() }, false, 0, 0},
		"taken by an operator":     {func(w *work) { w.putBack(one); w.fresh = []*spool.Delivery{two}; w.takeShare(2, 0) }, false, 0, 1},
		"a sender that is refused": {func(w *work) { w.putBack(one); w.putBack(two); w.putBack(one); w.takeSender("a") }, false, 0, 1},
		"another share of it":      {func(w *work) { w.putBack(one); w.takeShare(1, 1) }, false, 0, 1},
	} {
		var w work
		c.act(&w)
		wake := time.Duration(0)
		if !w.nextWake.IsZero() {
			wake = w.nextWake.Sub(now)
		}
		if left := len(w.ready) + len(w.fresh); w.hot != c.hot || wake != c.wake || left != c.left || w.claiming {
			t.Errorf("%s: hot %v, wake %v, left %d, claiming %v", name, w.hot, wake, left, w.claiming)
		}
	}
}

func TestShown(t *testing.T) {
	now := time.Now()
	s := laneFor(0)
	s.health.since = now
	if v := s.shown(); v != (shown{Up, now}) {
		t.Errorf("up: %v", v)
	}
	s.pace.Refused(now.Add(1), now.Add(1), 2, spool.Outcome{Code: 451})
	if v := s.shown(); v != (shown{Slowed, now.Add(1)}) || s.cause().Code != 451 {
		t.Errorf("slowed: %v, %v", v, s.cause())
	}
	s.pause = pause{Paused: true, At: now.Add(2)}
	if v := s.shown(); v != (shown{Paused, now.Add(2)}) || s.flows() || s.isDown() {
		t.Errorf("paused: %v", v)
	}
	s.pause.Paused = false
	if v := s.shown(); v != (shown{Slowed, now.Add(2)}) {
		t.Errorf("resumed: %v", v)
	}
	s.up = nil
	if s.visible() != Missing || !s.isDown() || s.flows() {
		t.Errorf("missing: %v", s.shown())
	}
}

// TestEarly: an upstream that refuses a connection because it still counts one
// that was closed just before is asked again, once.
func TestEarly(t *testing.T) {
	now := time.Now()
	busy := spool.Outcome{Stage: spool.StageGreet, Code: 421}
	for name, c := range map[string]struct {
		left time.Time
		o    spool.Outcome
		want bool
	}{
		"one left just before":         {now.Add(-time.Millisecond), busy, true},
		"one left meanwhile":           {now.Add(time.Millisecond), busy, true},
		"one left a second ago":        {now.Add(-handover), busy, false},
		"none left":                    {time.Time{}, busy, false},
		"it is refused for good":       {now, spool.Outcome{Stage: spool.StageGreet, Code: 554}, false},
		"it cannot be reached":         {now, spool.Outcome{Stage: spool.StageConnect}, false},
		"it is refused at the sign-in": {now, spool.Outcome{Stage: spool.StageSignIn, Code: 454}, false},
	} {
		ss := &sessions{left: c.left}
		if got := ss.early(now, &c.o); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if ss.early(now, &c.o) {
			t.Errorf("%s: twice", name)
		}
	}
}
