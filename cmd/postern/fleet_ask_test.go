//go:build unix

package main

import (
	"fmt"
	"net/smtp"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/spool/postgres/postgrestest"
)

// inCharge starts two relays that share a queue, and tells which of them is in charge
// of the upstream, at which nobody answers, and which is not.
func inCharge(t *testing.T) (in, out *harness, outAddr, to string) {
	t.Helper()
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	to = freeAddr(t)
	addrs := []string{freeAddr(t), freeAddr(t)}
	both := []*harness{newHarness(t, shared(addrs[0], to, url, "one")), newHarness(t, shared(addrs[1], to, url, "two"))}
	both[0].must("database", "migrate")
	both[0].start()
	both[1].start()
	var holder []string
	eventually(t, "somebody is in charge", func() bool {
		holder = regexp.MustCompile(`(?m)^relay +(one|two).*in charge of office`).FindStringSubmatch(both[0].must("status"))
		return holder != nil
	})
	if holder[1] == "two" {
		return both[1], both[0], addrs[0], to
	}
	return both[0], both[1], addrs[1], to
}

// TestFleetAsks: what an operator tells the relay that is not in charge, the other one
// does, and a life is told by both.
func TestFleetAsks(t *testing.T) {
	in, out, addr, to := inCharge(t)
	for i := range 3 {
		if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message(fmt.Sprintf("%04d", i))); err != nil {
			t.Fatal(err)
		}
	}
	list := out.queued()
	if len(list) != 3 {
		t.Fatalf("queued are %+v", list)
	}
	// One that is being tried is busy at that moment.
	does := func(want string, args ...string) {
		t.Helper()
		eventually(t, strings.Join(args, " "), func() bool {
			r := out.do(args...)
			if r.code != 0 && !strings.Contains(r.stderr+r.stdout, "attempt") {
				t.Fatalf("%v: %+v", args, r)
			}
			return r.code == 0 && strings.Contains(r.stdout, want)
		})
	}
	does("1 message", "queue", "hold", list[0].ID)
	for _, h := range []*harness{in, out} { // at once
		if life := h.must("trace", list[0].ID); !strings.Contains(life, "accepted from") || !strings.Contains(life, "hold") {
			t.Errorf("right after a hold, a relay tells only\n%s", life)
		}
	}
	if held := in.queued("--held"); len(held) != 1 || held[0].ID != list[0].ID {
		t.Errorf("on hold are %+v", held)
	}
	does("1 message", "queue", "bounce", list[1].ID, "--reason", "wrong list")
	if !strings.Contains(in.log.String(), " at "+map[bool]string{true: "one", false: "two"}[strings.Contains(out.must("status"), "one (this one)")]) {
		t.Error("the log does not say who asked")
	}
	does("1 message", "queue", "remove", list[2].ID)
	does("1 message", "queue", "release", "--held")

	s := startSink(t, to)
	eventually(t, "what was released arrives", func() bool {
		out.must("queue", "retry", "--all")
		return strings.Contains(strings.Join(s.subjects(), " "), "0000")
	})
	for _, h := range []*harness{in, out} { // one has accepted it, the other one delivered
		eventually(t, "both tell all of it", func() bool {
			life := h.do("trace", list[0].ID).stdout
			return strings.Contains(life, "accepted from") && strings.Contains(life, "delivered")
		})
	}

	out.must("upstream", "pause", "office")
	if got := in.must("upstream", "list"); !strings.Contains(got, "paused") { // at once
		t.Errorf("the relay in charge says\n%s", got)
	}
	out.must("upstream", "resume", "office")
}

// TestFleetAsksInVain: a relay in charge that does not answer is said to be so, within
// seconds, and nothing was done.
func TestFleetAsksInVain(t *testing.T) {
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("waits for a relay that does not answer: POSTERN_LONG=1")
	}
	in, out, addr, _ := inCharge(t)
	if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.org"}, message("0000")); err != nil {
		t.Fatal(err)
	}
	in.signal(syscall.SIGSTOP)
	defer in.signal(syscall.SIGCONT)
	begun := time.Now()
	r := out.do("queue", "hold", out.queued()[0].ID)
	if r.code != exitTempFail || !strings.Contains(r.stderr, "does not answer, and nothing was done there") {
		t.Errorf("%v: %+v", time.Since(begun), r)
	}
	if r := out.do("upstream", "pause", "office"); r.code != 0 || !strings.Contains(r.stderr, "holds before anything more is sent") {
		t.Errorf("%+v", r)
	}
}
