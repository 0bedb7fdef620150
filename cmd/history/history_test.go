package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func line(at time.Time, event, rest string) []byte {
	return fmt.Appendf(nil, `{"level":"info","time":%q,"event":%q,%s}`+"\n", at.UTC().Format(time.RFC3339Nano), event, rest)
}

// tell writes the life of one message.
func tell(h *History, id, from, to, mid string) {
	now := time.Now()
	h.Add(line(now, "message-accepted", fmt.Sprintf(`"id":%q,"from":%q,"message_id":%q`, id, from, mid)))
	h.Add(line(now, "delivery-attempt", fmt.Sprintf(`"id":%q,"from":%q,"to":%q,"result":"delivered"`, id, from, to)))
}

func ids(f *Found) string {
	var all []string
	for _, l := range f.Lives {
		all = append(all, fmt.Sprintf("%s:%d", l.ID, len(l.Lines)))
	}
	return strings.Join(all, " ")
}

// TestFlush: what was added is found as soon as Flush has returned, whatever else is
// written and searched at that time.
func TestFlush(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h := New(Options{Dir: dir, Keep: time.Hour, MaxSize: 1 << 30})
	h.Flush(t.Context()) // nothing was added yet
	var work sync.WaitGroup
	for n := range 4 {
		work.Go(func() {
			for i := range 25 {
				id := fmt.Sprintf("1f%d%02d", n, i)
				tell(h, id, "app@example.com", "ann@example.org", "<"+id+"@relay.example>")
				h.Flush(t.Context())
				if f, err := Search(t.Context(), dir, Query{Text: id}); err != nil || ids(f) != id+":2" || f.Damaged != 0 {
					t.Errorf("%s: %q, %v, damaged %d", id, ids(f), err, f.Damaged)
				}
			}
		})
	}
	work.Wait()
	h.Flush(t.Context()) // nothing waits
	h.Close(time.Minute)
	h.Flush(t.Context())
	if h.Dropped() != 0 {
		t.Errorf("%d lines were dropped", h.Dropped())
	}
}

// TestFlushOfNothingKept: neither a folder that can't be written nor a history that
// keeps nothing is waited for.
func TestFlushOfNothingKept(t *testing.T) {
	for _, o := range []Options{{Dir: filepath.Join(t.TempDir(), "missing", "history"), Keep: time.Hour, MaxSize: 1 << 30}, {Dir: t.TempDir()}} {
		h := New(o)
		for range 2 {
			tell(h, "1hv1", "app@example.com", "ann@example.org", "<x.1@relay.example>")
			h.Flush(t.Context())
		}
		h.Close(time.Minute)
	}
}

func TestSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "history")
		h := New(Options{Dir: dir, Keep: time.Hour, MaxSize: 1 << 30})
		begun := time.Now()
		tell(h, "1hv1", "App@Example.com", "ann@example.org", "<x.1@relay.example>")
		time.Sleep(10 * time.Minute) // and the goroutine has ended meanwhile
		tell(h, "1hv2", "app@example.com", "bob@example.org, carol@example.org", "<x.2@relay.example>")
		h.Add(line(time.Now(), "sender-notified", `"id":"1hv3","original":"1hv2","kind":"failure"`))
		h.Add(line(time.Now(), "mail-refused", `"from":"eve@example.net","code":550`))
		h.Close(time.Minute)
		middle := time.Now().Add(-5 * time.Minute)
		for _, c := range []struct {
			q    Query
			want string
		}{
			{Query{Text: "1hv1"}, "1hv1:2"}, {Query{Text: "1HV1"}, "1hv1:2"}, {Query{Text: "1hv"}, ""},
			{Query{Text: "1hv2"}, "1hv2:3"}, {Query{Text: "1hv3"}, "1hv2:3"},
			{Query{Text: "<X.1@relay.example>"}, "1hv1:2"}, {Query{Text: "x.2@relay.example"}, "1hv2:3"},
			{Query{Text: "app@example.com"}, "1hv1:2 1hv2:3"}, {Query{Text: "app@example.com", Limit: 1}, "1hv2:3"},
			{Query{Text: "carol@example.org"}, "1hv2:3"}, {Query{Text: "@example.ORG"}, "1hv1:2 1hv2:3"}, {Query{Text: "xample.org"}, ""},
			{Query{Text: "ol@example.org"}, ""}, {Query{Text: "eve@example.net"}, ":1"}, {Query{Text: "delivered"}, ""},
			{Query{Text: "app@example.com", Since: middle}, "1hv2:3"}, {Query{Text: "app@example.com", Until: middle}, "1hv1:2"},
			{Query{Text: "bob@example.org", Until: middle}, ""}, {Query{Text: "app@example.com", Until: begun}, "1hv1:2"},
		} {
			f, err := Search(t.Context(), dir, c.q)
			if err != nil || ids(f) != c.want || f.Damaged != 0 {
				t.Errorf("%+v: %q, %v, damaged %d; want %q", c.q, ids(f), err, f.Damaged, c.want)
			}
			if f.More != (c.q.Limit == 1) {
				t.Errorf("%+v: more %v", c.q, f.More)
			}
		}
		for _, text := range []string{"", "<", `"id`, "a\nb"} {
			if _, err := Search(t.Context(), dir, Query{Text: text}); !errors.Is(err, ErrQuery) {
				t.Errorf("%q: %v", text, err)
			}
		}
		if f, err := Search(t.Context(), filepath.Join(dir, "none"), Query{Text: "1hv1"}); err != nil || ids(f) != "" || !f.From.IsZero() {
			t.Errorf("no folder: %v, %v", f, err)
		}
	})
}

