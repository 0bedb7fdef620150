//go:build unix

package merge

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRowsCommandLeavesNobodyBehind: whatever it started ends with a command that
// does not end, or prints what are no rows, or ends before a child that holds its
// output open. One whose child only lives on is no worse than before.
func TestRowsCommandLeavesNobodyBehind(t *testing.T) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0); err == nil {
		tty.Close()
		t.Skip("at a terminal, commands stay in its group of processes")
	}
	stopped := context.Canceled.Error()
	for name, c := range map[string]struct{ line, want string }{
		"endless":         {"echo email; sleep 60 & echo $! >$OUT; wait", stopped},
		"writes no more":  {"sleep 60 & echo $! >$OUT; exec >&-; wait", stopped},
		"prints":          {"sleep 60 & echo $! >$OUT; echo 'email'; echo '\"'; yes", "cannot be read"},
		"child holds":     {"echo email; echo a@example.com; sleep 60 & echo $! >$OUT", errHeld.Error()},
		"more than JSON":  {"echo '[{\"email\":\"a@example.com\"}]'; sleep 60 & echo $! >$OUT; yes", "signal: killed"},
		"wrong, and on":   {"echo '[}'; sleep 60 & echo $! >$OUT; wait", context.DeadlineExceeded.Error()},
		"ignores signals": {"trap '' TERM HUP INT; (trap '' TERM HUP INT; sleep 60) & echo $! >$OUT; wait; wait", stopped},
		"grandchildren":   {"sh -c 'sleep 60 & echo $! >$OUT; wait' & wait", stopped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			out := filepath.Join(dir, "pid")
			step := filepath.Join(dir, "step.toml")
			line := strings.ReplaceAll(c.line, "$OUT", out)
			text := "from = 'a@example.com'\nto = '{{.email}}'\ntext = 't'\n[rows]\ncommand = ['/bin/sh', '-c', '''" + line + "''']\n"
			if err := os.WriteFile(step, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Load(step)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var hanging sync.WaitGroup
			defer hanging.Wait()
			defer cancel()
			if c.want == stopped {
				hanging.Go(func() { hangs(ctx, out, cancel) })
			}
			begin := time.Now()
			_, err = Prepare(ctx, s, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want: %s", err, c.want)
			}
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("after %v", d)
			}
			pid, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
			if err != nil {
				t.Fatal(err)
			}
			for begin := time.Now(); alive(n); time.Sleep(5 * time.Millisecond) {
				if time.Since(begin) > 5*time.Second {
					_ = syscall.Kill(n, syscall.SIGKILL)
					t.Fatalf("process %d lives on", n)
				}
			}
		})
	}
}

// hangs calls then when a command has written its file, and had time to do the
// rest of its line: it is given up as if its time were over.
func hangs(ctx context.Context, file string, then func()) {
	for ctx.Err() == nil {
		if pid, _ := os.ReadFile(file); len(pid) > 0 {
			time.Sleep(200 * time.Millisecond)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	then()
}

// TestRowsOfASlowReader: what a program wrote before its end is read, however late.
func TestRowsOfASlowReader(t *testing.T) {
	c, err := start(t.Context(), []string{"/bin/sh", "-c", "echo email; echo a@example.com"}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	<-c.ended
	_ = c.pipe.SetReadDeadline(time.Now().Add(-time.Second)) // as if nobody had read for long
	p := make([]byte, 100)
	n, err := c.Read(p)
	if string(p[:n]) != "email\na@example.com\n" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
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
