package origin

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
