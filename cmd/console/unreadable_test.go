package console

import (
	"context"
	"strings"
	"testing"

	"postern/spool"
)

// unread is a store with a message that cannot be read.
type unread struct {
	spool.Store
	id spool.ID
}

func (s unread) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	if id == s.id {
		return nil, spool.ErrDamaged
	}
	return s.Store.Detail(ctx, id)
}

// TestUnreadable: a message that cannot be read is in the queue, with what is known of
// it, and its page offers to remove it to whoever may.
func TestUnreadable(t *testing.T) {
	f, s := newRelay(t)
	id := f.put(t, envelope("a@example.com", "b@example.org"), "Subject: s\r\n\r\nx\r\n")
	other := f.put(t, envelope("other@example.com", "b@example.org"), "Subject: s\r\n\r\nx\r\n")
	s.Store = unread{f.store, id}
	const button = "Remove for good"
	for user, buttons := range map[string]int{"look": 0, "operate": 1} {
		b := open(t, s, user)
		if code, _, page := b.get("/queue"); code != 200 || strings.Count(page, "not known") != 2 || strings.Count(page, "cannot be read, and goes nowhere") != 1 || !strings.Contains(page, other.String()) {
			t.Errorf("%s: %d\n%s", user, code, page)
		}
		if code, _, page := b.get("/messages/" + id.String()); code != 200 || !strings.Contains(page, "cannot be read") || strings.Count(page, button) != buttons || strings.Contains(page, "Bounce") {
			t.Errorf("%s: %d\n%s", user, code, page)
		}
	}
}
