package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
)

// told writes a file of lines.
func told(t testing.TB, dir string, at time.Time, lines [][]byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, at.UTC().Format(nameLayout)+suffix))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := s2.NewWriter(f)
	for _, line := range lines {
		if _, err := w.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// linesOf are lines of messages under way at the same time, in files of n lines. pad is
// how long a line is at least, and wait after how many other messages one goes out.
func linesOf(t testing.TB, dir string, messages, n, pad, wait int, moves bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var lines [][]byte
	begun := at
	tell := func(format string, args ...any) {
		at = at.Add(time.Second)
		line := fmt.Appendf(nil, `{"time":%q,`, at.Format(time.RFC3339Nano))
		line = fmt.Appendf(line, format, args...)
		if lines = append(lines, fmt.Appendf(line, `,"pad":"%*s"}`, pad, "")); len(lines) == n {
			told(t, dir, begun, lines)
			lines, begun = nil, at.Add(time.Nanosecond)
		}
	}
	id := func(i int) string { return fmt.Sprintf("1hv%010d", i) }
	for i := range messages {
		tell(`"event":"message-accepted","id":%q,"from":"shop%d@example.com","message_id":"<%d@example.com>"`, id(i), i%7, i)
		for range random.IntN(3) {
			late := i - random.IntN(min(i+1, wait)) // one that has waited
			tell(`"event":"delivery-attempt","id":%q,"to":"ann%d@example.org","result":"delivered"`, id(late), late%5)
		}
		switch random.IntN(10) {
		case 0:
			tell(`"event":"mail-refused","from":"shop1@example.com","to":"ann1@example.org"`)
		case 1: // a notice, which is delivered itself
			tell(`"event":"sender-notified","id":%q,"original":%q,"to":"shop%d@example.com"`, id(i+1_000_000), id(i), i%7)
			if random.IntN(2) == 0 {
				tell(`"event":"delivery-attempt","id":%q,"to":"shop%d@example.com","result":"delivered"`, id(i+1_000_000), i%7)
			}
		case 2:
			if moves {
				tell(`"event":"message-adopted","id":%q,"old_id":%q`, id(i+2_000_000), id(i))
			}
		}
	}
	told(t, dir, begun, lines)
}

// twice searches as it is done where a time bounds the search, which reads the files
// twice.
func twice(t *testing.T, dir string, q Query) *Found {
	t.Helper()
	q.Since = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	found, err := Search(context.Background(), dir, q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What is found by reading the files once is what is found by reading them twice,
// whether lines of a message stand near each other or not.
func TestOnceIsTwice(t *testing.T) {
	for name, c := range map[string]struct {
		pad, wait int
		moves     bool
		every     int // of the questions
	}{"near": {0, 40, false, 1}, "far": {12_000, 250, false, 4}, "moved": {0, 40, true, 1}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			linesOf(t, dir, 300, 150, c.pad, c.wait, c.moves)
			for i, q := range []Query{
				{Text: "1hv0000000007"}, {Text: "1hv0000000299"}, {Text: "<12@example.com>"}, {Text: "shop3@example.com"}, {Text: "ann2@example.org"}, {Text: "@example.org"},
				{Text: "@example.com", Limit: 1000}, {Text: "ann1@example.org", Limit: 3}, {Text: "nobody@example.org"}, {Text: "1hv0001000020"}, {Text: "1hv0002000020"},
				{Text: "nobody@example.org", Also: []string{"1hv0000000007", "1hv0000000250", "none"}}, {Text: "ann1@example.org", Limit: 5, Also: []string{"1hv0000000007", "1hv0000000296"}},
			} {
				if i%c.every != 0 {
					continue
				}
				once, err := Search(t.Context(), dir, q)
				if err != nil {
					t.Fatal(err)
				}
				if want := twice(t, dir, q); !reflect.DeepEqual(once, want) {
					t.Errorf("%+v: %s\nwant %s", q, text(once), text(want))
				}
			}
		})
	}
}

func text(f *Found) (all string) {
	for _, l := range f.Lives {
		all += fmt.Sprintf("\n%s (%d)", l.ID, l.Omitted)
		for _, line := range l.Lines {
			all += "\n  " + string(line[:min(len(line), 200)])
		}
	}
	return fmt.Sprint(all, " ", f.More, f.From, f.Damaged)
}

// BenchmarkSearch searches 200,000 lines.
func BenchmarkSearch(b *testing.B) {
	dir := b.TempDir()
	linesOf(b, dir, 100_000, 50_000, 80, 40, false)
	for name, q := range map[string]Query{"id": {Text: "1hv0000050000"}, "sender": {Text: "shop3@example.com"}, "recipient": {Text: "ann2@example.org"}, "domain": {Text: "@example.org"}} {
		for reads, since := range map[string]time.Time{"once": {}, "twice": time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)} {
			q.Since = since
			b.Run(name+"-"+reads, func(b *testing.B) {
				for b.Loop() {
					if _, err := Search(b.Context(), dir, q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// The files need not be read again where the lines of a message stand near each
// other, and have to be where they do not.
func TestComplete(t *testing.T) {
	for _, c := range []struct {
		text    string
		between int // bytes of other lines, between the two of the message
		whole   bool
	}{{"ann@example.org", 1000, true}, {"ann@example.org", 5 << 20, false}, {"1hv1", 5 << 20, true}, {"<1@example.com>", 5 << 20, true}, {"nobody@example.org", 1000, true}} {
		s := &search{query: Query{Limit: 20}, known: map[string]bool{}, text: []byte(strings.Trim(c.text, "<>")), recent: newRecent()}
		s.once([]byte(`{"time":"x","event":"message-accepted","id":"1hv1","from":"a@example.com","message_id":"<1@example.com>"}`))
		for range c.between / 1000 {
			s.once(fmt.Appendf(nil, `{"time":"x","event":"delivery-attempt","id":"1hv2","to":"eve@example.org","pad":"%1000s"}`, ""))
		}
		s.once([]byte(`{"time":"x","event":"delivery-attempt","id":"1hv1","to":"ann@example.org"}`))
		if whole := s.complete(); whole != c.whole || whole && c.text != "nobody@example.org" && (len(s.lives) != 1 || len(s.lives[0].Lines) != 2) {
			t.Errorf("%s after %d: %v, %+v", c.text, c.between, whole, s.lives)
		}
	}
}

// The head of a line is what its fields are, in whatever order they stand.
func TestHead(t *testing.T) {
	for _, line := range []string{
		`{"time":"x","level":"info","event":"e","id":"i","x":"y"}`, `{"time":"x","event":"e","id":"i"}`, `{"event":"e","id":"i"}`, `{"time":"x","level":"info","event":"e","from":"a","id":"i"}`,
		`{"id":"i","time":"x","event":"e"}`, `{"time":"x","id":"i","level":"info","event":"e"}`, `{"time":"x","event":"e"}`, `{"time":"x","event":"`, `{"time":"`, `{`, ``, `x`,
		`{"time":"x","event":"e","old_id":"o","id":"i"}`, `{"time":"x","event":"e","text":"\"id\":\"no","id":"i"}`,
	} {
		event, id := head([]byte(line))
		if string(event) != string(field([]byte(line), eventKey)) || string(id) != string(field([]byte(line), idKey)) {
			t.Errorf("%s: %q, %q", line, event, id)
		}
	}
}
