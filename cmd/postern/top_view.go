package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/cmd/control"
	"postern/config/wire"
)

// topView is what `postern top` shows. Its JSON is for programs.
type topView struct {
	At        time.Time `json:"at"`
	Seconds   float64   `json:"seconds"` // that the rates are of
	Healthy   bool      `json:"healthy"`
	Accepted  float64   `json:"accepted_per_second"`
	Delivered float64   `json:"delivered_per_second"`
	Deferred  float64   `json:"deferred_per_second"`
	Queued    int       `json:"queued"`
	Held      int       `json:"held"`
	Lanes     []topLane `json:"upstreams"`
	// Storms are those that go on, and those of which messages are still on hold.
	Storms []control.Storm `json:"storms,omitempty"`

	problems []string
	sorted   int // by which of topOrders
	chosen   int
	stale    bool // nobody has answered since
}

// topLane is one upstream.
type topLane struct {
	Upstream  string  `json:"upstream"`
	State     string  `json:"state"`
	Queued    int     `json:"queued"`
	Sessions  int     `json:"sessions"`
	Delivered float64 `json:"delivered_per_second"`
	Deferred  float64 `json:"deferred_per_second"`
	Failed    float64 `json:"failed_per_second"`
	Oldest    float64 `json:"oldest_due_seconds"` // 0: nothing is due
	Reason    string  `json:"reason,omitempty"`
}

// What a key asks for.
const (
	topNothing = iota
	topEnd
	topPause
	topResume
)

// topStorms is how many storms have a line.
const topStorms = 3

// topOrders are the columns that it can be sorted by.
var topOrders = []struct {
	name string
	less func(a, b *topLane) int
}{
	{"name", func(a, b *topLane) int { return 0 }},
	{"queued", func(a, b *topLane) int { return cmp.Compare(b.Queued, a.Queued) }},
	{"delivered", func(a, b *topLane) int { return cmp.Compare(b.Delivered, a.Delivered) }},
	{"oldest", func(a, b *topLane) int { return cmp.Compare(b.Oldest, a.Oldest) }},
}

// newTopView compares two samples. A counter that is smaller than before is that
// of another process, and counts from 0.
func newTopView(before, now sample) *topView {
	took := now.at.Sub(before.at).Seconds()
	rate := func(a, b float64) float64 {
		switch {
		case took <= 0:
			return 0
		case b < a:
			return b / took
		}
		return (b - a) / took
	}
	q := &now.status.Queue
	v := &topView{At: now.at.UTC(), Seconds: took, Healthy: now.status.Healthy, Accepted: rate(before.counters.Accepted, now.counters.Accepted),
		Queued: q.Deliveries, Held: q.Held, problems: now.status.Problems}
	for _, s := range now.status.Storms {
		if s.Ended == nil || s.Waiting > 0 {
			v.Storms = append(v.Storms, s)
		}
	}
	none := &control.LaneCount{}
	for i := range now.status.Lanes {
		l := &now.status.Lanes[i]
		old, count := cmp.Or(before.counters.Lanes[l.Upstream], none), cmp.Or(now.counters.Lanes[l.Upstream], none)
		one := topLane{Upstream: l.Upstream, State: string(l.State), Queued: l.Queued, Sessions: l.Sessions,
			Delivered: rate(old.Delivered, count.Delivered), Deferred: rate(old.Deferred, count.Deferred), Failed: rate(old.Failed, count.Failed),
			Reason: laneReason(l, now.at)}
		if l.OldestDue != nil && l.OldestDue.Before(now.at) {
			one.Oldest = now.at.Sub(*l.OldestDue).Seconds()
		}
		v.Delivered += one.Delivered
		v.Deferred += one.Deferred
		v.Lanes = append(v.Lanes, one)
	}
	v.sort()
	return v
}

// sort puts the upstreams in the order that was chosen, by name where it is the
// same.
func (v *topView) sort() {
	slices.SortFunc(v.Lanes, func(a, b topLane) int {
		return cmp.Or(topOrders[v.sorted].less(&a, &b), cmp.Compare(a.Upstream, b.Upstream))
	})
	v.chosen = max(min(v.chosen, len(v.Lanes)-1), 0)
}

// press carries out what a key means for the view, and returns what else it asks
// for.
func (v *topView) press(key string) int {
	switch key {
	case "q", "Q", "\x03", "\x1b":
		return topEnd
	case "\x1b[A", "k":
		v.chosen--
	case "\x1b[B", "j":
		v.chosen++
	case "s":
		v.sorted = (v.sorted + 1) % len(topOrders)
	case "p", "r":
		if len(v.Lanes) == 0 {
			return topNothing
		}
		if key == "p" {
			return topPause
		}
		return topResume
	}
	v.sort()
	return topNothing
}

