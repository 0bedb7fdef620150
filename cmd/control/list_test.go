package control

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"postern/spool"
)

// TestListOfUnread: what cannot be read is listed by what is known of it, unless it
// has ended or is asked for by its addresses; a database that is away ends the list.
func TestListOfUnread(t *testing.T) {
	for _, c := range []struct {
		err    error
		filter Filter
		want   string // the IDs, and why the one waits
		ends   error
	}{
		{spool.ErrDamaged, Filter{}, "2 1: what is kept of it cannot be read, and goes nowhere: `postern queue remove` ends it", nil},
		{spool.ErrDamaged, Filter{Upstream: "office"}, "2 1: what is kept of it cannot be read, and goes nowhere: `postern queue remove` ends it", nil},
		{spool.ErrDamaged, Filter{Upstream: "backup"}, "", nil},
		{spool.ErrDamaged, Filter{From: "<>"}, "", nil},
		{&fs.PathError{Op: "read", Path: "x", Err: fs.ErrInvalid}, Filter{}, "2 1: it cannot be read: read x: invalid argument", nil},
		{spool.ErrNotFound, Filter{}, "2", nil},
		{spool.ErrAway, Filter{}, "", spool.ErrAway},
	} {
		f := newFake()
		f.add(1, "a@example.com", "office", spool.RecipientState{}, "x@example.org")
		f.add(2, "b@example.com", "office", spool.RecipientState{}, "x@example.org")
		f.unread = map[spool.ID]error{1: c.err}
		var readable, unread []string
		err := List(t.Context(), f, c.filter, func(e *Entry) error {
			id := strings.TrimLeft(e.ID, "0")
			if !e.Unreadable {
				readable = append(readable, id)
			} else if unread = append(unread, id+": "+e.Waits); e.From != "" || len(e.To) != 0 || e.Upstream != "office" {
				t.Errorf("%+v", e)
			}
			return nil
		})
		if got := strings.Join(append(readable, unread...), " "); got != c.want || !errors.Is(err, c.ends) {
			t.Errorf("%v, %+v: %q, %v", c.err, c.filter, got, err)
		}
	}
}
