package journal

import (
	"slices"
	"testing"

	"postern/spool"
)

// TestPagesInterleave puts and ends messages between the pages of a walk,
// which would wait for ever if the walk kept Store.mu. What is there all the
// time is met once, in places that others have left and taken meanwhile too.
func TestPagesInterleave(t *testing.T) {
	s := newStore(Options{Dir: t.TempDir()})
	last := spool.ID(0)
	add := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		last++
		s.ix.add(last, &brief{deadline: noTime, shares: []share{{[]string{"a"}, 1}, {[]string{"b"}, 1}}}, place{}, 0, false)
	}
	drop := func(id spool.ID) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ix.drop(id)
	}
	const before = 3 * slabSize / 2 // of two shares each: three slabs and one entry
	for range before {
		add()
	}
	met := map[spool.ID]int{}
	pages, gone := 0, spool.ID(0)
	for page := range s.pages() {
		pages++
		if len(page) > slabSize {
			t.Fatalf("a page of %d", len(page))
		}
		for _, id := range page {
			met[id]++
		}
		if pages > 4 {
			continue // what comes could go on for ever
		}
		for range 500 {
			gone += 2 // every other one
			drop(gone)
			add()
			add()
		}
	}
	if pages < 4 {
		t.Errorf("%d pages", pages)
	}
	for id := spool.ID(1); id <= last; id++ {
		stayed := id <= before && (id > gone || id%2 == 1)
		if n := met[id]; n > 1 || stayed && n == 0 {
			t.Errorf("message %d of %d was met %d times", id, last, n)
		}
	}
	s.mu.Lock()
	want := len(s.ix.byID)
	s.mu.Unlock()
	var ids []spool.ID
	s.Walk(t.Context(), func(sum spool.Summary) bool { ids = append(ids, sum.ID); return true })
	if len(ids) != 2*want || !slices.IsSorted(ids) {
		t.Errorf("%d shares of %d messages, in order: %v", len(ids), want, slices.IsSorted(ids))
	}
}
