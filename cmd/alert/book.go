package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern/config/wire"
)

const (
	// maxOfAKind is how many troubles of one kind are told apart. More are one.
	maxOfAKind = 10
	// maxOpen bounds what is open, whatever its kind.
	maxOpen = 200
	// settled is for how long a trouble has to be gone before it is over, so
	// that one that comes and goes is not told each time.
	settled = 30 * time.Second
	// maxText bounds each text of a trouble, in bytes.
	maxText = 1000
)

// Others is the subject of the trouble that stands for those of its kind that
// are too many.
const Others = "(others)"

// Open is a trouble that is not over, or of whose end not everybody knows yet.
type Open struct {
	Trouble
	Seen time.Time `json:"seen"`          // last
	Over time.Time `json:"over,omitzero"` // when it ended; zero: it has not
	// Told is when each receiver was told last that it is open.
	Told map[string]time.Time `json:"told,omitempty"`
	// Risen: it became critical, and everybody is told of it once more.
	Risen bool `json:"risen,omitempty"`
}

// Book is what is open. The zero Book is empty. It is a value that one
// goroutine owns.
type Book struct {
	open map[Key]*Open
}

// Observe takes all that is wrong at a moment. What is not among it any more is
// over after a while, unless undecided says that nobody can tell yet, as of an
// upstream that was not tried since the start; nil: everything can be told. It
// reports whether anything has begun or ended.
func (b *Book) Observe(now time.Time, wrong []Trouble, undecided func(Key) bool) (changed bool) {
	if b.open == nil {
		b.open = map[Key]*Open{}
	}
	present := map[Key]bool{}
	for _, t := range collapse(now, wrong) {
		present[t.Key] = true
		o := b.open[t.Key]
		switch {
		case o == nil && len(b.open) >= maxOpen:
			continue
		case o == nil:
			o = &Open{Told: map[string]time.Time{}}
			b.open[t.Key], changed = o, true
		case !o.Over.IsZero(): // it is back before everybody knew that it was over
			o.Over, changed = time.Time{}, true
		case o.Since.Before(t.Since): // also over a restart, which forgets since when
			t.Since = o.Since
		}
		if o.Severity == Warning && t.Severity == Critical && !o.Risen {
			o.Risen, changed = true, true
			clear(o.Told)
		}
		o.Trouble, o.Seen = t, now
	}
	for key, o := range b.open {
		if present[key] || !o.Over.IsZero() {
			continue
		}
		if undecided != nil && undecided(key) {
			o.Seen = now
		} else if now.Sub(o.Seen) >= settled {
			o.Over, changed = now, true
		}
	}
	return changed
}

// resume counts what is open as seen now, after a time in which nobody looked: it is
// over when it has been gone for a while from now on, and not because the first look
// comes before the first attempt of an upstream.
func (b *Book) resume(now time.Time) {
	for _, o := range b.open {
		if o.Over.IsZero() {
			o.Seen = now
		}
	}
}

// collapse is wrong with texts that are harmless, in order, and with one
// trouble in the place of those of a kind that are too many.
func collapse(now time.Time, wrong []Trouble) []Trouble {
	sorted := make([]Trouble, 0, len(wrong))
	for _, t := range wrong {
		if t.Since.IsZero() || t.Since.After(now) {
			t.Since = now
		}
		for _, text := range []*string{&t.Subject, &t.Text, &t.Words, &t.Meaning, &t.Remedy, &t.Command} {
			*text = harmless(*text)
		}
		sorted = append(sorted, t)
	}
	slices.SortStableFunc(sorted, func(x, y Trouble) int { return less(&x, &y) })
	of, seen := map[string]int{}, map[Key]bool{}
	more := map[string]*Trouble{}
	var out []Trouble
	for _, t := range sorted {
		if seen[t.Key] {
			continue
		}
		seen[t.Key] = true
		if of[t.Kind]++; of[t.Kind] <= maxOfAKind {
			out = append(out, t)
			continue
		}
		m := more[t.Kind]
		if m == nil {
			first := t
			first.Subject, first.Words, first.Meaning, first.Waiting = Others, "", "", 0
			m = &first
			more[t.Kind] = m
		}
		m.Waiting += t.Waiting
		m.Text = fmt.Sprintf("%d more of this kind", of[t.Kind]-maxOfAKind)
	}
	for _, kind := range slices.Sorted(maps.Keys(more)) {
		out = append(out, *more[kind])
	}
	return out
}