// text is the view within so many columns and lines; 0: as many as there are. said
// is what came of the last key.
func (v *topView) text(width, height int, said string) string {
	narrow := width > 0 && width < 80
	at := v.At.Local().Format("15:04:05")
	head := at + "  healthy"
	switch {
	case v.stale:
		head = "NO ANSWER SINCE " + at
	case !v.Healthy:
		head = at + "  NOT HEALTHY"
	}
	top := []string{"postern  " + head, fmt.Sprintf("accepted %s/s  delivered %s/s  deferred %s/s  queued %d  held %d", perSecond(v.Accepted), perSecond(v.Delivered), perSecond(v.Deferred), v.Queued, v.Held)}
	if narrow {
		top[1] = fmt.Sprintf("queued %d held %d in %s/s out %s/s", v.Queued, v.Held, perSecond(v.Accepted), perSecond(v.Delivered))
	}
	top = append(top, v.problems...)
	for i := range v.Storms {
		if i == topStorms {
			top = append(top, fmt.Sprintf("and %d more: postern status", len(v.Storms)-i))
			break
		}
		top = append(top, "storm "+stormState(&v.Storms[i], v.At))
	}
	top = append(top, "")
	title := fmt.Sprintf("%-20s %-9s %8s %5s %9s %9s %8s %8s  %s", "UPSTREAM", "STATE", "QUEUED", "SESS", "DELIV/S", "DEFER/S", "FAIL/S", "OLDEST", "REASON")
	if narrow {
		title = fmt.Sprintf("%-*s %-9s %6s %6s", narrowName(width), "UPSTREAM", "STATE", "QUEUED", "OLDEST")
	}
	rows := make([]string, len(v.Lanes))
	for i := range v.Lanes {
		rows[i] = v.Lanes[i].row(width, narrow)
	}
	if width == 0 {
		return fit(slices.Concat(top, []string{title}, rows), 0, -1)
	}
	keys := "q end  arrows choose  p pause  r resume  s sort (by " + topOrders[v.sorted].name + ")"
	if narrow {
		keys = "q end  p pause  r resume  s sort  arrows"
	}
	top, bottom := spare(top, []string{v.whole(), keys, said}, height-min(len(rows), 3)-1)
	lines := append(top, title)
	first, marked := 0, -1
	if room := max(0, height-len(lines)-len(bottom)); len(rows) > room {
		first = max(0, min(v.chosen-room/2, len(rows)-room)) // so that what is chosen is seen
		rows = rows[first : first+room]
	}
	if v.chosen-first < len(rows) {
		marked = len(lines) + v.chosen - first
	}
	lines = slices.Concat(lines, rows, bottom)
	return fit(lines[:min(len(lines), height)], width, marked)
}

// narrowName is how wide the names of upstreams are in a narrow window.
func narrowName(width int) int { return max(6, min(20, width-24)) }

// row is the line of an upstream. In a window a long name is cut, so that columns
// stay where they are.
func (l *topLane) row(width int, narrow bool) string {
	oldest := "-"
	if l.Oldest > 0 {
		oldest = ago(time.Duration(l.Oldest * float64(time.Second)))
	}
	name := safe(l.Upstream)
	room := 20
	if narrow {
		room = narrowName(width)
	}
	if width > 0 && wire.Columns(name) > room {
		name = wire.Within(name, room-1) + "…"
	}
	name += strings.Repeat(" ", max(0, room-wire.Columns(name)))
	if narrow {
		return fmt.Sprintf("%s %-9s %6d %6s", name, l.State, l.Queued, oldest)
	}
	return fmt.Sprintf("%s %-9s %8d %5d %9s %9s %8s %8s  %s", name, l.State, l.Queued, l.Sessions,
		perSecond(l.Delivered), perSecond(l.Deferred), perSecond(l.Failed), oldest, l.Reason)
}

// spare takes lines away above and below the table until they are no more than
// room: the empty ones first, then problems, the reason, the keys. One stays.
func spare(top, bottom []string, room int) (above, below []string) {
	for len(top)+len(bottom) > room && len(top)+len(bottom) > 1 {
		empty := slices.Index(bottom, "")
		switch {
		case top[len(top)-1] == "":
			top = top[:len(top)-1]
		case empty >= 0:
			bottom = slices.Delete(bottom, empty, empty+1)
		case len(top) > 2:
			top = top[:len(top)-1]
		case len(bottom) > 1:
			bottom = bottom[1:]
		case len(top) > 1:
			top = top[:1]
		default:
			bottom = nil
		}
	}
	return top, bottom
}

// whole is the reason of the upstream that is chosen, for which its line is short.
func (v *topView) whole() string {
	if len(v.Lanes) == 0 || v.Lanes[v.chosen].Reason == "" {
		return ""
	}
	return v.Lanes[v.chosen].Upstream + ": " + v.Lanes[v.chosen].Reason
}

// fit cuts lines to a width, makes them harmless, and marks one.
func fit(lines []string, width, marked int) string {
	var b strings.Builder
	for i, l := range lines {
		l = safe(l)
		if width > 0 {
			l = wire.Within(l, width)
		}
		l = strings.TrimRight(l, " ")
		if i == marked {
			l = "\x1b[7m" + l + "\x1b[0m"
		}
		b.WriteString(l)
		if width == 0 || i < len(lines)-1 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// perSecond is short, and tells little from nothing.
func perSecond(r float64) string {
	switch {
	case r == 0:
		return "0"
	case r < 10:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}
