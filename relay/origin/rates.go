package origin

import (
	"sync"
	"time"
)

// Rates bounds how much each origin may send. What it may send in a period it
// may send at once; after that as much comes back evenly over the period.
type Rates struct {
	mu   sync.Mutex // guards full
	full recent[rateKey, time.Time]
}

// rateKey is one origin's account with one rate.
type rateKey struct {
	origin Key
	name   string
}

// NewRates remembers up to size accounts.
func NewRates(size int) *Rates { return &Rates{full: newRecent[rateKey, time.Time](size)} }

// Take takes n of the count that k may have in each period of the rate with
// this name, or nothing; then it tells how long it takes until there is enough.
func (r *Rates) Take(k Key, name string, n, count int, period time.Duration, now time.Time) (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := rateKey{k, name}
	full, _ := r.full.get(key) // when everything will have come back
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Duration(float64(period) / float64(count) * float64(n)))
	if wait = full.Sub(now) - period; wait > 0 {
		return wait, false
	}
	r.full.put(key, full)
	return 0, true
}

// recent is a bounded table that forgets what was not asked for lately. Its
// owner guards it.
type recent[K comparable, V any] struct {
	size     int
	new, old map[K]V // when new is full it becomes old, and what was old is forgotten
}

func newRecent[K comparable, V any](size int) recent[K, V] {
	return recent[K, V]{size: max(2, size), new: map[K]V{}}
}

// get returns what is known about k, and keeps it for longer.
func (r *recent[K, V]) get(k K) (V, bool) {
	if v, ok := r.new[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	if ok {
		r.put(k, v)
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if _, known := r.new[k]; !known && len(r.new) >= r.size/2 {
		r.old, r.new = r.new, make(map[K]V)
	}
	r.new[k] = v
}
