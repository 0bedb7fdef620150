package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTopEndsOnTerminals: a signal gives the terminal back as well, and one that takes
// nothing keeps no key from being obeyed.
func TestTopEndsOnTerminals(t *testing.T) {
	h := newHarness(t, ordinary(freeAddr(t), "127.0.0.1:1"))
	h.start()
	for name, end := range map[string]func(*terminal, *os.Process) (release func()){
		"a signal": func(_ *terminal, p *os.Process) func() { _ = p.Signal(syscall.SIGTERM); return func() {} },
		"nothing is taken": func(v *terminal, _ *os.Process) func() {
			v.reading.Lock()
			last, since := 0, time.Now()
			eventually(t, "no more fits into the terminal", func() bool {
				n, err := unix.IoctlGetInt(int(v.master.Fd()), unix.TIOCINQ)
				if err != nil || n != last {
					last, since = n, time.Now()
				}
				return last > 1000 && time.Since(since) > time.Second
			})
			v.typeIn("q")
			return v.reading.Unlock
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newTerminal(t, 200, 60)
			before, err := unix.IoctlGetTermios(int(v.slave.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			cmd := h.command(ctx, "top", "--interval", "200ms")
			cmd.Env = append(cmd.Env, "TERM=xterm")
			wait := v.run(cmd)
			eventually(t, "the screen is drawn", func() bool { return strings.Contains(v.text(), "q end  ") })
			release := end(v, cmd.Process)
			if code := wait(); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			release()
			if after, err := unix.IoctlGetTermios(int(v.slave.Fd()), unix.TCGETS); err != nil || *after != *before {
				t.Errorf("the terminal is another: %v\n%+v\n%+v", err, before, after)
			}
			if name == "a signal" { // the other one does not take that either
				eventually(t, "the screen from before is shown", func() bool {
					v.mu.Lock()
					defer v.mu.Unlock()
					return slices.Equal(v.modes, []string{"[?1049h", "[?25l", "[?7l", "[?7h", "[?25h", "[?1049l"})
				})
			}
		})
	}
}

// TestTopOnTerminals: whatever its size, and while it changes, nothing wraps or
// scrolls, and what to press stands at the end; the terminal is given back.
func TestTopOnTerminals(t *testing.T) {
	listen := freeAddr(t)
	text := ordinary(listen, "127.0.0.1:1")
	for _, more := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"} {
		text += "[upstream." + more + "-with-a-name-that-is-longer-than-its-column]\nhost = \"mail.example\"\nport = 587\n"
	}
	h := newHarness(t, text)
	h.start()
	v := newTerminal(t, 80, 24)
	before, err := unix.IoctlGetTermios(int(v.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.command(t.Context(), "top", "--interval", "200ms")
	cmd.Env = append(cmd.Env, "TERM=xterm")
	wait := v.run(cmd)
	for _, size := range [][2]int{{80, 24}, {40, 12}, {132, 50}, {20, 5}, {80, 24}, {10, 2}, {1, 1}, {60, 10}} {
		v.resize(size[0], size[1])
		whole := func() bool {
			lines, _ := v.look()
			return strings.HasPrefix(lines[0], "postern  "[:min(size[0], 7)]) || size[1] < 4 && lines[0] != ""
		}
		if size[1] >= 10 {
			narrower := whole
			whole = func() bool { return narrower() && strings.Contains(v.text(), "q end  ") }
		}
		eventually(t, "the screen is drawn", whole)
		if size[1] >= 5 {
			eventually(t, "upstreams are shown", func() bool { return strings.Contains(v.text(), "\na-w") })
		}
	}
	// What is chosen is seen, also far down a list that is longer than the screen.
	for range 25 {
		v.typeIn("j")
	}
	eventually(t, "the last upstream is seen", func() bool { return strings.Contains(v.text(), "\nt-with-a-n") })
	v.mu.Lock()
	v.scrolled = 0 // of screens that were drawn while the size changed
	v.mu.Unlock()
	for range 25 {
		v.typeIn("k")
	}
	eventually(t, "the first one is seen again", func() bool {
		return strings.Contains(v.text(), "\na-with-a-n") && !strings.Contains(v.text(), "\nt-with-a-n")
	})
	if _, scrolled := v.look(); scrolled > 0 {
		t.Errorf("%d lines have scrolled away:\n%s", scrolled, v.text())
	}
	v.typeIn("q")
	if code := wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	eventually(t, "the screen from before is shown", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return slices.Equal(v.modes, []string{"[?1049h", "[?25l", "[?7l", "[?7h", "[?25h", "[?1049l"})
	})
	if after, err := unix.IoctlGetTermios(int(v.slave.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal is another: %v\n%+v\n%+v", err, before, after)
	}
	v.resize(120, 50)
	cmd = h.command(t.Context(), "top", "--interval", "200ms")
	cmd.Env = append(cmd.Env, "TERM=dumb")
	if code := v.run(cmd)(); code != exitOK {
		t.Errorf("a dumb terminal: exit code %d", code)
	}
	eventually(t, "a dumb terminal has one table", func() bool { return strings.Contains(v.text(), "UPSTREAM") && strings.Contains(v.text(), "\nt-with") })
	if len(v.modes) != 6 {
		t.Errorf("a dumb terminal gets %q", v.modes)
	}
}
