package feed

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func line(n int) []byte {
	return fmt.Appendf(nil, `{"time":"2026-01-02T03:04:05.6Z","level":"info","event":"e","n":%d}`+"\n", n)
}

// Whoever is slow loses the oldest lines, and learns how many.
func TestSince(t *testing.T) {
	f := New()
	const all = Kept + 100
	for i := range all {
		f.Add(line(i))
	}
	for _, c := range []struct {
		name       string
		from       uint64
		most       int
		first, n   int
		next, lost uint64
	}{
		{"from the first", 0, 1000, 100, Kept, all, 100},
		{"a part", 100, 10, 100, 10, 110, 0},
		{"a part, and some lost", 90, 10, 100, 10, 110, 10},
		{"the last", all - 1, 10, all - 1, 1, all, 0},
		{"none yet", all, 10, 0, 0, all, 0},
		{"another process", all + 1000, 10, 0, 0, all, 0},
	} {
		list, next, lost := f.Since(c.from, c.most)
		if len(list) != c.n || next != c.next || lost != c.lost || c.n > 0 && list[0].Of("n") != fmt.Sprint(c.first) {
			t.Errorf("%s: %d lines, next %d, lost %d, first %+v", c.name, len(list), next, lost, list[:min(1, len(list))])
		}
	}
}

func TestParse(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	for _, c := range []struct {
		name, raw string
		want      Line
	}{
		{"whole", `{"time":"2026-01-02T03:04:05.6Z","level":"warn","event":"e","to":["a","b"],"took":0.0012345,"code":450,"held":true,"text":"<b>"}`,
			Line{at, "warn", "e", []Field{{"to", "a b"}, {"took", "0.001234"}, {"code", "450"}, {"held", "true"}, {"text", "<b>"}}, false}},
		{"cut in a value", `{"time":"2026-01-02T03:04:05.6Z","level":"warn","event":"e","a":"x","text":"<b`, Line{at, "warn", "e", []Field{{"a", "x"}}, true}},
		{"cut in a key", `{"time":"2026-01-02T03:04:05.6Z","level":"warn","event":"e","a":"x","te`, Line{at, "warn", "e", []Field{{"a", "x"}}, true}},
		{"no object", `12`, Line{Cut: true}},
		{"nothing", ``, Line{Cut: true}},
	} {
		if got := parse([]byte(c.raw)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// A line that is too long keeps its first fields.
func TestLongLine(t *testing.T) {
	f := New()
	f.Add([]byte(`{"event":"e","a":"x","text":"` + strings.Repeat("y", 2*maxLine) + `"}`))
	list, _, _ := f.Since(0, 1)
	if l := list[0]; !l.Cut || l.Of("a") != "x" || l.Of("text") != "" {
		t.Errorf("%+v", l)
	}
}

// Each line is seen or counted as lost, whoever writes meanwhile.
func TestConcurrent(t *testing.T) {
	f := New()
	const writers, each = 4, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				f.Add(line(w*each + i))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var seen, lost, at uint64
	for ended := false; ; {
		list, next, missed := f.Since(at, 100)
		seen, lost, at = seen+uint64(len(list)), lost+missed, next
		if len(list) > 0 {
			continue
		}
		if ended {
			break
		}
		select {
		case <-done:
			ended = true
		default:
		}
	}
	if seen+lost != writers*each {
		t.Errorf("%d seen, %d lost", seen, lost)
	}
}

func BenchmarkAdd(b *testing.B) {
	f, l := New(), []byte(strings.Repeat("x", 500))
	b.ReportAllocs()
	for b.Loop() {
		f.Add(l)
	}
}
