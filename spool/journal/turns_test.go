package journal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// Of those with the same priority that have something due, nobody is served
// twice while another waits, and everybody's own goes out in its order.
func TestSendersTakeTurns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sim := simdisk.New()
		opts := journal.Options{Dir: "sim", FS: sim.FS(), ZeroAhead: -1, SegmentSize: 4 << 10}
		s := open(t, opts)
		defer func() { s.Close() }()
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		type waiting struct {
			id       spool.ID
			sender   string
			priority int
			due      time.Time
		}
		model := map[spool.ID]waiting{}
		served := map[string]int{} // by sender and priority: when last
		since := map[string]int{}  // and since when something of it was due, as far as a claim can have seen
		steps := 0
		before := func(a, b waiting) bool { return a.due.Before(b.due) || a.due.Equal(b.due) && a.id < b.id }
		key := func(w waiting) string { return fmt.Sprint(w.sender, w.priority) }
		notice := func() {
			due := map[string]bool{}
			for _, w := range model {
				if !w.due.After(now) {
					due[key(w)] = true
				}
			}
			for k := range due {
				if _, ok := since[k]; !ok {
					since[k] = steps
				}
			}
			for k := range since {
				if !due[k] {
					delete(since, k)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				env := simple("up")
				w := waiting{sender: rapid.SampledFrom([]string{"user ann", "user bob", "unix ann", "a@x", "b@x"}).Draw(rt, "sender"),
					priority: rapid.IntRange(0, 1).Draw(rt, "priority"), due: now}
				if name, ok := strings.CutPrefix(w.sender, "user "); ok {
					env.User = name
				} else if name, ok := strings.CutPrefix(w.sender, "unix "); ok {
					env.UnixUser = name
				} else {
					env.From = w.sender
				}
				env.Accepted, env.Priority = now, w.priority
				for range rapid.IntRange(1, 5).Draw(rt, "of them") {
					w.id = put(t, s, env, make([]byte, 500))
					model[w.id] = w
				}
				notice()
			},
			"time": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(-1, 4).Draw(rt, "minutes")) * time.Minute)
				notice()
			},
			"restart": func(*rapid.T) {
				s.Close()
				s = open(t, opts)
				clear(served) // nobody remembers whose turn it was
				for k := range since {
					since[k] = steps
				}
			},
			"claim": func(rt *rapid.T) {
				ds, err := s.Claim(bg, leased(s, "up"), now, rapid.IntRange(1, 6).Draw(rt, "limit"), later)
				if err != nil {
					rt.Fatal(err)
				}
				for _, d := range ds {
					steps++
					w := model[d.ID]
					for _, o := range model {
						switch {
						case o.due.After(now) || o.priority < w.priority:
						case o.priority > w.priority:
							rt.Fatalf("%v before %v, which is more urgent", w, o)
						case o.sender == w.sender && before(o, w):
							rt.Fatalf("%v before %v of the same sender", w, o)
						case o.sender != w.sender && served[key(w)] > 0 && since[key(o)] < served[key(w)] && served[key(o)] < served[key(w)]:
							rt.Fatalf("%v was served twice, %v waits", w, o)
						}
					}
					delete(model, w.id)
					served[key(w)] = steps
					notice()
					if rapid.Bool().Draw(rt, "deferred") {
						w.due = now.Add(3 * time.Minute)
						outcomes := []spool.Outcome{{Stage: spool.StageRcpt, Code: 450, Verdict: spool.Pending}}
						if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: outcomes, Due: w.due}); err != nil {
							rt.Fatal(err)
						}
						model[w.id] = w
					} else if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: []spool.Outcome{{Stage: spool.StageDot, Code: 250, Verdict: spool.Delivered}}}); err != nil {
						rt.Fatal(err)
					}
				}
				for _, w := range model {
					if len(ds) == 0 && !w.due.After(now) {
						rt.Fatalf("%v is due and was not handed out", w)
					}
				}
			},
		})
	})
}

// A batch that was there first, thousands of which are due again at the same
// moment, costs another sender one share.
func TestOneBatchStarvesNobody(t *testing.T) {
	s, _ := simulated(t, nil)
	now := time.Now()
	batch := simple("up")
	batch.User = "batch"
	for range 1000 {
		put(t, s, batch, nil)
	}
	ds, err := s.Claim(bg, leased(s, "up"), now.Add(time.Second), 1000, later)
	if err != nil || len(ds) != 1000 {
		t.Fatal(len(ds), err)
	}
	now = now.Add(time.Hour)
	for _, d := range ds {
		outcomes := []spool.Outcome{{Stage: spool.StageRcpt, Code: 450, Verdict: spool.Pending}}
		if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: outcomes, Due: now}); err != nil {
			t.Fatal(err)
		}
	}
	alarm := simple("up")
	alarm.From = "alarm@example.com"
	id := put(t, s, alarm, nil)
	ds, err = s.Claim(bg, leased(s, "up"), now, 2, later)
	if err != nil || len(ds) != 2 || ds[0].ID != id && ds[1].ID != id {
		t.Errorf("the alarm is not among the first two: %v", err)
	}
}
