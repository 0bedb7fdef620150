package daemon

import (
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/queue"
)

// TestClock: a jump is told for an hour, whichever way; a machine that slept, or
// a clock that is brought right in small steps, is none.
func TestClock(t *testing.T) {
	var c clock
	wall, up := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), 5*time.Hour
	for i, step := range []struct {
		wall, up time.Duration
		want     string
	}{
		{0, 0, ""},
		{2 * time.Second, 2 * time.Second, ""},
		{8 * time.Hour, 8 * time.Hour, ""}, // asleep
		{50 * time.Second, 2 * time.Second, ""},
		{62 * time.Second, 2 * time.Second, "forward by 1m0s"},
		{59 * time.Minute, 59 * time.Minute, "forward by 1m0s"},
		{time.Minute, time.Minute, ""},
		{-24 * time.Hour, 2 * time.Second, "back by 24h0m2s"},
		{2 * time.Second, 2 * time.Second, "back by 24h0m2s"},
		{48 * time.Hour, 2 * time.Second, "forward by 47h59m58s"},
		{time.Hour, time.Hour, ""},
	} {
		wall, up = wall.Add(step.wall), up+step.up
		got := ""
		for _, tr := range c.look(wall, up) {
			got += tr.Text
			if tr.Since.After(wall) {
				t.Errorf("%d: since %v, which is to come", i, tr.Since)
			}
		}
		if (got == "") != (step.want == "") || !strings.HasSuffix(got, step.want) {
			t.Errorf("%d: %q, want %q", i, got, step.want)
		}
	}
	if a := uptime(); a <= 0 || uptime() < a {
		t.Errorf("the uptime is %v", a)
	}
}

// TestJudgeRates: who waits for a rate for four times health_max_age is told of, and is healthy.
func TestJudgeRates(t *testing.T) {
	now := time.Now()
	for short, want := range map[time.Duration]int{0: 0, 59 * time.Minute: 0, 61 * time.Minute: 1} {
		l := queue.LaneHealth{State: queue.Up}
		if short > 0 {
			l.Short = now.Add(-short)
		}
		found := judge(&config.Config{Control: config.Control{HealthMaxAge: 15 * time.Minute}}, "office", map[string]queue.LaneHealth{"office": l}, now)
		if problems, degraded := weigh(found); len(found) != want || len(problems)+len(degraded) > 0 {
			t.Errorf("%v: %+v", short, found)
		}
	}
}
