//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Users of the machine leave messages while the daemon is away, in a folder as
// the package makes it; each is taken as its owner's, and who may not send as
// the sender finds it in bad.
func TestSendmailWhileAwayOfUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("runs programs as other users, which takes root")
	}
	const shop, other = 12345, 12346
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+"[pickup]\ndir = \"DIR/pickup\"\n[submission]\nfrom_of = { 12346 = [\"other@example.com\"] }\n")
	pickup := filepath.Join(h.dir, "pickup")
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{h.dir: 0o755, h.config: 0o644, filepath.Dir(program): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(pickup, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pickup, 0o733|os.ModeSticky|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []uint32{shop, other} {
		cmd := exec.Command(program, "--config", h.config, "sendmail", "-f", "ops@example.com", "ann@example.org")
		cmd.Stdin = strings.NewReader(fmt.Sprintf("Subject: of %d\n\nhi\n", uid))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("user %d: %v: %s", uid, err, out)
		}
	}
	h.start()
	if mail := h.captured(1)[0]; !strings.Contains(mail, "Subject: of 12345") {
		t.Errorf("arrived:\n%s", mail)
	}
	eventually(t, "the log says whose it was", func() bool { return strings.Contains(h.log.String(), `"unix_user":"12345"`) })
	var reasons []string
	eventually(t, "the other one is set aside", func() bool {
		reasons, _ = filepath.Glob(filepath.Join(pickup, "bad", "*.reason"))
		return len(reasons) == 1
	})
	eventually(t, "with its reason", func() bool {
		why, _ := os.ReadFile(reasons[0])
		return strings.Contains(string(why), "may send as") && bytes.HasSuffix(why, []byte(".eml\n"))
	})
}

// The daemon is killed while it takes messages from the folder, again and again:
// each is there once.
func TestPickupSurvivesKills(t *testing.T) {
	n := 200
	if os.Getenv("POSTERN_LONG") != "" {
		n = 1000
	}
	down := freeAddr(t) // nobody listens there, so that all of them wait
	host, port, _ := strings.Cut(down, ":")
	h := newHarness(t, strings.Replace(strings.Replace(capturing, "ADDR", freeAddr(t), 1), `provider = "capture"`, fmt.Sprintf("host = %q\nport = %s\ntls = \"off\"", host, port), 1)+
		"[pickup]\ndir = \"DIR/pickup\"\n")
	pickup := filepath.Join(h.dir, "pickup")
	if err := os.Mkdir(pickup, 0o700); err != nil {
		t.Fatal(err)
	}
	put := 0
	putMore := func() {
		for range n {
			text := fmt.Sprintf("From: ops@example.com\nTo: u%d@example.org\nSubject: s\n\nhi\n", put)
			if err := os.WriteFile(filepath.Join(pickup, fmt.Sprintf("postern-%d.eml", put)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			put++
		}
	}
	left := func() int {
		names, _ := filepath.Glob(filepath.Join(pickup, "*.eml"))
		return len(names)
	}
	kills, within := 0, 0
	for before := 0; (before > 0 || within == 0) && kills < 200; kills++ {
		if before == 0 { // at first, or all were taken before the kill came
			putMore()
			before = n
		}
		h.start()
		// A random number of them is taken, and then it ends in the middle.
		some := before - rand.IntN(1+n/8)
		eventually(t, "messages are taken", func() bool { return left() < before && left() <= max(some, 0) })
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // another process is to be hit anywhere
		h.kill()
		before = left()
		if before > 0 {
			within++
		}
	}
	h.start()
	eventually(t, "all are taken", func() bool { return left() == 0 })
	times := map[string]int{}
	for _, e := range h.queued() {
		for _, to := range e.To {
			times[to]++
		}
	}
	for i := range put {
		if to := fmt.Sprintf("u%d@example.org", i); times[to] != 1 {
			t.Errorf("the message to %s is there %d times", to, times[to])
		}
	}
	if within == 0 {
		t.Error("no kill came while there was something to take")
	}
	t.Logf("%d messages, %d kills, %d of them while some were left", put, kills, within)
}
