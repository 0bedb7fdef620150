package journal_test

import (
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// smallSpool is a disk with a spool of a few messages in different states,
// left by a killed process, or by one that closed it.
func smallSpool(t *testing.T, closed bool) (*simdisk.Disk, ledger) {
	t.Helper()
	sim := simdisk.New()
	sim.Trace()
	w := &workload{disk: sim, rng: rand.New(rand.NewPCG(1, 1)), now: time.Now(), tune: tiny}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{90, 40, 130, 0} {
		env := simple("a")
		env.Accepted = w.now
		if n == 40 {
			env.Prefix = []byte("Signature: x\r\n")
		}
		w.put(handedIn{env: env, body: []byte(strings.Repeat("x", n))})
	}
	for _, d := range claim(t, w.s, "a", 1) {
		if err := w.s.DotSent(bg, d); err != nil {
			t.Fatal(err)
		}
		o := []spool.Outcome{{Stage: spool.StageDot, Code: 451, Text: "not now"}}
		if _, err := w.s.Settle(bg, d, spool.Settlement{Due: w.now.Add(time.Hour), Outcomes: o}); err != nil {
			t.Fatal(err)
		}
	}
	w.put(handedIn{env: simple("b"), body: []byte("y")})
	for _, d := range claim(t, w.s, "b", 1) {
		o := []spool.Outcome{{Stage: spool.StageRcpt, Code: 550, Text: "unknown", Verdict: spool.Bounced}}
		if !w.putSettling([]handedIn{{env: simple("a"), body: []byte("z")}, {env: simple("b"), body: []byte("y")}}, d, spool.Settlement{Outcomes: o}) {
			t.Fatal("the notice was refused")
		}
	}
	if !closed {
		w.view.Kill()
	}
	w.s.Close()
	l := ledger{}
	for _, s := range sim.Steps() {
		if s.Op == simdisk.OpMark {
			l.apply(s.Mark)
		}
	}
	return sim.Copy(), l
}

// tiny makes a spool of few bytes, as each of them costs a start.
func tiny(o *journal.Options) { o.BigBody, o.ZeroAhead = 128, 256 }

// TestEveryFlippedBitIsFound flips a bit of each byte of a small spool, and
// wants it noticed, and all messages but at most the one it hit delivered.
func TestEveryFlippedBitIsFound(t *testing.T) {
	for name, closed := range map[string]bool{"killed": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			sim, l := smallSpool(t, closed)
			tried, silent := 0, 0
			apart := 1
			if !long() {
				apart = 3 // still every field, and every place of a bit within a byte
			}
			for _, file := range sim.Files() {
				b := sim.Read(file)
				for i := 0; i < len(b); i += apart {
					copied := sim.Copy()
					b[i] ^= 1 << (i % 8)
					copied.Write(file, b)
					b[i] ^= 1 << (i % 8)
					tried++
					if !flipped(t, copied, l, file, i) {
						silent++
						// With an index at hand, what it knows isn't read again.
						if !closed && file != "lock" {
							t.Errorf("%s byte %d: not noticed", file, i)
						}
					}
				}
			}
			t.Logf("%d bits flipped, %d without consequence", tried, silent)
		})
	}
}

// flipped opens a spool with one flipped bit; found: it was noticed.
func flipped(t *testing.T, sim *simdisk.Disk, l ledger, file string, at int) (found bool) {
	t.Helper()
	opts := crashOptions(sim.FS())
	tiny(&opts)
	s, err := journal.Open(opts)
	if err != nil {
		t.Errorf("%s byte %d: %v", file, at, err)
		return true
	}
	defer s.Close()
	r := s.Recovery()
	found = r.SetAside > 0 || r.TornBytes > 0 || r.Repaired > 0
	whole := 0
	var ids []spool.ID
	s.Find(bg, spool.Query{}, func(sum spool.Summary) bool { ids = append(ids, sum.ID); return true })
	for _, id := range ids {
		c, err := s.Content(bg, id)
		if err == nil {
			b := make([]byte, c.Size())
			c.ReadAt(b, 0)
			c.Close()
			if p := l[id]; p == nil || len(b) != p.size || crc32.ChecksumIEEE(b) != p.sum {
				t.Errorf("%s byte %d: %s is not what was accepted", file, at, id)
			}
			_, err = s.Detail(bg, id)
		}
		switch {
		case err == nil:
			whole++
		case errors.Is(err, spool.ErrDamaged):
			found = true
		default:
			t.Errorf("%s byte %d: %v", file, at, err)
		}
	}
	acked := l.alive()
	if whole < acked-1 || !found && whole < acked {
		t.Errorf("%s byte %d: %d of %d messages are left", file, at, whole, acked)
	}
	return found
}
