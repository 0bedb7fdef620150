package daemon

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/spool"
	"postern/spool/journal"
)

// Health is about mail: an upstream that is out of reach is unhealthy from
// control.health_max_age on, whatever waits; what another upstream makes up for
// is degraded, and so is a sender that is refused.
func TestJudge(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	why := spool.Outcome{Stage: spool.StageConnect, Text: "connection refused"}
	up := queue.LaneHealth{State: queue.Up}
	out := func(d time.Duration) queue.LaneHealth {
		return queue.LaneHealth{State: queue.Waiting, Down: ago(d), Cause: why}
	}
	refusing := queue.LaneHealth{State: queue.Up, Refused: []queue.RefusedSender{{Sender: "a@app.example", Since: ago(time.Minute), Waiting: 3, Cause: why}}}
	for _, c := range []struct {
		name                      string
		primary, backup           queue.LaneHealth
		wantProblem, wantDegraded string
	}{
		{"both up", up, up, "", ""},
		{"primary just down", out(10 * time.Second), up, "", "its mail goes by backup"},
		{"primary down for long", out(time.Minute), up, "has been down for 1m0s", "its mail goes by backup"},
		{"both just down", out(10 * time.Second), out(10 * time.Second), "", ""},
		{"both down for long", out(2 * time.Minute), out(time.Minute), "has been down for 2m0s", ""},
		{"parked", queue.LaneHealth{State: queue.Parked, Down: ago(time.Second), Cause: why}, up, "is parked", "its mail goes by backup"},
		{"paused while down", queue.LaneHealth{State: queue.Paused}, up, "", ""},
		{"sender refused", refusing, up, "", "has refused the sender <a@app.example> for 1m0s: connection refused; deliveries that wait: 3"},
	} {
		cfg := &config.Config{Routes: []config.Route{{Upstream: []string{"primary", "backup"}}}}
		cfg.Control.HealthMaxAge = time.Minute
		problems, degraded := weigh(judge(cfg, "primary", map[string]queue.LaneHealth{"primary": c.primary, "backup": c.backup}, now))
		for _, part := range []struct {
			got  []string
			want string
		}{{problems, c.wantProblem}, {degraded, c.wantDegraded}} {
			if got := strings.Join(part.got, "|"); (got == "") != (part.want == "") || !strings.Contains(got, part.want) {
				t.Errorf("%s: %q, want %q", c.name, got, part.want)
			}
		}
	}
}

// What has no other upstream is not said to go by one.
func TestHealthCountsTheRoutesWithoutABackup(t *testing.T) {
	now := time.Now()
	lanes := map[string]queue.LaneHealth{
		"primary": {State: queue.Waiting, Down: now.Add(-10 * time.Second)},
		"down":    {State: queue.Parked, Down: now.Add(-10 * time.Second)},
		"backup":  {State: queue.Up},
		"second":  {State: queue.Slowed},
	}
	for _, c := range []struct {
		routes [][]string
		want   string
	}{
		{[][]string{{"primary"}, {"primary", "down"}}, ""},
		{[][]string{{"primary", "backup"}, {"backup"}}, "its mail goes by backup"},
		{[][]string{{"primary", "backup"}, {"primary", "backup"}, {"primary", "down", "second"}}, "its mail goes by backup, second"},
		{[][]string{{"primary", "backup"}, {"primary"}}, "its mail goes by backup, but mail of 1 of its 2 routes has no other way"},
		{[][]string{{"primary"}, {"primary", "backup"}, {"down"}, {"primary", "down"}, {"primary", "second", "backup"}, {"primary", "backup"}}, "its mail goes by backup, second, but mail of 2 of its 5 routes has no other way"},
	} {
		cfg := &config.Config{}
		for _, list := range c.routes {
			cfg.Routes = append(cfg.Routes, config.Route{Upstream: list})
		}
		_, degraded := weigh(judge(cfg, "primary", lanes, now))
		got := strings.Join(degraded, "|")
		if got != "" {
			_, got, _ = strings.Cut(got, "; ")
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.routes, got, c.want)
		}
	}
}

// One message whose upstream is out of reach counts as due from the first
// failure on, however often it was put off since.
func TestOldestDueIsNotTheNextProbe(t *testing.T) {
	_, socket := start(t, fmt.Sprintf("host = \"127.0.0.1\"\nport = %d\ntls = \"off\"", closedPort(t)), func(s *journal.Store) {
		queueOne(t, s, "sink", false)
	})
	client := control.Dial(socket)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		st, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l := st.Lanes[0]
		// In the hands of the attempt that has just failed the message has no
		// due time for a moment: it is given back after the lane has stopped.
		if l.State != queue.Waiting || l.OldestDue == nil {
			continue
		}
		if l.DownSince == nil || !l.OldestDue.Equal(*l.DownSince) || st.Queue.OldestDue == nil {
			t.Errorf("down since %v, oldest due %v and %v", l.DownSince, l.OldestDue, st.Queue.OldestDue)
		}
		return
	}
	t.Fatal("the upstream did not go down, or nothing is due")
}

// A probe that takes its time has the only message in its hands: that one is as
// old as ever. One that is on hold is not due.
func TestOldestDueIsToldWhileAProbeLasts(t *testing.T) {
	s, err := journal.Open(journal.Options{Dir: filepath.Join(t.TempDir(), "spool"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	queueOne(t, s, "office", false)
	queueOne(t, s, "held", true)
	now := time.Now()
	down := now.Add(-time.Hour)
	lease, err := s.Lease(t.Context(), "office")
	if err != nil {
		t.Fatal(err)
	}
	if claimed, err := s.Claim(t.Context(), lease, now, 1, spool.Schedule{}); err != nil || len(claimed) != 1 {
		t.Fatal(claimed, err)
	}
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if due := oldestDue(lanes["office"].Due, time.Time{}, down, 1, now); due == nil || !due.Equal(down) {
		t.Errorf("down since %v, oldest due %v", down, due)
	}
	if due := oldestDue(lanes["held"].Due, time.Time{}, down, 0, now); due != nil {
		t.Errorf("on hold, and due since %v", due)
	}
	for in, want := range map[time.Duration]bool{time.Hour: false, -time.Minute: true} {
		at := now.Add(in)
		if due := oldestDue(time.Time{}, at, down, 0, now); (due != nil) != want || want && !due.Equal(at) {
			t.Errorf("to go out at %v, due since %v", at, due)
		}
		if due := oldestDue(now.Add(time.Minute), at, down, 0, now); due == nil || !due.Equal(down) {
			t.Errorf("beside what failed: due since %v", due)
		}
	}
}