// TestTornFile: what a crash leaves is read as far as it goes.
func TestTornFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h := New(Options{Dir: dir, Keep: time.Hour, MaxSize: 1 << 30})
	for i := range 100 {
		tell(h, fmt.Sprintf("1hv%03d", i), "app@example.com", "ann@example.org", "<x@y>")
	}
	h.Close(time.Minute)
	files, err := list(dir)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0].path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 1 + len(whole)/50 {
		if err := os.WriteFile(files[0].path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Search(t.Context(), dir, Query{Text: "1hv050"}); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	// Beside it, the next run has a file of its own.
	h = New(Options{Dir: dir, Keep: time.Hour, MaxSize: 1 << 30})
	tell(h, "1hw000", "app@example.com", "ann@example.org", "<x@y>")
	h.Close(time.Minute)
	f, err := Search(t.Context(), dir, Query{Text: "1hw000"})
	if err != nil || ids(f) != "1hw000:2" || f.Damaged != 1 {
		t.Errorf("%q, %v, %+v", ids(f), err, f)
	}
}

// TestBounds: files end by size and age, and the oldest go.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "history")
		h := New(Options{Dir: dir, Keep: 72 * time.Hour, MaxSize: 1 << 30})
		for day := range 10 {
			tell(h, fmt.Sprintf("1hv%d", day), "app@example.com", "ann@example.org", "<x@y>")
			time.Sleep(24 * time.Hour)
			tell(h, fmt.Sprintf("1hv%d", day), "app@example.com", "bob@example.org", "<x@y>") // ends the file
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		files, err := list(dir)
		if err != nil || len(files) < 3 || len(files) > 6 {
			t.Errorf("%d files, %v", len(files), err)
		}
		h.Close(time.Minute)
		// A small bound leaves one.
		h = New(Options{Dir: dir, Keep: 72 * time.Hour, MaxSize: 1})
		tell(h, "1hw", "app@example.com", "ann@example.org", "<x@y>")
		h.Close(time.Minute)
		if files, err = list(dir); err != nil || len(files) != 1 {
			t.Errorf("%d files, %v", len(files), err)
		}
	})
}

// TestNobodyWaits: a folder that can't be made costs lines, is told of once, and
// is tried again.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		above := filepath.Join(t.TempDir(), "state")
		var mu sync.Mutex
		failed := 0
		h := New(Options{Dir: filepath.Join(above, "history"), Keep: time.Hour, MaxSize: 1 << 30, Failed: func(error) { mu.Lock(); failed++; mu.Unlock() }})
		for range 30 {
			tell(h, "1hv1", "app@example.com", "ann@example.org", "<x@y>")
			time.Sleep(10 * time.Second)
		}
		if h.Dropped() != 60 || failed != 1 {
			t.Errorf("%d dropped, told %d times", h.Dropped(), failed)
		}
		if err := os.Mkdir(above, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		tell(h, "1hv2", "app@example.com", "ann@example.org", "<x@y>")
		time.Sleep(2 * time.Second)
		if f, err := Search(t.Context(), h.options.Dir, Query{Text: "1hv2"}); err != nil || ids(f) != "1hv2:2" {
			t.Errorf("%q, %v", ids(f), err)
		}
		big := make([]byte, 64<<10)
		big[len(big)-1] = '\n'
		for range 1000 { // while nobody writes
			h.Add(big)
		}
		if n := h.Dropped(); n < 900 {
			t.Errorf("%d dropped", n)
		}
		h.Close(time.Minute)
		h.Add(big) // after the end
		off := New(Options{Dir: filepath.Join(above, "off")})
		off.Add(big)
		off.Close(time.Second)
		if _, err := os.Stat(filepath.Join(above, "off")); err == nil {
			t.Error("keep = 0 keeps something")
		}
	})
}

