//go:build unix

package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCommandGetsNoSecretsOfOthers: neither the passwords of other upstreams,
// nor what a service manager hands over, nor its sockets.
func TestCommandGetsNoSecretsOfOthers(t *testing.T) {
	for name, value := range map[string]string{
		"OFFICE_PW": "hunter2", "LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "smtp", "NOTIFY_SOCKET": "/run/n",
		"WATCHDOG_USEC": "1", "CREDENTIALS_DIRECTORY": "/run/c", "MAINPID": "1", "LC_ALL": "C", "TZ": "UTC", "KRB5_CONFIG": "/k", "GNUPGHOME": "/g",
		"PATHS": "x", "LD_PRELOAD": "",
	} {
		t.Setenv(name, value)
	}
	run := func(line string, named ...string) []string {
		t.Helper()
		out, err := runSecretCommand(t.Context(), []string{"/bin/sh", "-c", line}, named)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(out)
	}
	names := func(named ...string) (list []string) {
		for _, entry := range run("env", named...) {
			name, _, _ := strings.Cut(entry, "=")
			if name != "PWD" && name != "_" && name != "SHLVL" && name != "OLDPWD" { // the shell's own
				list = append(list, name)
			}
		}
		return list
	}
	got := names()
	for _, name := range []string{"PATH", "LC_ALL", "TZ", "KRB5_CONFIG"} {
		if !slices.Contains(got, name) {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range got {
		if !slices.ContainsFunc(inherited, func(want string) bool {
			prefix, cut := strings.CutSuffix(want, "*")
			return name == want || cut && strings.HasPrefix(name, prefix)
		}) {
			t.Errorf("%s was passed on", name)
		}
	}
	if got := names("GNUPGHOME"); !slices.Contains(got, "GNUPGHOME") || slices.Contains(got, "OFFICE_PW") {
		t.Errorf("with GNUPGHOME named: %v", got)
	}

	// A socket of systemd is inheritable, as this pipe is.
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(ends[0])
	defer syscall.Close(ends[1])
	for _, fd := range run("ls /dev/fd/") {
		if fd != "0" && fd != "1" && fd != "2" && fd != "3" { // 3: that of ls
			t.Errorf("descriptor %s was passed on", fd)
		}
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil {
		if got := run("ls -l /proc/self/fd | grep -c pipe || true"); len(got) != 1 || got[0] != "1" { // the output of ls
			t.Errorf("%v pipes", got)
		}
	}
}

// TestCommandLeavesNobodyBehind: whatever it started ends with a command that
// does not end, or prints without end, or ends before a child that holds its
// output open. A sign-in that is tried for days would fill the machine otherwise.
func TestCommandLeavesNobodyBehind(t *testing.T) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0); err == nil {
		tty.Close()
		t.Skip("at a terminal, commands stay in its group of processes")
	}
	for name, line := range map[string]string{
		"endless":       "sleep 60 & echo $! >$OUT; wait",
		"prints":        "sleep 60 & echo $! >$OUT; yes",
		"child holds":   "sleep 60 & echo $! >$OUT",
		"ignores TERM":  "trap '' TERM HUP INT; (trap '' TERM HUP INT; sleep 60) & echo $! >$OUT; wait; wait",
		"grandchildren": "sh -c 'sleep 60 & echo $! >$OUT; wait' & wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := runSecretCommand(ctx, []string{"/bin/sh", "-c", strings.ReplaceAll(line, "$OUT", out)}, nil); err == nil {
				t.Error("a secret came of it")
			}
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for begin := time.Now(); alive(pid); time.Sleep(5 * time.Millisecond) {
				if time.Since(begin) > 5*time.Second {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatalf("process %d lives on", pid)
				}
			}
		})
	}
}

// alive is false of a process that waits for its parent to ask how it ended.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || !strings.HasPrefix(state, "Z")
}
