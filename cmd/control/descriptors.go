package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Descriptors are the files and connections that a daemon may have open.
type Descriptors struct {
	Limit  int `json:"limit"`  // RLIMIT_NOFILE; 0: there is none
	Needed int `json:"needed"` // at most, by the configuration
	// Least are needed for one connection at a time at each listener and
	// upstream, and for what there is beside; 0: there are enough for all.
	Least int `json:"least,omitempty"`
	// Lowered has the listeners that take fewer connections than
	// max_connections says, and how many.
	Lowered map[string]int `json:"lowered,omitempty"`
}

// Scarce tells whether the configuration can need more than there are.
func (d *Descriptors) Scarce() bool { return d.Limit > 0 && d.Needed > d.Limit }

// Text says how many there are, and who has to do with less, in a sentence
// without a full stop.
func (d *Descriptors) Text() string {
	if !d.Scarce() {
		return fmt.Sprintf("%d open files can be needed, and %s are allowed", d.Needed, orAny(d.Limit))
	}
	if d.Least > d.Limit {
		return fmt.Sprintf("of %d open files that the process may have, this configuration needs %d at least, for one connection at a time at each listener and upstream, and can need %d", d.Limit, d.Least, d.Needed)
	}
	text := fmt.Sprintf("of %d open files that the process may have, this configuration can need %d", d.Limit, d.Needed)
	var less []string
	for _, name := range slices.Sorted(maps.Keys(d.Lowered)) {
		less = append(less, fmt.Sprintf("%d at a time at %s", d.Lowered[name], name))
	}
	if len(less) > 0 {
		text += "; fewer connections are taken: " + strings.Join(less, ", ")
	}
	return text
}

// Remedy says what to write where.
func (d *Descriptors) Remedy() string {
	enough := 1024
	for enough < d.Needed {
		enough *= 2
	}
	return fmt.Sprintf("write LimitNOFILE=%d under [Service] of the unit (`systemctl edit postern`), or `ulimit -n %d` before `postern serve`; or lower max_connections", enough, enough)
}

func orAny(n int) string {
	if n == 0 {
		return "any number of them"
	}
	return fmt.Sprint(n)
}
