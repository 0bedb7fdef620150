//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fill sends until the daemon refuses, and returns how it did.
func fill(t *testing.T, k *client, size, most int) string {
	t.Helper()
	for range most {
		if text := k.send(size); text != "" {
			return text
		}
	}
	t.Fatalf("%d messages of %d bytes, and no refusal", most, size)
	return ""
}

// temporary fails the test unless the answer is one that lets a client try
// again and shows no path.
func temporary(t *testing.T, answer string) {
	t.Helper()
	if !strings.HasPrefix(answer, "452 4.3.1 ") && !strings.HasPrefix(answer, "451 4.3.0 ") || strings.Contains(answer, "/") {
		t.Errorf("a client was told %q", answer)
	}
}

// recovers waits until mail is taken again. Each try is a connection of its
// own, as a client that was told to come later would open it.
func recovers(t *testing.T, h *harness, size int) {
	t.Helper()
	tries := 0
	eventually(t, "mail is taken again", func() bool {
		tries++
		k := h.dial(fmt.Sprintf("again%d", tries))
		defer k.Close()
		return k.send(size) == ""
	})
}

// TestFullDisk fills a small file system down to the reserve: the client is
// told to come again, what was promised is delivered from the full disk, and
// then there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	h := newHarness(t, mounted(t, "tmpfs", "tmpfs", "size=24m"))
	h.edit(`min_free = "16MiB"`, "min_free = \"4MiB\"\nmax_size = \"100MiB\"")
	h.sink.fail(1)
	h.up()
	k := h.dial("c")
	answer := fill(t, k, 100_000, 400)
	temporary(t, answer)
	temporary(t, fill(t, k, 1000, 4000)) // the disk is asked for its room now and then
	t.Logf("%d promised, then %q", len(h.books.acked), answer)
	h.sink.fail(0)
	recovers(t, h, 100_000)
	h.settled()
}

// TestFullToTheLastByte has no reserve, and another program that fills the
// same file system: nothing can be written at all, until it makes room.
func TestFullToTheLastByte(t *testing.T) {
	t.Parallel()
	at := mounted(t, "tmpfs", "tmpfs", "size=24m")
	ballast := filepath.Join(at, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, at)
	h.edit(`min_free = "16MiB"`, "min_free = \"0\"\nmax_size = \"100MiB\"")
	h.sink.fail(1)
	h.up()
	k := h.dial("c")
	answer := fill(t, k, 100_000, 400)
	temporary(t, answer)
	temporary(t, fill(t, k, 1000, 4000))
	t.Logf("%d promised, then %q", len(h.books.acked), answer)
	if !strings.Contains(h.logged(), "no space left on device") {
		t.Error("the disk never was full")
	}
	h.sink.fail(0)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	recovers(t, h, 100_000)
	h.settled()
}

// TestNoInodes leaves no room for another large body, but for small mail.
func TestNoInodes(t *testing.T) {
	t.Parallel()
	h := newHarness(t, mounted(t, "tmpfs", "tmpfs", "size=200m,nr_inodes=24"))
	h.sink.fail(1)
	h.up()
	k := h.dial("c")
	answer := fill(t, k, 300_000, 40)
	temporary(t, answer)
	if small := k.send(1000); small != "" {
		t.Errorf("a small message is refused too: %s", small)
	}
	t.Logf("%d promised, then %q", len(h.books.acked), answer)
	h.sink.fail(0)
	recovers(t, h, 300_000)
	h.settled()
}

// TestReadOnly lets the file system fail under a running daemon, as a failing
// disk would: ext4 makes it read-only. Nothing can be taken then; once the
// disk is repaired and the daemon started again, everything promised arrives.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	need(t, "mkfs.ext4", "e2fsck")
	needRoot(t)
	image := filepath.Join(t.TempDir(), "image")
	if err := sparse(image, 128<<20); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), "mkfs.ext4", "-q", image); err != nil {
		t.Fatal(err)
	}
	at := mounted(t, "ext4", image, "loop,errors=remount-ro")
	h := newHarness(t, at)
	h.sink.fail(1)
	h.up()
	k := h.dial("c")
	for range 50 {
		if text := k.send(5000); text != "" {
			t.Fatalf("refused: %s", text)
		}
	}
	device := loopOf(t, at)
	if err := os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("1"), 0); err != nil {
		t.Skipf("the error can't be triggered: %v", err)
	}
	temporary(t, fill(t, k, 5000, 50))
	temporary(t, fill(t, k, 300_000, 1))
	if !strings.Contains(h.logged(), `"spool-write-failed"`) {
		t.Error("the log does not tell")
	}
	h.kill()
	for _, step := range [][]string{{"umount", at}, {"e2fsck", "-p", "-f", image}, {"mount", "-t", "ext4", "-o", "loop", image, at}} {
		if err := command(t.Context(), step[0], step[1:]...); err != nil && step[0] != "e2fsck" { // which reports what it repaired
			t.Fatal(err)
		}
	}
	h.sink.fail(0)
	h.up()
	h.settled()
}

