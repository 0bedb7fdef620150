package journal

// newSlab makes a slab; the heap is good enough here.
func newSlab(*index) *slab { return new(slab) }
