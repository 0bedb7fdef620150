package origin

import (
	"sync"
)

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

// Counts is how many of something each origin has. Whoever has it guards it.
type Counts struct{ own, wide map[Key]int }

// NewCounts begins with nothing.
func NewCounts() *Counts { return &Counts{own: map[Key]int{}, wide: map[Key]int{}} }

// Add counts n more for k, or fewer where n is negative.
func (c *Counts) Add(k Key, n int) {
	add(c.own, k, n)
	add(c.wide, k.Wide(), n)
}

func add(m map[Key]int, k Key, n int) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}

// Own is how many k has.
func (c *Counts) Own(k Key) int { return c.own[k] }

// Beside is how many k has when it is compared with other: all of its wide
// origin, unless other is of that as well.
func (c *Counts) Beside(k, other Key) int {
	if w := k.Wide(); w != other.Wide() {
		return c.wide[w]
	}
	return c.own[k]
}
