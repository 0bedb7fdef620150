package main

import (
	"fmt"
	"io"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system in memory at the spool of a harness.
func (h *harness) smallDisk(options string) (spool string) {
	t := h.t
	t.Helper()
	spool = filepath.Join(h.dir, "spool")
	if err := syscall.Mount("tmpfs", spool, "tmpfs", 0, "mode=0700,"+options); err != nil {
		if os.Getuid() == 0 && os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatalf("root can mount no tmpfs: %v", err)
		}
		t.Skipf("no tmpfs can be mounted (needs root): %v", err)
	}
	t.Cleanup(func() { h.kill(); syscall.Unmount(spool, syscall.MNT_DETACH) })
	return spool
}

// leaveInodes makes empty files in dir until so many more can be made.
func leaveInodes(t *testing.T, dir string, free uint64) {
	t.Helper()
	var st syscall.Statfs_t
	for i := 0; ; i++ {
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if st.Ffree <= free {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%d", free, i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTroublesOfASmallDisk: a disk that loses its inodes, then its space, is told as
// what it is, each once in each degree; and when it is over, after somebody has made
// room. Mail is taken again by then.
func TestTroublesOfASmallDisk(t *testing.T) {
	t.Parallel() // it waits, most of the time
	listen, upstream := freeAddr(t), freeAddr(t)
	s, e, alerts := watched(t)
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), `min_free = "1MiB"`, `min_free = "20MiB"`, 1)+alerts)
	spool := h.smallDisk("size=96m,nr_inodes=1300")
	office := startSink(t, upstream)
	h.start()
	send(t, listen, "a@example.com", "before")
	eventually(t, "it is delivered", func() bool { return len(office.received()) == 1 })

	filler := filepath.Join(spool, "filler")
	if err := os.Mkdir(filler, 0o700); err != nil {
		t.Fatal(err)
	}
	told := func(text string) {
		t.Helper()
		eventually(t, "it is told: "+text, func() bool { return strings.Contains(h.must("alert", "list"), text) })
	}
	s.make("disk-inodes", "a file system with few inodes")
	leaveInodes(t, filler, 500)
	eventually(t, "few inodes are told", func() bool { return len(s.untold()) == 0 })
	told("WARNING: the disk of the spool: 500 of ")
	leaveInodes(t, filler, 5)
	told("CRITICAL: the disk of the spool: 5 of ")

	s.make("disk-space", "a file system that is filled up")
	fill, err := os.Create(filepath.Join(filler, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(fill, zeros{}, 200<<20)
	fill.Close()
	if err == nil {
		t.Error("the disk takes everything")
	}
	s.make("spool-full", "a message for a full disk")
	n := 0
	taken := func() error { // each to somebody else
		n++
		return smtp.SendMail(listen, nil, "a@example.com", []string{fmt.Sprintf("b%d@example.net", n)}, message("more"))
	}
	eventually(t, "mail is refused", func() bool { // the disk is asked each second
		err := taken()
		return err != nil && strings.HasPrefix(err.Error(), "452 ")
	})
	eventually(t, "all are told", func() bool { return len(s.untold()) == 0 })
	h.judge(s)

	if err := os.RemoveAll(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "mail is taken", func() bool { return taken() == nil })
	if os.Getenv("POSTERN_LONG") != "" {
		e.ended(h, "disk-inodes", "disk-space", "spool-full")
	}
}

// TestTroublesEndWithARestart: a storm is over once somebody has decided on its
// messages. That a message went in a circle is told for an hour, and that lines of
// the log were dropped for ten minutes: a restart begins anew, and both are over.
func TestTroublesEndWithARestart(t *testing.T) {
	t.Parallel() // it waits, most of the time
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("it takes twice the half minute after which a trouble counts as over (POSTERN_LONG)")
	}
	listen, upstream := freeAddr(t), freeAddr(t)
	s, e, alerts := watched(t)
	h := newHarness(t, ordinary(listen, upstream)+"[log]\nlevel = \"debug\"\n[storm]\nmessages = 3\nper = \"20s\"\n"+alerts)
	office := startSink(t, upstream)
	h.start()
	s.make("mail-loop", "a message with 51 Received fields")
	round := strings.Repeat("Received: from a by b; Mon, 01 Jan 2001 07:40:00 +0000\r\n", 51) + string(message("round"))
	if err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.net"}, []byte(round)); err == nil {
		t.Error("a message that goes in a circle is taken")
	}
	s.make("storm", "messages that are alike")
	i := 0
	eventually(t, "some are on hold", func() bool {
		i++
		sendJob(t, listen, i)
		return len(h.queued("--held")) > 0
	})
	s.make("log-dropped", "nobody reads standard error")
	h.log.mu.Lock()
	n := 0
	for end := time.Now().Add(waitLimit); len(s.untold()) > 0 && time.Now().Before(end); n++ {
		if err := smtp.SendMail(listen, nil, "a@example.com", []string{fmt.Sprintf("b%d@example.net", n)}, message(strings.Repeat("abcdefghij", 1+n%60))); err != nil {
			t.Error(err)
			break
		}
	}
	h.log.mu.Unlock()
	if left := s.untold(); len(left) > 0 {
		t.Fatalf("nobody was told: %q", left)
	}
	s.mu.Lock()
	id := s.all[1].labels["subject"]
	s.mu.Unlock()
	h.must("queue", "release", "--storm", id)
	e.ended(h, "storm")
	if out := h.must("alert", "list"); !strings.Contains(out, "goes in a circle") || !strings.Contains(out, "lines of the log were dropped") {
		t.Errorf("before a restart: %s", out)
	}
	eventually(t, "nothing waits", func() bool { return len(h.queued()) == 0 })
	h.stop()
	h.start()
	e.ended(h, "mail-loop", "log-dropped")
	h.judge(s)
	if len(office.received()) < n {
		t.Errorf("%d of %d were delivered", len(office.received()), n)
	}
}
