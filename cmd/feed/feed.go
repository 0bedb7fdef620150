// Package feed keeps the last lines of the log in memory, for whoever looks on.
//
// Nobody waits for a viewer: each reads at its own pace from a ring, and learns
// how many lines were written over before it came to them. What viewers cost
// does not depend on how many lines there are.
package feed

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Kept is how many lines there are at most.
	Kept = 512
	// maxLine is how much of a line is kept, in bytes: with Kept, a megabyte. The
	// fields that would stand behind it are left out.
	maxLine = 2048
)

// Feed is the ring. Make one by New. Its methods may be called concurrently.
type Feed struct {
	mu    sync.Mutex // guards what follows
	lines [Kept][]byte
	next  uint64 // how many there have been
}

// New makes an empty one.
func New() *Feed { return &Feed{} }

// Add takes a line in JSON. It is not kept, but copied; nothing is waited for.
func (f *Feed) Add(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := &f.lines[f.next%Kept]
	*at = append((*at)[:0], line[:min(len(line), maxLine)]...)
	f.next++
}

// Next is the number of the line that comes next. The first one has 0.
func (f *Feed) Next() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// Since are the lines from number from on, the oldest first, most at most, and
// the number to go on from. lost is how many of them are not there any more. A
// from that is yet to come, as one of another process can be, is Next.
func (f *Feed) Since(from uint64, most int) (list []Line, next uint64, lost uint64) {
	raw, next, lost := f.copied(from, most)
	for _, line := range raw {
		list = append(list, parse(line))
	}
	return list, next, lost
}

// copied takes lines out without holding anybody up for their reading.
func (f *Feed) copied(from uint64, most int) (raw [][]byte, next, lost uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from = min(from, f.next)
	if f.next > Kept && from < f.next-Kept {
		lost = f.next - Kept - from
		from += lost
	}
	for ; from < f.next && len(raw) < most; from++ {
		raw = append(raw, bytes.Clone(f.lines[from%Kept]))
	}
	return raw, from, lost
}

// Line is one line of the log. Its text is hostile.
type Line struct {
	Time   time.Time
	Level  string
	Event  string
	Fields []Field
	Cut    bool // there were more fields
}

// Field is one of its fields, as text; of a list, with spaces between.
type Field struct{ Key, Value string }

// Of is the value of a field; empty: there is none.
func (l *Line) Of(key string) string {
	for i := range l.Fields {
		if l.Fields[i].Key == key {
			return l.Fields[i].Value
		}
	}
	return ""
}

// parse reads as much of a line as is there.
func parse(raw []byte) (l Line) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return Line{Cut: true}
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			break
		}
		var value any
		if err := d.Decode(&value); err != nil {
			break
		}
		l.set(key.(string), text(value))
	}
	end, err := d.Token()
	l.Cut = err != nil || end != json.Delim('}')
	return l
}

func (l *Line) set(key, value string) {
	switch key {
	case "time":
		l.Time, _ = time.Parse(time.RFC3339Nano, value)
	case "level":
		l.Level = value
	case "event":
		l.Event = value
	default:
		l.Fields = append(l.Fields, Field{key, value})
	}
}

// text is a value as people read it.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return strconv.FormatFloat(f, 'g', 4, 64)
		}
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, text(one))
		}
		return strings.Join(parts, " ")
	}
	return ""
}
