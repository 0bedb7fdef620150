package journal_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// copyAllForward delivers so much else that all that lives in the first
// segments is copied forward.
func copyAllForward(t *testing.T, s *journal.Store) {
	t.Helper()
	for range 700 {
		put(t, s, simple("else"), make([]byte, 1000))
		for _, d := range claim(t, s, "else", 1) {
			if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	synctest.Wait()
}

// smallSegments are options with which segments go soon.
func smallSegments(ev *recorder) func(*journal.Options) {
	return func(o *journal.Options) {
		o.SegmentSize, o.Slack, o.ZeroAhead, o.BigBody, o.Events = 32<<10, 64<<10, -1, 64<<10, ev.tell
	}
}

func reopen(t *testing.T, s *journal.Store, sim *simdisk.Disk, change func(*journal.Options)) *journal.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opts := journal.Options{Dir: "sim", FS: sim.FS()}
	if change != nil {
		change(&opts)
	}
	s = open(t, opts)
	t.Cleanup(func() { s.Close() })
	return s
}

// TestPrefixIsRead: what stands before the body counts wherever the content
// does: read at any offset, small and large, after a restart, copied forward.
func TestPrefixIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, smallSegments(ev))
		want := map[spool.ID]string{}
		for _, n := range []int{0, 1, 30, 28 << 10, 40 << 10, 70 << 10} {
			env := simple("a")
			env.Prefix = []byte("One: 1\r\nTwo: 2\r\n\tmore\r\n")
			if n == 30 {
				env.Prefix = append(bytes.Repeat([]byte{'x'}, 64<<10-2), "\r\n"...)
			}
			body := strings.Repeat("0123456789", n/10+1)[:n]
			want[put(t, s, env, []byte(body))] = string(env.Prefix) + body
		}
		look := func(when string) {
			t.Helper()
			for id, text := range want {
				d, err := s.Detail(bg, id)
				if err != nil || d.Size != int64(len(text)) || !strings.HasPrefix(text, string(d.Envelope.Prefix)) || len(d.Envelope.Prefix) == 0 {
					t.Fatalf("%s: %+v %v", when, d, err)
				}
				readEverywhere(t, s, id, text)
			}
			s.Find(bg, spool.Query{}, func(sum spool.Summary) bool {
				if sum.Size != int64(len(want[sum.ID])) {
					t.Errorf("%s: %+v", when, sum)
				}
				return true
			})
			for _, d := range claim(t, s, "a", 10) {
				if d.Size != int64(len(want[d.ID])) {
					t.Errorf("%s: %+v", when, d)
				}
				if _, err := s.Settle(bg, d, spool.Settlement{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		look("new")
		s = reopen(t, s, sim, smallSegments(ev))
		look("after a restart")
		copyAllForward(t, s)
		if ev.count("moved") == 0 {
			t.Error("nothing was copied forward")
		}
		look("copied forward")
		s = reopen(t, s, sim, nil)
		look("copied forward, after a restart")
	})
}

// readEverywhere reads a content in pieces around its parts' edges.
func readEverywhere(t *testing.T, s *journal.Store, id spool.ID, want string) {
	t.Helper()
	if got := string(read(t, s, id)); got != want {
		t.Fatalf("%s has %d bytes instead of %d", id, len(got), len(want))
	}
	c, err := s.Content(bg, id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := strings.LastIndex(want, "\r\n") + 2
	for _, at := range [][2]int{{0, before}, {0, before + 1}, {before - 1, before + 1}, {before, before + 1}, {before, before}, {len(want) - 1, len(want)}, {0, len(want)}} {
		if at[0] == len(want) {
			continue
		}
		b := make([]byte, min(at[1], len(want))-at[0])
		if n, err := c.ReadAt(b, int64(at[0])); n != len(b) || err != nil || string(b) != want[at[0]:at[0]+n] {
			t.Errorf("%v: %d %v", at, n, err)
		}
	}
}

// TestSettledWithItsNotice: a notice and what it says about another message
// are one commit, and what it says stays after the notice has gone.
func TestSettledWithItsNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &recorder{}
		s, sim := simulated(t, smallSegments(ev))
		env := full()
		env.Accepted = time.Now()
		id := put(t, s, env, []byte("body\r\n"))
		big := put(t, s, simple("a"), make([]byte, 70<<10))
		due := time.Now().Add(100 * time.Hour).UTC()
		d := claim(t, s, "one", 1)[0]
		notice, err := s.Create(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		err = journal.CommitSettling(notice, simple("notices"), d, spool.Settlement{Due: due, Failover: 1, Warned: true, Outcomes: []spool.Outcome{
			{Stage: spool.StageRcpt, Code: 550, Text: "unknown", Verdict: spool.Bounced}, {Stage: spool.StageRcpt, Code: 450, Text: "busy"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Settle(bg, d, spool.Settlement{}); err != nil { // it was settled, so this changes nothing
			t.Error(err)
		}
		look := func(when string) {
			t.Helper()
			detail, err := s.Detail(bg, id)
			if err != nil {
				t.Fatal(when, err)
			}
			r := detail.Recipients
			if r[0].Status != spool.Bounced || r[0].Last == nil || r[0].Last.Text != "unknown" || r[1].Status != spool.Pending ||
				r[2].Status != spool.Pending || r[2].Last == nil || r[2].Last.Text != "busy" || !r[2].Due.Equal(due) || r[2].Upstream != "two" {
				t.Errorf("%s: %+v", when, r)
			}
		}
		look("new")
		s = reopen(t, s, sim, smallSegments(ev))
		look("after a restart")
		// The notice goes, and its record with it.
		for _, d := range claim(t, s, "notices", 1) {
			if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
				t.Fatal(err)
			}
		}
		s = reopen(t, s, sim, smallSegments(ev))
		look("without the notice")
		copyAllForward(t, s)
		if ev.count("moved") == 0 {
			t.Error("nothing was copied forward")
		}
		look("copied forward")
		// The last share of a large message: its body goes too.
		last := claim(t, s, "a", 1)[0]
		if notice, err = s.Create(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := journal.CommitSettling(notice, simple("notices"), last, spool.Settlement{Outcomes: delivered(1)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.Detail(bg, big); !errors.Is(err, spool.ErrNotFound) || slices.Contains(sim.Files(), "big/"+big.String()+".eml") {
			t.Error(err, sim.Files())
		}
		s = reopen(t, s, sim, nil)
		look("at the end")
		if u := usage(s); u.Messages != 2 {
			t.Errorf("%+v", u)
		}
	})
}

// TestNoticeThatIsRefused leaves the claim as it was.
func TestNoticeThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, nil)
		put(t, s, simple("a"), []byte("body\r\n"))
		d := claim(t, s, "a", 1)[0]
		settle := func() error {
			notice, err := s.Create(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return journal.CommitSettling(notice, simple("a"), d, spool.Settlement{Outcomes: delivered(1)})
		}
		failing(sim, syscall.EIO, "sync .seg")
		if err := settle(); err == nil {
			t.Fatal("accepted")
		}
		if u := usage(s); u.Messages != 1 || u.Shares != 1 {
			t.Errorf("%+v", u)
		}
		time.Sleep(2 * time.Second)
		if err := settle(); err != nil {
			t.Fatal(err)
		}
		if err := settle(); err != nil { // it was settled, so this changes nothing
			t.Error(err)
		}
		if u := usage(s); u.Messages != 1 || u.Shares != 1 { // the notice
			t.Errorf("%+v", u)
		}
	})
}

// TestNoticesThatMayBeFound are refused by a disk that takes no note of the
// refusal either. Until it can, nothing is claimed, so a start that finds them
// finds a message of which nobody else has decided; or it finds none of it.
func TestNoticesThatMayBeFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sim := simulated(t, nil)
		id := put(t, s, simple("a"), []byte("body\r\n"))
		d := claim(t, s, "a", 1)[0]
		if err := s.DotSent(bg, d); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // for what is owed
		var notices []spool.Notice
		for range 3 {
			draft, err := s.Create(bg)
			if err != nil {
				t.Fatal(err)
			}
			draft.Write([]byte("Subject: notice\r\n\r\n"))
			notices = append(notices, spool.Notice{Draft: draft, Envelope: simple("notices")})
		}
		sim.SetFault(func(op simdisk.Op, name string) error {
			if op == simdisk.OpWrite && strings.HasSuffix(name, ".seg") || op == simdisk.OpRead {
				return nil
			}
			return syscall.EIO
		})
		end := spool.Ending{Delivery: d, Settlement: spool.Settlement{Outcomes: []spool.Outcome{{Stage: spool.StageRcpt, Code: 550, Verdict: spool.Bounced}}}}
		if settled, err := s.Notify(bg, notices, end); err == nil || settled != (spool.Settled{}) {
			t.Fatalf("%+v, %v", settled, err)
		}
		if settled, err := s.Settle(bg, d, spool.Settlement{Due: time.Now(), Outcomes: []spool.Outcome{{Stage: spool.StageRcpt, Code: 550}}}); err == nil || settled.Before {
			t.Errorf("%+v, %v", settled, err)
		}
		for range 5 {
			if ds, err := s.Claim(bg, leased(s, "a"), time.Now().Add(time.Hour), 1, later); err == nil || len(ds) > 0 {
				t.Errorf("claimed %v, %v", ds, err)
			}
			time.Sleep(time.Second)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		all, none := 0, 0
		for n := range 60 {
			again := open(t, journal.Options{Dir: "sim", FS: sim.Cut(simdisk.Moods[n%len(simdisk.Moods)], rng).FS()})
			there := 0
			for _, notice := range notices {
				if _, err := again.Detail(bg, notice.Draft.ID()); err == nil {
					there++
				}
			}
			_, err := again.Detail(bg, id)
			switch owed := err == nil; {
			case there == 3 && !owed:
				all++
			case there == 0 && owed:
				none++
			default:
				t.Errorf("cut %d: %d notices, and the message is owed: %t", n, there, owed)
			}
			if r := again.Recovery(); r.SetAside > 0 {
				t.Errorf("cut %d: %+v", n, r)
			}
			again.Close()
		}
		if all == 0 || none == 0 {
			t.Errorf("%d times all, %d times nothing: no cut shows the other", all, none)
		}
	})
}

// TestNotCopiedWhileItIsSettled: a copy behind the notice that doesn't tell what
// the notice says would undo it.
func TestNotCopiedWhileItIsSettled(t *testing.T) {
	s, _ := simulated(t, nil)
	id := put(t, s, simple("a"), []byte("body\r\n"))
	d := claim(t, s, "a", 1)[0]
	before := journal.CanMove(s, id)
	undo, err := journal.BeginSettling(s, d)
	if err != nil {
		t.Fatal(err)
	}
	during := journal.CanMove(s, id)
	undo()
	if after := journal.CanMove(s, id); !before || during || !after {
		t.Errorf("copied before %t, while it is settled %t, after a refusal %t", before, during, after)
	}
}

// rewritten is the first segment of a spool of two messages, rewritten.
func rewritten(t *testing.T, change func(kind byte, meta []byte) []byte) (sim *simdisk.Disk, ids [2]spool.ID) {
	t.Helper()
	s, sim := simulated(t, func(o *journal.Options) { o.ZeroAhead = -1 })
	for i := range ids {
		ids[i] = put(t, s, simple("a"), []byte("body\r\n"))
	}
	for _, d := range claim(t, s, "a", 2) {
		if _, err := s.Settle(bg, d, spool.Settlement{Due: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sim = sim.Copy()
	sim.Write("0000000001.seg", journal.Rewrite(sim.Read("0000000001.seg"), change))
	sim.Write("0000000001.idx", nil)
	return sim, ids
}

// TestUnknownFieldIsCarried: a field that may be ignored is copied forward
// with its message.
func TestUnknownFieldIsCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, ids := rewritten(t, func(kind byte, meta []byte) []byte {
			return journal.WithFields(meta, 6, "carry me along", 1<<40, "and me")
		})
		ev := &recorder{}
		opts := journal.Options{Dir: "sim", FS: sim.FS()}
		smallSegments(ev)(&opts)
		s := open(t, opts)
		defer s.Close()
		if r := s.Recovery(); r.SetAside != 0 || r.Messages != 2 {
			t.Errorf("%+v %q", r, ev.aside)
		}
		copyAllForward(t, s)
		for _, id := range ids {
			if string(read(t, s, id)) != "body\r\n" {
				t.Error("the content differs")
			}
		}
		n, m := 0, 0
		for _, name := range sim.Files() {
			n += bytes.Count(sim.Read(name), []byte("carry me along"))
			m += bytes.Count(sim.Read(name), []byte("and me"))
		}
		if n < 2 || m < 2 || slices.Contains(sim.Files(), "0000000001.seg") {
			t.Errorf("%d and %d fields are left in %q", n, m, sim.Files())
		}
	})
}

// TestUnknownRequiredField: a record with a field that has to be known is set
// aside as it is, and that is told.
func TestUnknownRequiredField(t *testing.T) {
	for kind, alive := range map[byte]int{1: 1, 3: 2, 5: 2} {
		synctest.Test(t, func(t *testing.T) {
			done := false
			sim, ids := rewritten(t, func(k byte, meta []byte) []byte {
				if k != kind || done {
					return meta
				}
				done = true
				return journal.WithFields(meta, 4, "may be ignored", 9, "has to be known")
			})
			ev := &recorder{}
			s := open(t, journal.Options{Dir: "sim", FS: sim.FS(), Events: ev.tell})
			defer s.Close()
			r := s.Recovery()
			if r.SetAside != 1 || r.Messages != alive || len(ev.aside) != 1 ||
				!strings.Contains(ev.aside[0], ids[0].String()) || !strings.Contains(ev.aside[0], "a newer version wrote it: it has a field of type 9") {
				t.Errorf("type %d: %+v %q", kind, r, ev.aside)
			}
			kept := false
			for _, name := range sim.Files() {
				kept = kept || strings.HasSuffix(name, ".rec") && bytes.Contains(sim.Read(name), []byte("has to be known"))
			}
			if !kept {
				t.Errorf("type %d: not in bad/: %q", kind, sim.Files())
			}
		})
	}
}