// harmless is s without what could act on a terminal or forge a line, and short.
func harmless(s string) string { return wire.Text(s, maxText) }

// List is all that is open, the worst first.
func (b *Book) List() []Open {
	var all []Open
	for _, o := range b.open {
		if o.Over.IsZero() {
			c := *o
			c.Told = maps.Clone(o.Told)
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(x, y Open) int { return less(&x.Trouble, &y.Trouble) })
	return all
}

// Due is what a receiver has to be told of now, the worst first: what it does
// not know and has lasted, what is over, and what was told longer ago than the
// receiver wants.
func (b *Book) Due(t *Target, now time.Time) []Open {
	var due []Open
	for _, o := range b.open {
		told, knows := o.Told[t.Name]
		switch {
		case o.Kind == Unreachable && o.Subject == t.Name:
			continue // it knows as soon as it can be told
		case !o.Over.IsZero() && !knows, !knows && (!t.Least.Covers(o.Severity) || now.Sub(o.Since) < t.After):
			continue
		case o.Over.IsZero() && knows && (t.Repeat <= 0 || now.Sub(told) < t.Repeat):
			continue
		}
		c := *o
		c.Told = nil
		due = append(due, c)
	}
	slices.SortFunc(due, func(x, y Open) int { return less(&x.Trouble, &y.Trouble) })
	return due
}

// Tell notes that a receiver was told what Due gave, at now.
func (b *Book) Tell(receiver string, told []Open, now time.Time) {
	for i := range told {
		o := b.open[told[i].Key]
		switch {
		case o == nil:
		case told[i].Over.IsZero():
			o.Told[receiver] = now
		case !o.Over.IsZero():
			delete(o.Told, receiver)
		default: // it came back while its end was being told
			delete(o.Told, receiver)
		}
	}
}

// Forget drops what is over and known to be, and receivers that are no more.
// It reports whether that was anything.
func (b *Book) Forget(receivers []string) (changed bool) {
	for key, o := range b.open {
		for name := range o.Told {
			if !slices.Contains(receivers, name) {
				delete(o.Told, name)
				changed = true
			}
		}
		if !o.Over.IsZero() && len(o.Told) == 0 {
			delete(b.open, key)
			changed = true
		}
	}
	return changed
}

// MarshalJSON writes the whole book.
func (b *Book) MarshalJSON() ([]byte, error) {
	all := make([]*Open, 0, len(b.open))
	for _, o := range b.open {
		all = append(all, o)
	}
	slices.SortFunc(all, func(x, y *Open) int { return less(&x.Trouble, &y.Trouble) })
	return json.Marshal(all)
}

// UnmarshalJSON reads a book. What stands in it is taken under the bounds of
// Observe, and nothing of it is in the future: a clock that was set back would
// keep receivers from being told again.
func (b *Book) UnmarshalJSON(text []byte) error {
	now := time.Now()
	var all []*Open
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	b.open = map[Key]*Open{}
	for _, o := range all {
		if o == nil || len(b.open) >= maxOpen {
			continue
		}
		if o.Told == nil {
			o.Told = map[string]time.Time{}
		}
		for _, at := range []*time.Time{&o.Since, &o.Seen, &o.Over} {
			if at.After(now) {
				*at = now
			}
		}
		for name, at := range o.Told {
			if at.After(now) {
				o.Told[name] = now
			}
		}
		b.open[o.Key] = o
	}
	return nil
}
