//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every thread of the relay has the slack, the runtime's monitor included; a
// relay with one processor keeps what it was started with.
func TestTimerSlack(t *testing.T) {
	inherited, err := os.ReadFile("/proc/self/timerslack_ns")
	if err != nil {
		t.Skipf("the kernel doesn't tell: %v", err)
	}
	for _, c := range []struct {
		processors int
		want       string
	}{
		{2, strconv.Itoa(int(timerSlack / time.Nanosecond))},
		{1, strings.TrimSpace(string(inherited))},
	} {
		t.Run(fmt.Sprint(c.processors), func(t *testing.T) {
			t.Setenv("GOMAXPROCS", strconv.Itoa(c.processors))
			h := newHouse(t, ordinary(freeAddr(t), freeAddr(t)))
			h.start()
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", h.cmd.Process.Pid))
			if err != nil || len(threads) == 0 {
				t.Fatal(threads, err)
			}
			for _, path := range threads {
				got, err := os.ReadFile(filepath.Join("/proc", filepath.Base(path), "timerslack_ns"))
				switch {
				case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
					continue // it has ended
				case errors.Is(err, fs.ErrPermission):
					t.Skip("looking at another process's needs CAP_SYS_NICE")
				}
				if s := strings.TrimSpace(string(got)); err != nil || s != c.want {
					t.Errorf("thread %s: %q ns, %v; want %s", filepath.Base(path), s, err, c.want)
				}
			}
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.cmd.Process.Pid))
			if err != nil || c.processors > 1 != strings.Contains(string(environ), slackened) {
				t.Errorf("started over: %v, %v", !(c.processors > 1), err)
			}
		})
	}
}
