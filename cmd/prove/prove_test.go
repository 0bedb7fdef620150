//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prove runs one mode as the command does, on the tests' binary, and reads its
// report into r.
func prove(t *testing.T, r any, args ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real binary for some seconds")
	}
	var out, errs bytes.Buffer
	args = append(args[:1:1], append([]string{"-binary", postern(t)}, args[1:]...)...)
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.Bytes(), errs.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		t.Fatal(err)
	}
}

// long reports whether the proofs run in their full length, as they do in CI.
// Even that is a short form of the runs that docs/measurements/reliability.md quotes.
func long() bool { return os.Getenv("POSTERN_LONG") != "" }

// lengths is how often something is done: in the short form and in the long.
func lengths(short, full int) int {
	if long() {
		return full
	}
	return short
}

func TestKill(t *testing.T) {
	t.Parallel()
	var r report
	prove(t, &r, "kill", "-cycles", cmp.Or(os.Getenv("POSTERN_KILL_CYCLES"), strconv.Itoa(lengths(6, 20))))
	if r.Promised == 0 || r.Kills == 0 {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d kills, %d promised, %d duplicates (%d of them answered after the kill), %d sent twice by the client",
		r.Kills, r.Promised, r.Duplicates, r.AfterDeath, r.Twice)
}

// TestAgain: whoever sends with keys, and begins again whenever it or the
// daemon was killed, has sent everything once.
func TestAgain(t *testing.T) {
	t.Parallel()
	var r report
	prove(t, &r, "again", "-cycles", strconv.Itoa(lengths(10, 40)))
	if r.Rows == 0 || r.Kills == 0 || r.ClientKills == 0 || r.QueuedBefore == 0 {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d messages, %d kills of the daemon and %d of clients, %d times queued before", r.Rows, r.Kills, r.ClientKills, r.QueuedBefore)
}

// TestAgainProgram: the same with processes of postern send that are killed.
func TestAgainProgram(t *testing.T) {
	t.Parallel()
	var r report
	prove(t, &r, "again", "-program", "-cycles", strconv.Itoa(lengths(6, 40)), "-within", "800ms")
	if r.Rows == 0 || r.Kills+r.ClientKills == 0 {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d messages, %d kills of the daemon and %d of postern send, %d times queued before", r.Rows, r.Kills, r.ClientKills, r.QueuedBefore)
}

// TestAgainNoticesForgottenKeys: the same has to fail where no key is
// remembered.
func TestAgainNoticesForgottenKeys(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the real binary for some seconds")
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"again", "-binary", postern(t), "-dir", t.TempDir(), "-cycles", "4", "-forget"}, &out, &errs)
	if text := errs.String(); code == 0 || !strings.Contains(text, "were queued twice") {
		t.Fatalf("exit code %d\n%s%s", code, out.Bytes(), text)
	}
}

