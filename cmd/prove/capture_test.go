//go:build linux

package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCapturedMailHasDurableFolders watches the first start with a capture
// server, which makes its folders: each has been synced into the one above it,
// and the message into the file, before the message gets its name.
func TestCapturedMailHasDurableFolders(t *testing.T) {
	t.Parallel()
	need(t, "strace")
	h := newHarness(t, "")
	state := filepath.Join(h.dir, "made", "state")
	h.edit("state_dir = \""+h.dir, "state_dir = \""+state)
	host, port, err := net.SplitHostPort(h.sink.addr)
	if err != nil {
		t.Fatal(err)
	}
	h.edit(fmt.Sprintf("host = %q\nport = %s\ntls = \"off\"\nauth = \"none\"\n", host, port), "provider = \"capture\"\n")
	trace := filepath.Join(h.dir, "trace")
	h.under = []string{"strace", "-D", "-f", "-y", "-xx", "-s", "600", "-o", trace,
		"-e", "trace=mkdirat,rename,renameat,renameat2,fdatasync,fsync", "--seccomp-bpf"}
	h.up()
	if text := h.dial("c").send(1000); text != "" {
		t.Fatalf("refused: %s", text)
	}
	arrived := func() bool {
		found, _ := filepath.Glob(filepath.Join(state, "capture", "new", "*"))
		return len(found) == 1
	}
	eventually(t, "the message is in the Maildir", arrived)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	calls := readTrace(t, trace, h.cmd.Process.Pid)
	named := slices.IndexFunc(calls, func(c call) bool {
		return strings.HasPrefix(c.name, "rename") && strings.Contains(c.text, "/capture/new>")
	})
	if named < 0 {
		t.Fatal("the message was never given a name")
	}
	for _, folder := range []string{filepath.Dir(state), state, state + "/capture", state + "/capture/tmp", state + "/capture/new"} {
		above, name := filepath.Split(folder)
		made := slices.IndexFunc(calls, func(c call) bool {
			return c.name == "mkdirat" && (strings.Contains(c.text, `"`+folder+`"`) ||
				strings.Contains(c.text, strings.TrimSuffix(above, "/")+`>, "`+name+`"`))
		})
		if made < 0 || !synced(calls, "fsync", filepath.Dir(folder), calls[made].end, calls[named].begin) {
			t.Errorf("%s was made by call %d, and not synced into the folder above it", folder, made)
		}
	}
	if !slices.ContainsFunc(calls[:named], func(c call) bool { return c.name == "fsync" && strings.Contains(c.path, "/capture/tmp/") }) {
		t.Error("the message was not synced before it got its name")
	}
	if !synced(calls, "fsync", state+"/capture/new", calls[named].end, 1<<60) {
		t.Error("its name was not synced")
	}
}
