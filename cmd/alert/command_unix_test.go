//go:build unix

package alert

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHostileCommands: what a command does beside its work is no failure, and one that
// does not end is ended with what it has started.
func TestHostileCommands(t *testing.T) {
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		t.Skip("at a terminal what it has started is left running")
	}
	many := make([]Open, 400)
	for i := range many {
		many[i] = example[0]
		many[i].Words = strings.Repeat("x", 1000)
	}
	const long = time.Minute
	for _, c := range []struct {
		name, script string
		limit        time.Duration
		want         string // of the error; empty: it was told
		ends         bool   // what it has started
	}{
		{"it hangs", `sleep 1000 & echo $! >"$1"; wait`, 2 * time.Second, "did not end in time", true},
		{"it hangs and takes no signal", `trap '' TERM INT HUP; sleep 1000 & echo $! >"$1"; cat >/dev/null; while :; do sleep 1000; done`, 2 * time.Second, "did not end in time", true},
		{"it leaves one behind", `cat >/dev/null; sleep 1000 & echo $! >"$1"`, long, "", false},
		{"it prints a gigabyte", `cat >/dev/null; head -c 1073741824 /dev/zero`, long, "", false},
		{"it complains of a gigabyte", `cat >/dev/null; head -c 1073741824 /dev/zero >&2`, long, "", false},
		{"it does not listen", `exit 0`, long, "", false},
		{"it fails", `cat >/dev/null; head -c 1073741824 /dev/zero; exit 3`, long, "failed: exit status 3", false},
		{"it kills itself", `kill -9 $$`, long, "failed: signal: killed", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			err := (Command{"sh", "-c", c.script, "sh", file}).Send(ctx, "relay.example.com", many)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return // it has started nothing
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if !c.ends {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Errorf("what it has left running: %v", err)
				}
				return
			}
			for end := time.Now().Add(time.Minute); running(pid); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("what it has started goes on")
				}
			}
		})
	}
	if err := (Command{"/nowhere/at/all"}).Send(t.Context(), "r", example); err == nil || !strings.Contains(err.Error(), "cannot be run") {
		t.Errorf("%v", err)
	}
}

// running tells whether a process does, and is not only there to be waited for.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || !strings.HasPrefix(state, "Z")
}
