//go:build unix

package config

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
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