// loopOf is the name of the device that is mounted at dir.
func loopOf(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == dir {
			return filepath.Base(f[0])
		}
	}
	t.Fatalf("%s is not mounted", dir)
	return ""
}

// TestInjectedFaults makes one kind of system call of the real binary fail for
// a while, under load from several connections.
func TestInjectedFaults(t *testing.T) {
	need(t, "strace")
	segments := func(dir string) (paths []string) {
		for n := range 6 {
			paths = append(paths, "-P", filepath.Join(dir, "spool", fmt.Sprintf("%010d.seg", n+2)))
		}
		return paths
	}
	for _, c := range []struct {
		name, calls, fault string
		only               func(string) []string
	}{
		{"write EIO", "pwritev,pwritev2,pwrite64", "EIO", nil},
		{"write ENOSPC", "pwritev,pwritev2,pwrite64", "ENOSPC", nil},
		{"fdatasync EIO", "fdatasync", "EIO", nil},
		{"fdatasync ENOSPC", "fdatasync", "ENOSPC", nil},
		{"fsync EIO", "fsync", "EIO", nil},
		{"openat EIO", "openat", "EIO", segments},
		{"openat ENOSPC", "openat", "ENOSPC", segments},
		{"unlink EIO", "unlinkat,unlink", "EIO", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, "")
			h.edit(`min_free = "16MiB"`, "min_free = \"1MiB\"\nmax_size = \"8MiB\"")
			h.edit("[[listener]]", "[[listener]]\nmax_message_size = \"1MiB\"")
			// Of each thread; a busy machine has more of them, and each fault
			// is followed by a second without mail.
			when := fmt.Sprintf("8..%d", lengths(10, 14))
			if c.only != nil || c.calls == "fsync" || c.calls == "unlinkat,unlink" {
				when = "1..3"
			}
			h.under = []string{"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", filepath.Join(h.dir, "trace"),
				"-e", "trace=" + c.calls, "-e", "inject=" + c.calls + ":error=" + c.fault + ":when=" + when}
			if c.calls == "fsync" { // its few come at the start, and with each large body
				h.under = append(h.under, "-P", filepath.Join(h.dir, "spool", "big"))
			}
			if c.only != nil {
				h.under = append(h.under, c.only(h.dir)...)
			}
			h.up()
			refused := load(t, h)
			injected, err := os.ReadFile(filepath.Join(h.dir, "trace"))
			if n := strings.Count(string(injected), "INJECTED"); err != nil || n == 0 {
				t.Errorf("nothing was injected: %v", err)
			} else {
				t.Logf("%d faults, %d refusals, %d promises", n, refused, len(h.books.acked))
			}
			// Once more without faults: what it left has to be whole.
			h.kill()
			h.under = nil
			h.up()
			recovers(t, h, 1000)
			h.settled()
		})
	}
}

// load sends from four connections until each had twenty promises, and
// returns how often mail was refused meanwhile.
func load(t *testing.T, h *harness) (refused int) {
	var mu sync.Mutex
	var clients sync.WaitGroup
	for i := range 4 {
		k := h.dial(fmt.Sprintf("c%d", i))
		clients.Go(func() {
			for n, end := 0, time.Now().Add(2*time.Minute); n < 20; {
				if time.Now().After(end) {
					t.Errorf("%s: after two minutes only %d messages were taken", k.name, n)
					return
				}
				size := 20_000
				if n%5 == 4 {
					size = 300_000
				}
				text := k.send(size)
				if text == "" {
					n++
					continue
				}
				temporary(t, text)
				if k.gone {
					k.Close()
					k = h.dial(k.name + "-")
				}
				mu.Lock()
				refused++
				mu.Unlock()
				time.Sleep(50 * time.Millisecond) // as a client would, only sooner
			}
		})
	}
	clients.Wait()
	return refused
}
