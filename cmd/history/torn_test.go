package history

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRotatedAndTorn: a life that goes over several files is found whole by ID,
// Message-ID, address and time, however the last write to the newest file was cut
// off; only what that write held is missing, and the answer says that it may be.
func TestRotatedAndTorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "history")
		h := New(Options{Dir: dir, Keep: 30 * 24 * time.Hour, MaxSize: 1 << 30})
		attempt := func(id, to, result string) {
			h.Add(line(time.Now(), "delivery-attempt", fmt.Sprintf(`"id":%q,"from":"app@example.com","to":%q,"result":%q`, id, to, result)))
			time.Sleep(2 * time.Second) // it is written
		}
		first := time.Now()
		h.Add(line(first, "message-accepted", `"id":"1hva","from":"app@example.com","message_id":"<a.1@relay.example>"`))
		attempt("1hva", "ann@example.org", "deferred")
		time.Sleep(25 * time.Hour)
		attempt("1hvb", "bob@example.org", "delivered") // and ends the first file
		attempt("1hva", "ann@example.org", "deferred")
		time.Sleep(25 * time.Hour)
		attempt("1hvb", "bob@example.org", "deferred") // and ends the second
		last := time.Now()
		attempt("1hva", "ann@example.org", "deferred")
		synctest.Wait()
		files, err := list(dir)
		if err != nil || len(files) != 3 {
			t.Fatal(files, err)
		}
		newest := files[2].path
		before, err := os.ReadFile(newest)
		if err != nil {
			t.Fatal(err)
		}
		attempt("1hva", "ann@example.org", "delivered")
		synctest.Wait()
		after, err := os.ReadFile(newest)
		if err != nil {
			t.Fatal(err)
		}
		h.Close(time.Minute)

		queries := []struct {
			q           Query
			whole, torn string
			passed      bool // the newest file is of another time, and is not looked at
		}{
			{Query{Text: "1hva"}, "1hva:5", "1hva:4", false},
			{Query{Text: "<A.1@relay.example>"}, "1hva:5", "1hva:4", false},
			{Query{Text: "ann@example.org"}, "1hva:5", "1hva:4", false},
			{Query{Text: "ann@example.org", Since: last}, "1hva:5", "1hva:4", false},
			{Query{Text: "ann@example.org", Until: first.Add(time.Hour)}, "1hva:5", "1hva:4", false},
			{Query{Text: "bob@example.org", Until: first.Add(time.Hour)}, "", "", true},
			{Query{Since: first, Until: first.Add(time.Hour)}, "1hva:5", "1hva:4", false},
			{Query{Since: first.Add(time.Hour)}, "1hvb:2 1hva:5", "1hvb:2 1hva:4", false},
			{Query{Since: last.Add(-time.Second)}, "1hva:5", "1hva:4", false},
			{Query{Until: first.Add(-time.Hour)}, "", "", true},
			{Query{Text: "eve@example.org"}, "", "", false},
		}
		look := func(what string, torn bool) {
			t.Helper()
			for _, c := range queries {
				want, damaged := c.whole, 0
				if torn {
					want, damaged = c.torn, 1
				}
				if c.passed {
					damaged = 0
				}
				if f, err := Search(t.Context(), dir, c.q); err != nil || ids(f) != want || f.Damaged != damaged {
					t.Errorf("%s, %+v: %q, %v, %+v; want %q", what, c.q, ids(f), err, f, want)
				}
			}
		}
		put := func(content []byte) {
			t.Helper()
			if err := os.WriteFile(newest, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(after) // as a crash leaves it whose last write was done: the file has no end
		look("whole", false)
		if len(after)-len(before) < 20 {
			t.Fatalf("%d bytes were %d", len(after), len(before))
		}
		// Cut off; or the length is on the disk and the content is not: zeros, or what
		// lay there before.
		for i, cut := range []int{len(before) + 1, len(before) + 4, (len(before) + len(after)) / 2, len(after) - 1} {
			rest := [][]byte{nil, make([]byte, len(after)-cut), bytes.Repeat([]byte{0xa5}, 5000), nil}[i]
			put(append(slices.Clone(after[:cut]), rest...))
			look(fmt.Sprintf("cut at %d, then %d others", cut, len(rest)), true)
		}
	})
}
