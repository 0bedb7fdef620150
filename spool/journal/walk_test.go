package journal

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/storetest"
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
		s.ix.add(last, &brief{deadline: noTime, notBefore: noTime, shares: []share{{[]string{"a"}, 1}, {[]string{"b"}, 1}}}, place{}, 0, false)
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
	for page := range s.pages(&spool.Query{}) {
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
	s.Find(t.Context(), spool.Query{}, func(sum spool.Summary) bool { ids = append(ids, sum.ID); return true })
	if len(ids) != 2*want || !slices.IsSorted(ids) {
		t.Errorf("%d shares of %d messages, in order: %v", len(ids), want, slices.IsSorted(ids))
	}
}

// TestFindSelects compares what a query finds with what it means, share by
// share.
func TestFindSelects(t *testing.T) {
	s := newStore(Options{Dir: t.TempDir()})
	at := func(n int64) time.Time { return time.Unix(0, n) }
	for i := range 400 {
		lists := []share{{[]string{"a"}, 1}, {[]string{"b", "a"}, 2}}[i%2:]
		br := &brief{accepted: int64(i), deadline: noTime, notBefore: noTime, hold: i%7 == 0, shares: lists}
		if i%5 == 0 {
			br.deadline = int64(i + 50)
		}
		if i%4 == 1 {
			br.notBefore = int64(i + 300)
		}
		for h := s.ix.add(spool.ID(i+1), br, place{}, 0, false); h != 0; h = s.ix.entry(h).next {
			e := s.ix.entry(h)
			s.ix.setState(e, state{due: max(int64(i*2), br.notBefore), held: br.hold, warned: i%3 == 0, kept: i%11 == 0, failover: uint8(i % 3)})
		}
	}
	var all []spool.Summary
	s.Find(t.Context(), spool.Query{}, func(sum spool.Summary) bool { all = append(all, sum); return true })
	if len(all) != 600 {
		t.Fatalf("%d shares", len(all))
	}
	for n, q := range []spool.Query{{Upstream: "a"}, {Upstream: "b", Held: true}, {Upstream: "c"}, {Choice: true}, {Held: true}, {After: all[200].ID}, {Held: true, After: all[200].ID},
		{Age: &spool.Age{Begun: at(30)}}, {Age: &spool.Age{Unwarned: at(30)}}, {Age: &spool.Age{Deadline: at(200)}},
		{Age: &spool.Age{DueAfter: at(700)}}, {Age: &spool.Age{Kept: true}}, {Age: &spool.Age{}},
		{Upstream: "a", Age: &spool.Age{Begun: at(10), Unwarned: at(60), Deadline: at(90), DueAfter: at(790), Kept: true}}} {
		var got, want []spool.Summary
		s.Find(t.Context(), q, func(sum spool.Summary) bool { got = append(got, sum); return true })
		for i := range all {
			if storetest.Selects(&q, &all[i]) {
				want = append(want, all[i])
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("query %d: found %d, want %d", n, len(got), len(want))
		}
	}
}