// TestLongLife: of a message that is tried for ever its beginning and its end
// are shown.
func TestLongLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h := New(Options{Dir: dir, Keep: time.Hour, MaxSize: 1 << 30})
	for i := range maxLines + 100 {
		h.Add(line(time.Now(), "delivery-attempt", fmt.Sprintf(`"id":"1hv1","to":"a@b.example","attempt":%d`, i)))
	}
	h.Close(time.Minute)
	f, err := Search(t.Context(), dir, Query{Text: "1hv1"})
	if err != nil || len(f.Lives) != 1 || len(f.Lives[0].Lines) != maxLines || f.Lives[0].Omitted != 100 {
		t.Fatalf("%q, %v", ids(f), err)
	}
	if l := f.Lives[0].Lines; !strings.Contains(string(l[0]), `"attempt":0`) || !strings.Contains(string(l[maxLines-1]), fmt.Sprintf(`"attempt":%d`, maxLines+99)) {
		t.Errorf("%s … %s", l[0], l[maxLines-1])
	}
}

// TestFilesOfOthers: what else lies in the folder is passed over, and stays.
func TestFilesOfOthers(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "20260102T030405.000000000Z"+suffix)
	if err := os.Symlink("/dev/zero", name); err != nil {
		t.Skip(err)
	}
	for _, other := range []string{"notes.txt", "x" + suffix} {
		if err := os.WriteFile(filepath.Join(dir, other), []byte("1hv1"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := New(Options{Dir: dir, Keep: time.Nanosecond, MaxSize: 1})
	tell(h, "1hv1", "app@example.com", "ann@example.org", "<x@y>")
	h.Close(time.Minute)
	if f, err := Search(t.Context(), dir, Query{Text: "1hv1"}); err != nil || ids(f) != "1hv1:2" {
		t.Errorf("%q, %v", ids(f), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
}

func BenchmarkAdd(b *testing.B) {
	h := New(Options{Dir: filepath.Join(b.TempDir(), "history"), Keep: time.Hour, MaxSize: 1 << 30})
	defer h.Close(time.Minute)
	l := line(time.Now(), "delivery-attempt", `"id":"1hv2np81n62yw","from":"billing@example.com","to":"bob@example.org","upstream":"office","result":"delivered","attempt":1,"delay":0.144025579,"size":747,"stage":"dot","code":250,"enhanced":"2.0.0","text":"OK: queued","remote":"mx.example.org"`)
	b.SetBytes(int64(len(l)))
	for b.Loop() {
		h.Add(l)
	}
}

func TestIndexFold(t *testing.T) {
	for _, c := range []struct {
		b, text string
		want    int
	}{
		{"x", "ab", -1}, {"ab", "ab", 0}, {"xAbx", "ab", 1}, {"aab", "ab", 1}, {"ba", "ab", -1}, {"", "ab", -1},
		{"to: Ann@EXAMPLE.org.", "ann@example.org", 4}, {"nn@example.org", "ann@example.org", -1}, {"@@a@b", "a@b", 2}, {"a@", "a@b", -1}, {"é@B", "é@b", 0}, {"x@x", "@x", 1},
	} {
		if got := indexFold([]byte(c.b), []byte(c.text)); got != c.want {
			t.Errorf("%q in %q: %d", c.text, c.b, got)
		}
	}
}

// TestNames: a text is found as the whole value of a key that lines are found by,
// however often it stands elsewhere, and with an escape in the line or without.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		line, text string
		want       bool
	}{
		{`{"id":"1hv1"}`, "1hv1", true}, {`{"ID":"1hv1"}`, "1hv1", false}, {`{"uid":"1hv1"}`, "1hv1", false},
		{`{"id":"1hv12"}`, "1hv1", false}, {`{"id":"01hv1"}`, "1hv1", false},
		{`{"text":"1hv1","original":"1HV1"}`, "1hv1", true}, {`{"text":"1hv1","cause":"1hv1"}`, "1hv1", false},
		{`{"to":["ann@x.example"]}`, "ann@x.example", false}, {`{"tries":["to","ann@x.example"]}`, "ann@x.example", false},
		{`{"to":"joann@x.example, ann@x.example"}`, "ann@x.example", true}, {`{"to":"joann@x.example"}`, "ann@x.example", false},
		{`{"to":"bob@y.example, ann@X.example"}`, "@x.example", true}, {`{"to":"bob@x.example.org"}`, "@x.example", false},
		{`{"from":"","to":"ann@x.example"}`, "ann@x.example", true}, {`{"from":"@x.example"}`, "@x.example", true},
		{`{"message_id":"<a@b>"}`, "a@b", true}, {`{"message_id":"<a@b>"}`, "@b", false},
		{`{"text":"say \"to\":\"a@b\"","to":"c@d"}`, "a@b", false}, {`{"text":"say \"to\":\"a@b\"","to":"a@b"}`, "a@b", true},
		{`{"from":"\u0061@b"}`, "a@b", false}, // what holds it nowhere is not read
		{`{"to":"a@b`, "a@b", true}, {`1hv1`, "1hv1", false}, {`"1hv1`, "1hv1", false}, {`:"1hv1`, "1hv1", false}, {`":"1hv1`, "1hv1", false}, {`id":"1hv1`, "1hv1", false},
		{`{"event":"x","id":"1hv1"}`, "", true}, {`{"event":"x"}`, "", false},
	} {
		if got := names([]byte(c.line), []byte(c.text)); got != c.want {
			t.Errorf("%q in %s: %v", c.text, c.line, got)
		}
	}
}

// TestMoved: the life of a message that came from another spool has one ID, the last
// one, and is found by each that it had, and by what was told of any.
func TestMoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h := New(Options{Dir: dir, Keep: time.Hour, MaxSize: 1 << 30})
	now := time.Now()
	h.Add(line(now, "message-accepted", `"id":"1local","from":"app@example.com","message_id":"<x@relay.example>"`))
	h.Add(line(now, "standin-moved", `"id":"1shared","old_id":"1local","from":"app@example.com"`))
	h.Add(line(now, "message-adopted", `"id":"1last","old_id":"1shared","operator":"ann"`))
	h.Add(line(now, "delivery-attempt", `"id":"1last","to":"bob@example.org","result":"delivered"`))
	h.Add(line(now, "message-adopted", `"id":"1a","old_id":"1b"`)) // a circle, which nobody writes
	h.Add(line(now, "message-adopted", `"id":"1b","old_id":"1a"`))
	h.Close(time.Minute)
	for _, text := range []string{"1local", "1shared", "1last", "x@relay.example", "app@example.com", "bob@example.org"} {
		f, err := Search(t.Context(), dir, Query{Text: text})
		if err != nil || ids(f) != "1last:4" {
			t.Errorf("%s: %q, %v", text, ids(f), err)
			continue
		}
		life := f.Lives[0]
		if got := Read(life.Lines[1]).Sentence(life.ID); got != "moved into the database, where it has this ID; before it had 1local" {
			t.Error(got)
		}
		if got := Read(life.Lines[2]).Sentence(life.ID); got != "ann: adopted from another spool, where it had the ID 1shared" {
			t.Error(got)
		}
	}
	if f, err := Search(t.Context(), dir, Query{Text: "1a"}); err != nil || len(f.Lives) == 0 {
		t.Errorf("%q, %v", ids(f), err)
	}
}

// TestMovedInAnotherFile: a move is heeded where the file that tells of it is of
// another time than the one that is asked for.
func TestMovedInAnotherFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "history")
		write := func(event, fields string) {
			h := New(Options{Dir: dir, Keep: 24 * time.Hour, MaxSize: 1 << 30})
			h.Add(line(time.Now(), event, fields))
			h.Close(time.Minute)
			time.Sleep(time.Hour)
		}
		begun := time.Now()
		write("message-accepted", `"id":"1local","from":"app@example.com"`)
		write("standin-moved", `"id":"1shared","old_id":"1local","from":"app@example.com"`)
		write("delivery-attempt", `"id":"1shared","to":"bob@example.org","result":"delivered"`)
		for name, q := range map[string]Query{
			"before": {Text: "app@example.com", Until: begun.Add(30 * time.Minute)},
			"after":  {Text: "bob@example.org", Since: begun.Add(90 * time.Minute)},
			"time":   {Since: begun.Add(90 * time.Minute)},
		} {
			if f, err := Search(t.Context(), dir, q); err != nil || ids(f) != "1shared:3" {
				t.Errorf("%s: %q, %v", name, ids(f), err)
			}
		}
		if f, err := Search(t.Context(), dir, Query{Text: "eve@example.com", Since: begun.Add(90 * time.Minute)}); err != nil || ids(f) != "" {
			t.Errorf("%q, %v", ids(f), err)
		}
	})
}
