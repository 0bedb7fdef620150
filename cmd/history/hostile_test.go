package history

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
)

// hostile is a folder with one file of lines, as somebody may write it who has the
// rights of the relay.
func hostile(t *testing.T, lines func(add func(event, rest string))) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	w := s2.NewWriter(&b)
	now := time.Now()
	lines(func(event, rest string) {
		if _, err := w.Write(line(now, event, rest)); err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, now.UTC().Format(nameLayout)+suffix)
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHostileLines: a few KB that become gigabytes of lines of a life, or of
// refusals, are held up to a bound, and the answer says that there are more.
func TestHostileLines(t *testing.T) {
	if os.Getenv("POSTERN_LONG") == "" {
		defer func(n int) { maxHeld = n }(maxHeld)
		maxHeld /= 16
	}
	long := strings.Repeat("x", maxLine-1000)
	n := maxHeld/maxLine + 4
	dir := hostile(t, func(add func(event, rest string)) {
		for range n {
			add("delivery-attempt", `"id":"1hva","from":"app@example.com","text":"`+long+`"`)
		}
		for range n {
			add("mail-refused", `"from":"app@example.com","text":"`+long+`"`)
		}
		add("message-accepted", `"from":"app@example.com","id":"`+long+`"`)
	})
	f, err := Search(t.Context(), dir, Query{Text: "app@example.com", Limit: maxLimit})
	if err != nil {
		t.Fatal(err)
	}
	held, omitted := 0, 0
	for _, l := range f.Lives {
		omitted += l.Omitted
		for _, one := range l.Lines {
			held += len(one)
		}
	}
	if held > maxHeld || held < maxHeld/2 || omitted == 0 && !f.More {
		t.Errorf("%d octets held, %d lines omitted, more: %v", held, omitted, f.More)
	}
	if f, err = Search(t.Context(), dir, Query{Text: "1hva"}); err != nil || len(f.Lives) != 1 || f.Lives[0].Omitted == 0 {
		t.Errorf("by its ID: %v, %v", ids(f), err)
	}
}

// TestHostileMoves: a message that was moved 10,000 times, in a line and in a
// circle, and IDs of a megabyte. It is found by the IDs that a message may have.
func TestHostileMoves(t *testing.T) {
	dir := hostile(t, func(add func(event, rest string)) {
		const n = 10_000
		for i := range n {
			add("message-adopted", fmt.Sprintf(`"id":"1b%d","old_id":"1a%d"`, i, i))
			add("standin-moved", fmt.Sprintf(`"id":"1m%d","old_id":"1m%d"`, (i+1)%n, i))
		}
		add("message-adopted", `"id":"1x","old_id":"`+strings.Repeat("x", maxLine/2)+`"`)
		add("message-accepted", `"id":"1m7","from":"app@example.com"`)
	})
	if f, err := Search(t.Context(), dir, Query{Text: "1a7"}); err != nil || len(f.Lives) != 1 || f.Lives[0].ID != "1b7" {
		t.Errorf("%v, %v", ids(f), err)
	}
	if f, err := Search(t.Context(), dir, Query{Text: "app@example.com"}); err != nil || len(f.Lives) != 1 {
		t.Errorf("of a circle: %v, %v", ids(f), err)
	}
}
