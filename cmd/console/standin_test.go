package console

import (
	"context"
	"html"
	"strings"
	"testing"

	"postern/cmd/control"
	"postern/spool"
)

// TestStandin: a message that waits to come into the database is marked, in the queue
// and on its own page, where it begins a sentence, and no other one is.
func TestStandin(t *testing.T) {
	f, s := newRelay(t)
	waits := f.put(t, envelope("waits@example.com", "b@example.org"), "Subject: s\r\n\r\nx\r\n")
	other := f.put(t, envelope("other@example.com", "b@example.org"), "Subject: s\r\n\r\nx\r\n")
	s.Standin = func(_ context.Context, id spool.ID) bool { return id == waits }
	b := open(t, s, "look")
	for path, want := range map[string]int{
		"/queue": 1, "/queue?from=waits@example.com": 1, "/queue?from=other@example.com": 0,
		"/messages/" + waits.String(): 1, "/messages/" + other.String(): 0,
	} {
		code, _, page := b.get(path)
		if n := strings.Count(html.UnescapeString(page), control.WaitsForDatabase[1:]); code != 200 || n != want {
			t.Errorf("%s: %d, marked %d times, want %d\n%s", path, code, n, want, page)
		}
	}
}
