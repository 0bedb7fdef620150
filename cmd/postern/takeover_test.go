//go:build unix

package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A daemon takes over no socket at which somebody may answer: not that of a
// listener, of control or of those who may look, even where it may not connect
// to it and so can't ask.
func TestLiveSocketsAreNotTakenOver(t *testing.T) {
	for name, line := range map[string]string{
		"listener": `address = "127.0.0.1:0"`, "control": `socket = "DIR/control.sock"`, "read": "[control]\n",
	} {
		for _, mode := range []os.FileMode{0, 0o666} {
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				path := "DIR/taken.sock"
				put := map[string]string{
					"listener": `address = "unix:` + path + `"`, "control": `socket = "` + path + `"`, "read": "[control]\nread_socket = \"" + path + "\"\n",
				}[name]
				h := newHarness(t, strings.Replace(ordinary("127.0.0.1:0", "127.0.0.1:25"), line, put, 1))
				path = strings.Replace(path, "DIR", h.dir, 1)
				l, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}

				ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
				defer cancel()
				cmd := h.command(ctx, "serve")
				if os.Geteuid() == 0 { // who may connect anywhere
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
					for _, p := range []string{h.dir, h.config, filepath.Join(h.dir, "spool")} {
						if err := os.Chown(p, 65534, 65534); err != nil {
							t.Fatal(err)
						}
					}
					if err := os.Chmod(filepath.Dir(cmd.Path), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				out, err := cmd.CombinedOutput()
				says := "cannot tell whether another process uses " + path
				if mode != 0 {
					says = "answers there"
				}
				if err == nil || !strings.Contains(string(out), says) {
					t.Errorf("%v\n%s", err, out)
				}
				if now, err := os.Lstat(path); err != nil || !os.SameFile(before, now) || now.Mode() != before.Mode() {
					t.Errorf("the socket was replaced: %v %v", now, err)
				}
				if err := os.Chmod(path, 0o600); err != nil {
					t.Fatal(err)
				}
				if c, err := net.Dial("unix", path); err != nil {
					t.Errorf("nobody answers any more: %v", err)
				} else {
					c.Close()
				}
			})
		}
	}
}
