package queue

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/storetest"
)

// onDisk runs the tests on the real spool.
var onDisk = flag.Bool("disk", false, "run the tests of the queue on a spool on disk")

// witness stands before a store, keeps the books, and fails on command.
type witness struct {
	t   *testing.T
	dir string

	mu      sync.Mutex
	store   spool.Store
	gen     *generation
	fail    func(op string) error
	settles int
	asks    int // of what is due, and for claims
	// final holds the ends of each recipient, by message and address.
	final   map[spool.ID]map[string][]spool.Status
	claimed map[*spool.Delivery]bool
}

func newWitness(t *testing.T) *witness {
	w := newWitnessOf(t, nil)
	if *onDisk {
		w.dir = filepath.Join(t.TempDir(), "spool")
		w.reopen()
	} else {
		w.store = storetest.NewMemory()
	}
	return w
}

func newWitnessOf(t *testing.T, s spool.Store) *witness {
	return &witness{t: t, store: s, final: map[spool.ID]map[string][]spool.Status{}, claimed: map[*spool.Delivery]bool{}}
}

// generation is what one process sees of the store.
type generation struct {
	w *witness
	*storetest.Faulty
	mu   sync.Mutex
	dead bool
}

func (w *witness) generation() spool.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := &generation{w: w}
	g.Faulty = &storetest.Faulty{Store: w.store, Before: g.before, After: g.after}
	w.gen = g
	return g
}

var errGone = errors.New("the process is gone")

// before fails what the test lets fail, and everything once the process is gone.
func (g *generation) before(op string) error {
	g.mu.Lock()
	dead := g.dead
	g.mu.Unlock()
	if dead {
		return errGone
	}
	return g.fails(op)
}

// after loses answers.
func (g *generation) after(op string) error { return g.fails("answer of " + op) }

func (g *generation) fails(op string) error {
	g.w.mu.Lock()
	f := g.w.fail
	g.w.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(op)
}

func (w *witness) failWith(f func(op string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = f
}

func (g *generation) Claim(ctx context.Context, lease spool.Lease, now time.Time, most int, retry spool.Schedule) ([]*spool.Delivery, error) {
	g.w.ask()
	ds, err := g.Faulty.Claim(ctx, lease, now, most, retry)
	for _, d := range ds {
		g.w.enter(d)
	}
	return ds, err
}

func (g *generation) NextDue(ctx context.Context, upstream string) (time.Time, bool, error) {
	g.w.ask()
	return g.Faulty.NextDue(ctx, upstream)
}

func (w *witness) ask() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks++
}

func (w *witness) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asks
}

func (g *generation) Take(ctx context.Context, id spool.ID, share int) (*spool.Delivery, error) {
	d, err := g.Faulty.Take(ctx, id, share)
	if err == nil {
		g.w.enter(d)
	}
	return d, err
}

func (w *witness) enter(d *spool.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claimed[d] = true
}

// Settle keeps the books, and fails as the contract says: the claim has ended
// all the same.
func (g *generation) Settle(ctx context.Context, d *spool.Delivery, s spool.Settlement) (spool.Settled, error) {
	failed := g.before("settle")
	if errors.Is(failed, errGone) {
		return spool.Settled{}, failed
	}
	settled, err := g.Store.Settle(ctx, d, s)
	if err != nil {
		g.w.book(d, &s)
		return settled, err
	}
	if !settled.Before {
		g.w.book(d, &s)
	}
	return settled, failed
}

// Notify keeps the books of what it settles, also where its answer is lost.
func (g *generation) Notify(ctx context.Context, notices []spool.Notice, ends ...spool.Ending) (spool.Settled, error) {
	took := func(op string) error {
		if op == "notify" {
			for i := range ends {
				g.w.book(ends[i].Delivery, &ends[i].Settlement)
			}
		}
		return g.after(op)
	}
	f := &storetest.Faulty{Store: g.Store, Before: g.before, After: took}
	return f.Notify(ctx, notices, ends...)
}

func (w *witness) book(d *spool.Delivery, s *spool.Settlement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.claimed[d] {
		panic("settled without a claim")
	}
	delete(w.claimed, d)
	w.settles++
	for i, o := range s.Outcomes {
		if o.Verdict != spool.Pending {
			ends := w.final[d.ID]
			if ends == nil {
				ends = map[string][]spool.Status{}
				w.final[d.ID] = ends
			}
			to := d.Envelope.Recipients[d.Pending[i]].Address
			ends[to] = append(ends[to], o.Verdict)
		}
	}
}

// crash makes the store refuse the process that it has.
func (w *witness) crash() {
	w.mu.Lock()
	g := w.gen
	w.claimed = map[*spool.Delivery]bool{}
	w.mu.Unlock()
	g.mu.Lock()
	g.dead = true
	g.mu.Unlock()
}

// reopen is the start of another process.
func (w *witness) reopen() {
	if !*onDisk {
		w.store.(*storetest.Memory).Crash()
		return
	}
	w.close()
	s, err := openSpool(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.store = s
	w.mu.Unlock()
}

func (w *witness) close() {
	if c, ok := w.store.(interface{ Close() error }); ok && c != nil {
		if err := c.Close(); err != nil {
			w.t.Errorf("close the spool: %v", err)
		}
	}
}

func (w *witness) walk(visit func(spool.Summary) bool) { w.store.Find(bg, spool.Query{}, visit) }

// count is the number of messages in the store.
func (w *witness) count() int {
	ids := map[spool.ID]bool{}
	w.walk(func(s spool.Summary) bool {
		ids[s.ID] = true
		return true
	})
	return len(ids)
}

func (w *witness) settled() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settles
}

// ends returns the ends of one recipient.
func (w *witness) ends(id spool.ID, to string) []spool.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.final[id][to])
}

// openSpool opens a spool with small segments.
func openSpool(dir string) (*journal.Store, error) {
	return journal.Open(journal.Options{Dir: dir, Create: true, SegmentSize: 1 << 20})
}
