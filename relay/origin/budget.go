package origin

import "sync"

// Budget shares out bytes of memory. An origin may hold as much as is still
// free: one alone gets half of all, the second half of what the first left,
// and something is always left for one that holds nothing yet. Origins are wide
// ones.
type Budget struct {
	limit int64

	mu   sync.Mutex // guards what follows
	used int64
	by   map[Key]int64 // only of those that hold something
}

// NewBudget shares out limit bytes; 0 or less: everybody gets everything.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit, by: map[Key]int64{}} }

// Take takes n more bytes for k, and tells whether it got them.
func (b *Budget) Take(k Key, n int64) bool {
	if b.limit <= 0 || n <= 0 {
		return true
	}
	k = k.Wide()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by[k]+n > b.limit-b.used-n {
		return false
	}
	b.used += n
	b.by[k] += n
	return true
}

// Give gives back n bytes that k took.
func (b *Budget) Give(k Key, n int64) {
	if b.limit <= 0 || n <= 0 {
		return
	}
	k = k.Wide()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.by[k] -= n; b.by[k] <= 0 {
		delete(b.by, k)
	}
}

// Used is how many bytes are taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
