package origin

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
