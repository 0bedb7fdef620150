package history

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// Merge makes one answer of those of several relays, which have each told a part
// of the lives. limit is as in Query.
func Merge(limit int, parts ...*Found) *Found {
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	all := &Found{}
	at := map[string]int{}
	for _, part := range parts {
		all.More, all.Damaged = all.More || part.More, all.Damaged+part.Damaged
		all.Missing = append(all.Missing, part.Missing...)
		if all.From.IsZero() || !part.From.IsZero() && part.From.Before(all.From) {
			all.From = part.From
		}
		for _, l := range part.Lives {
			i, known := at[l.ID]
			if !known || l.ID == "" {
				at[l.ID] = len(all.Lives)
				all.Lives = append(all.Lives, l)
				continue
			}
			all.Lives[i].join(&l)
		}
	}
	slices.SortStableFunc(all.Lives, func(a, b Life) int { return a.begun().Compare(b.begun()) })
	if n := len(all.Lives) - limit; n > 0 {
		all.Lives, all.More = all.Lives[n:], true
	}
	return all
}

// join adds the lines that another relay has told.
func (l *Life) join(o *Life) {
	type timed struct {
		at   time.Time
		line json.RawMessage
	}
	var lines []timed
	for _, line := range slices.Concat(l.Lines, o.Lines) {
		if !slices.ContainsFunc(lines, func(t timed) bool { return bytes.Equal(t.line, line) }) {
			lines = append(lines, timed{timeOf(line), line})
		}
	}
	slices.SortStableFunc(lines, func(a, b timed) int { return a.at.Compare(b.at) })
	l.Lines, l.Omitted = nil, l.Omitted+o.Omitted
	if n := len(lines) - maxLines; n > 0 {
		lines = slices.Delete(lines, maxLines/2, maxLines/2+n)
		l.Omitted += n
	}
	for _, t := range lines {
		l.Lines = append(l.Lines, t.line)
	}
}

// begun is the time of the first line.
func (l *Life) begun() time.Time {
	if len(l.Lines) == 0 {
		return time.Time{}
	}
	return timeOf(l.Lines[0])
}

func timeOf(line json.RawMessage) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, string(field(line, timeKey)))
	return at
}
