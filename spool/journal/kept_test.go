package journal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// What is kept because it failed is kept with its reason over copying forward
// and restarts, and ends as a hold does.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		opts := func(o *journal.Options) { o.SegmentSize, o.Slack, o.ZeroAhead, o.Events = 16<<10, 32<<10, -1, ev.tell }
		s, sim := simulated(t, opts)
		until := time.Now().Add(100 * time.Hour).UTC()
		id := put(t, s, simple("a", "b"), []byte("keep me"))
		failed := spool.Outcome{Stage: spool.StageRcpt, Code: 550, Enhanced: "5.1.1", Text: "no such user"}
		keep := spool.Settlement{Due: until, Hold: true, Kept: true, Outcomes: []spool.Outcome{failed}}
		if _, err := s.Settle(bg, claim(t, s, "a", 1)[0], keep); err != nil {
			t.Fatal(err)
		}
		look := func(kept bool) {
			t.Helper()
			d, err := s.Detail(bg, id)
			if err != nil {
				t.Fatal(err)
			}
			r := &d.Recipients[0]
			if r.Kept != kept || r.Held != kept || kept && !r.Due.Equal(until) || *r.Last != failed {
				t.Errorf("%+v", r)
			}
			s.Find(bg, spool.Query{}, func(sum spool.Summary) bool {
				if sum.Kept != kept || sum.Held != kept || kept && !sum.Due.Equal(until) {
					t.Errorf("%+v", sum)
				}
				return true
			})
			if err := tallied(s, time.Now()); err != nil {
				t.Error(err)
			}
		}
		look(true)
		for range 300 {
			put(t, s, simple("x"), make([]byte, 1000))
			for _, d := range claim(t, s, "x", 1) {
				s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)})
			}
		}
		synctest.Wait()
		if ev.count("reclaimed") < 5 {
			t.Fatalf("%+v", usage(s))
		}
		for range 2 {
			look(true)
			s.Close()
			o := journal.Options{Dir: "sim", FS: sim.FS()}
			opts(&o)
			s = open(t, o)
		}
		defer func() { s.Close() }()
		d, err := s.Take(bg, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Settle(bg, d, spool.Settlement{Due: time.Now()}); err != nil {
			t.Fatal(err)
		}
		look(false)
		if got := tally(s, time.Now()); got != (spool.Tally{Due: 1}) {
			t.Errorf("%+v", got)
		}
	})
}
