//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSendStops: a signal ends a command that waits for what nobody writes, or that
// reads what has no end.
func TestSendStops(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1))
	h.start()
	send := func(args ...string) []string {
		return append([]string{"send", "--from", "a@example.com", "--subject", "s"}, args...)
	}
	silent, endless := false, true
	for name, c := range map[string]struct {
		args    []string
		endless bool
	}{
		"text":         {send("--to", "b@example.org", "--text", "-"), silent},
		"rows":         {send("--to", "{{.email}}", "--body", "x", "--rows", "-"), silent},
		"endless rows": {send("--to", "{{.email}}", "--body", "x", "--rows", "-"), endless},
		"rows of JSON": {send("--to", "{{.email}}", "--body", "x", "--rows", "-", "--rows-format", "ndjson"), silent},
		"a pipe":       {send("--to", "{{.email}}", "--body", "x", "--rows", "FIFO"), silent},
		"endless pipe": {send("--to", "{{.email}}", "--body", "x", "--rows", "FIFO"), endless},
		"raw":          {[]string{"send", "--raw", "--from", "a@example.com", "b@example.org"}, silent},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := h.command(t.Context(), c.args...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			to := begin(t, cmd)
			defer to.Close()
			// More than a pipe holds: the command is reading when it is written.
			line := "email\n" + strings.Repeat("b@example.org\n", 20_000)
			switch name {
			case "rows of JSON":
				line = strings.Repeat("{\"email\": \"b@example.org\"}\n", 20_000)
			case "raw":
				line = "Subject: s\n\n" + line
			}
			if _, err := to.WriteString(line); err != nil {
				t.Fatal(err, said.String())
			}
			written := make(chan struct{})
			go func() {
				defer close(written)
				for c.endless {
					if _, err := to.WriteString("b@example.org\n"); err != nil {
						return
					}
				}
			}()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(waitLimit, func() { _ = cmd.Process.Kill() })
			defer kill.Stop()
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitTempFail || !strings.Contains(said.String(), "stopped") {
				t.Errorf("%v: %s", err, said.String())
			}
			<-written
		})
	}
	if n := len(h.queued()); n > 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// begin starts a command with something to read: its standard input, or the pipe
// FIFO that its arguments name.
func begin(t *testing.T, cmd *exec.Cmd) (to *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.csv")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := false
	for i, arg := range cmd.Args {
		if arg == "FIFO" {
			cmd.Args[i], pipe = path, true
		}
	}
	if !pipe {
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		cmd.Stdin = from
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return to
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the command
	if err != nil {
		t.Fatal(err)
	}
	return to
}