// TestCut is the short form of the power cuts. What was promised has arrived, and
// is in the archive.
func TestCut(t *testing.T) {
	t.Parallel()
	need(t, "mkfs.ext4", "mkfs.xfs")
	needRoot(t)
	var r report
	cuts := lengths(2, 3)
	prove(t, &r, "cut", "-archive", "-cycles", strconv.Itoa(cuts))
	if r.Promised == 0 || r.Kills != cuts {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d cuts, %d promised, %d duplicates", r.Kills, r.Promised, r.Duplicates)
}

// TestArchiveCatchesLies: a copy that is missing, changed, cut off or without a
// name is noticed, and one that nobody was promised is none.
func TestArchiveCatchesLies(t *testing.T) {
	disk := t.TempDir()
	day := filepath.Join(archiveDir(disk), "2026-11-28", "2153")
	tmp := filepath.Join(archiveDir(disk), "tmp")
	for _, dir := range []string{day, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const head = "X-Envelope-From: <a@b>\r\nReceived: x\r\n\r\n"
	b := newBooks()
	for number, at := range map[string]string{"whole": day + "/1.x.eml", "changed": day + "/2.x.eml", "cut": day + "/3.x.eml", "unnamed": tmp + "/4.x.eml", "missing": "", "no promise": ""} {
		body := "body of " + number + "\r\n"
		b.sent(number, digest([]byte(body)))
		id := strings.SplitN(filepath.Base(at), ".", 2)[0]
		if number != "no promise" {
			b.promised(number, id)
		}
		if number == "changed" {
			body = "another\r\n"
		}
		text := head + body
		if number == "cut" {
			text = text[:len(text)-3]
		}
		if at != "" {
			if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var r report
	err := r.checkCopies(b, disk)
	slices.Sort(r.CopiesMissing)
	if got := strings.Join(r.CopiesMissing, ", "); err == nil || got != "changed 2, cut 3, missing , unnamed 4" {
		t.Errorf("%v: %s", err, got)
	}
}

// TestCutNoticesLostSyncs: the same has to fail where a sync does nothing.
func TestCutNoticesLostSyncs(t *testing.T) {
	t.Parallel()
	need(t, "mkfs.ext4", "mkfs.xfs", "strace")
	needRoot(t)
	if testing.Short() {
		t.Skip("runs the real binary for some seconds")
	}
	var out, errs bytes.Buffer
	lose := func() int {
		out.Reset()
		errs.Reset()
		return run(t.Context(), []string{"cut", "-binary", postern(t), "-dir", t.TempDir(), "-cycles", "2", "-lose-syncs"}, &out, &errs)
	}
	// Where little is sent, or another program syncs the disk, all may be there.
	for tries := 1; lose() == 0; tries++ {
		if tries == 5 {
			t.Fatalf("syncs were lost five times, and nobody noticed:\n%s", out.Bytes())
		}
	}
	// Either messages are missing, or the spool can't even be opened.
	if text := errs.String(); !strings.Contains(text, "are lost") && !strings.Contains(text, "at its start") {
		t.Fatalf("it failed for another reason:\n%s", text)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d promised messages are missing, and it is noticed", len(r.Lost), r.Promised)
}

// TestPower cuts the power of a whole machine. Such a machine starts three
// times, which takes as long as all else here: its short form is TestCut.
func TestPower(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Skip("a machine of its own takes a minute: POSTERN_LONG=1")
	}
	need(t, "linux.uml", "mkfs.ext4")
	var r report
	prove(t, &r, "power", "-dir", t.TempDir(), "-cuts", "2")
	if r.Promised == 0 || r.Kills != 2 {
		t.Fatalf("nothing was tried: %+v", r)
	}
	t.Logf("%d cuts, %d promised, %d duplicates", r.Kills, r.Promised, r.Duplicates)
}

// TestGroup is the short form of a message to a group of groups.
func TestGroup(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal(err)
		}
		t.Skip("python3 is not installed here")
	}
	var r groupReport
	prove(t, &r, "group", "-recipients", "250", "-cycles", "1")
	if len(r.Ways) != 6 || r.Groups != 3 || r.Ways["postern send --to"].Transactions != 3 {
		t.Errorf("%+v", r)
	}
}

// TestSlow is the short form of the crowd of slow clients.
func TestSlow(t *testing.T) {
	var r slowReport
	prove(t, &r, "slow", "-connections", "400", "-messages", "40")
	if r.Slow != 400 || r.Messages != 40 {
		t.Fatalf("%+v", r)
	}
	if r.BytesConnection > 64<<10 {
		t.Errorf("a slow connection costs %d bytes", r.BytesConnection)
	}
	t.Logf("%+v", r)
}

// TestFlood is a crowd of three times as many as the daemon takes.
func TestFlood(t *testing.T) {
	var r slowReport
	prove(t, &r, "slow", "-connections", "300", "-limit", "100", "-messages", "20")
	if r.Messages != 20 {
		t.Fatalf("%+v", r)
	}
	t.Logf("%+v", r)
}

// TestBooksCatchLies holds the accountant to account: each kind of damage has
// to turn up in the balance.
func TestBooksCatchLies(t *testing.T) {
	honest := func() *books {
		b := newBooks()
		b.sent("1", "d1")
		b.promised("1", "q1")
		b.received("1", "q1", "d1", time.Time{})
		return b
	}
	if err := honest().close(nil).verdict(); err != nil {
		t.Fatalf("honest books: %v", err)
	}
	for name, damage := range map[string]func(*books){
		"lost":        func(b *books) { b.sent("2", "d2"); b.promised("2", "q2") },
		"changed":     func(b *books) { b.received("1", "q1", "dX", time.Time{}) },
		"unknown":     func(b *books) { b.received("9", "q9", "d9", time.Time{}) },
		"unexplained": func(b *books) { b.received("1", "q1", "d1", time.Time{}) },
	} {
		b := honest()
		damage(b)
		if b.close(nil).verdict() == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
	for doubts, copies := range []int{0: 1, 1: 2, 2: 3} {
		b := honest()
		for range copies - 1 {
			b.received("1", "q1", "d1", time.Time{})
		}
		if err := b.close(map[string]int{"q1": doubts}).verdict(); err != nil {
			t.Errorf("%d copies, %d doubts: %v", copies, doubts, err)
		}
		b.received("1", "q1", "d1", time.Time{})
		if b.close(map[string]int{"q1": doubts}).verdict() == nil {
			t.Errorf("%d copies, %d doubts: not noticed", copies+1, doubts)
		}
	}
}

// TestOneOriginAmongAll: a user who takes all places, in every way and from
// many addresses, does not keep a client of another waiting, nor make the daemon
// large.
func TestOneOriginAmongAll(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("connections of other users need root")
	}
	var r slowReport
	prove(t, &r, "slow", "-connections", "600", "-limit", "500", "-origins", "1", "-messages", "40")
	if r.Messages != 40 || r.TurnedAway != 0 {
		t.Errorf("%d messages got in, %d times one was turned away", r.Messages, r.TurnedAway)
	}
	if r.ResidentDuring > 128<<20 {
		t.Errorf("%d MB resident", r.ResidentDuring>>20)
	}
}
