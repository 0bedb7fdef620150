package journal_test

import (
	"fmt"
	"sync"

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

func (r *recorder) tell(e journal.Event) {
	switch e := e.(type) {
	case *journal.Recovery:
		r.note("recovered")
	case *journal.Committed:
		r.note("committed")
	case *journal.SegmentBegun:
		r.note("begun")
	case *journal.SegmentReclaimed:
		r.note("reclaimed")
		if e.Copied > 0 {
			r.note("moved")
		}
		if e.Keys > 0 {
			r.note("carried")
		}
	case *journal.TornTailCut:
		r.note("torn")
	case *journal.Full:
		r.note("full")
	case *journal.HasRoom:
		r.note("room")
	case *journal.BodiesSwept:
		r.note("swept")
	case *journal.ReadFailed:
		r.note("unread")
	case *journal.RecordSetAside:
		r.note("aside")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.aside = append(r.aside, fmt.Sprintf("%s (%s): %s", e.Name, e.ID, e.Reason))
	case *journal.WriteFailed:
		r.note("failed")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failures = append(r.failures, fmt.Sprintf("%d %s: %v", e.Segment, e.Operation, e.Err))
	}
}
