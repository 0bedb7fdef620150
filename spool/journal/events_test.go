package journal_test

import (
	"fmt"
	"sync"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// recorder is Events that remembers what it was told.
type recorder struct {
	mu       sync.Mutex
	aside    []string
	failures []string
	counts   map[string]int
}

func (r *recorder) note(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	r.counts[name]++
}

func (r *recorder) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[name]
}

func (r *recorder) SpoolRecovered(journal.Recovery)          { r.note("recovered") }
func (r *recorder) SpoolCommitted(int, int64, time.Duration) { r.note("committed") }
func (r *recorder) SegmentBegun(uint32)                      { r.note("begun") }
func (r *recorder) SegmentReclaimed(_ uint32, copied int, _ int64) {
	r.note("reclaimed")
	if copied > 0 {
		r.note("moved")
	}
}

func (r *recorder) TornTailCut(uint32, int64, int64) { r.note("torn") }
func (r *recorder) SpoolFull(spool.Usage)            { r.note("full") }
func (r *recorder) SpoolHasRoom(spool.Usage)         { r.note("room") }
func (r *recorder) BodiesSwept(int, int64)           { r.note("swept") }

func (r *recorder) RecordSetAside(name string, id spool.ID, reason string) {
	r.note("aside")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aside = append(r.aside, fmt.Sprintf("%s (%s): %s", name, id, reason))
}

func (r *recorder) SpoolReadFailed(spool.ID, error) { r.note("unread") }

func (r *recorder) SpoolWriteFailed(segment uint32, operation string, err error) {
	r.note("failed")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf("%d %s: %v", segment, operation, err))
}
