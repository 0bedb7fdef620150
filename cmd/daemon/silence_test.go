package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/cmd/alert"
	"postern/config"
	"postern/relay/submission"
)

// TestSilence: a route is silent after its expect of running time and no sooner,
// until a message comes; a restart goes on where it was, and a stop doesn't count.
func TestSilence(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fresh := func() *silence {
			s := &silence{}
			s.open(dir, func(e alert.Event) { t.Errorf("%+v", e) })
			return s
		}
		routes := []config.Route{{Name: "backups", Expect: 24 * time.Hour}, {Name: "rest"}}
		s := fresh()
		begun := time.Now()
		run := func(d time.Duration) []alert.Trouble {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(10*time.Minute, time.Until(end))) {
				s.judge(routes, time.Now())
			}
			return s.judge(routes, time.Now())
		}
		heard := func(from string, by ...string) {
			s.observe(func(submission.Event) {})(&submission.Accepted{From: from, Watched: by})
		}
		if found := run(23 * time.Hour); found != nil {
			t.Fatalf("too early: %+v", found)
		}
		s.close()
		time.Sleep(100 * time.Hour)
		s = fresh()
		if found := run(30 * time.Minute); found != nil {
			t.Fatalf("a stop counts: %+v", found)
		}
		found := run(31 * time.Minute)
		if len(found) != 1 || found[0].Kind != routeSilent || found[0].Subject != "backups" || !found[0].Since.Equal(begun) || !strings.Contains(found[0].Text, "none was seen") {
			t.Fatalf("%+v", found)
		}
		s = fresh() // a crash
		if found := s.judge(routes, time.Now()); len(found) != 1 || !found[0].Since.Equal(begun) {
			t.Errorf("after a crash: %+v", found)
		}
		heard("x@example.com")
		if found := run(0); len(found) != 1 {
			t.Errorf("another route ends it: %+v", found)
		}
		heard("a b@example.com", "backups")
		last := time.Now()
		if found := run(24*time.Hour - time.Minute); found != nil {
			t.Errorf("after a message: %+v", found)
		}
		found = run(2 * time.Minute)
		if len(found) != 1 || !found[0].Since.Equal(last) || found[0].Command != "postern trace 'a b@example.com'" {
			t.Errorf("again: %+v", found)
		}
		if st := s.status(routes); len(st) != 1 || !st[0].Silent || !st[0].Last.Equal(last) || st[0].Within != 86400 {
			t.Errorf("%+v", st)
		}
		routes[0].Expect = 0
		if found := run(0); found != nil || s.status(routes) != nil {
			t.Errorf("not watched any more: %+v", found)
		}
	})
}
