package journal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// goldenOptions make a spool of few bytes.
func goldenOptions(dir string) journal.Options {
	return journal.Options{Dir: dir, SegmentSize: 4 << 10, BigBody: 2 << 10, ZeroAhead: -1, Slack: 4 << 10, Reserve: -1}
}

// TestOldFormatIsRead opens what earlier versions have written and wants all
// of it, as they told it themselves; then goes on with it, until every record
// is of this version.
func TestOldFormatIsRead(t *testing.T) {
	for _, format := range []string{"format1", "format2"} {
		base := filepath.Join("testdata", format)
		b, err := os.ReadFile(filepath.Join(base, "want.json"))
		if err != nil {
			t.Fatal(err)
		}
		want := string(b)
		dir := copyFolder(t, filepath.Join(base, "spool"))
		r, err := journal.OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		events := &recorder{}
		opts := goldenOptions(dir)
		opts.Events, opts.Slack = events.tell, 1 // everything is copied forward
		for range 3 {
			s := open(t, opts)
			if got := tell(t, s); got != want {
				t.Fatalf("%s: is\n%s\nwas\n%s", format, got, want)
			}
			if r := s.Recovery(); r.SetAside+r.Repaired > 0 || r.TornBytes > 0 {
				t.Errorf("%+v", r)
			}
			for range 30 { // so much that copying forward is worth while
				put(t, s, simple("gone"), bytes.Repeat([]byte{'x'}, 2<<10-1))
				for _, d := range claim(t, s, "gone", 1) {
					if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(1)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(50 * time.Millisecond)
			if got := tell(t, s); got != want {
				t.Fatalf("%s, copied forward: is\n%s\nwas\n%s", format, got, want)
			}
			s.Close()
		}
		if events.count("moved") == 0 {
			t.Error("nothing was copied forward")
		}
		if text, _ := os.ReadFile(filepath.Join(dir, "format")); string(text) != "postern spool 2\n" {
			t.Errorf("format says %q", text)
		}
		for _, name := range segments(t, dir) {
			b, _ := os.ReadFile(name)
			if v := binary.LittleEndian.Uint32(b[8:]); v != 2 {
				t.Errorf("%s has version %d", name, v)
			}
		}
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

// TestMakeGolden writes a spool with each type of record, as a kill leaves it,
// and what it holds, to the folder that POSTERN_GOLDEN names: once for each
// format, by the last version that writes it.
func TestMakeGolden(t *testing.T) {
	to := os.Getenv("POSTERN_GOLDEN")
	if to == "" {
		t.Skip("POSTERN_GOLDEN names no folder")
	}
	dir := folder(t)
	opts := goldenOptions(dir)
	events := &recorder{}
	opts.Events = events.tell
	s := open(t, opts)
	defer s.Close()
	settle := func(d *spool.Delivery, st spool.Settlement) {
		t.Helper()
		if _, err := s.Settle(bg, d, st); err != nil {
			t.Fatal(err)
		}
	}
	due := time.Date(2040, 1, 2, 3, 4, 5, 6, time.UTC)
	at := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	env := func(upstreams ...string) *spool.Envelope {
		e := simple(upstreams...)
		e.Accepted = at
		return e
	}
	works := func(shift string) {
		put(t, s, full(), []byte("Subject: "+shift+"\r\n\r\nbody\r\n"))
		first := claim(t, s, "one", 1)[0]
		if err := s.DotSent(bg, first); err != nil {
			t.Fatal(err)
		}
		settle(first, spool.Settlement{Due: due, Failover: 1, Warned: true, Outcomes: []spool.Outcome{
			{Stage: spool.StageRcpt, Code: 550, Enhanced: "5.1.1", Text: "unknown", Verdict: spool.Bounced},
			{Stage: spool.StageDot, Cause: "connection reset", Remote: "mx:25"},
		}})
		put(t, s, env("big"), bytes.Repeat([]byte("a line of text\r\n"), 200))
		signed := env("signed")
		signed.Prefix = []byte("Signature: " + shift + "\r\n")
		put(t, s, signed, []byte("signed\r\n"))
		put(t, s, env("told"), []byte("told\r\n"))
		for _, d := range claim(t, s, "told", 1) {
			notice, err := s.Create(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			o := []spool.Outcome{{Stage: spool.StageRcpt, Code: 450, Text: "busy"}}
			if err := journal.CommitSettling(notice, env("notices"), d, spool.Settlement{Due: due, Warned: true, Outcomes: o}); err != nil {
				t.Fatal(err)
			}
		}
		put(t, s, env("held"), []byte("held\r\n"))
		for _, d := range claim(t, s, "held", 1) {
			settle(d, spool.Settlement{Due: due, Hold: true, Kept: true, Outcomes: []spool.Outcome{{Stage: spool.StageLocal, Cause: "nobody to tell"}}})
		}
	}
	works("before")
	for i := 0; events.count("moved") == 0 || events.count("reclaimed") < 2; i++ {
		if i == 200 {
			t.Fatal("nothing was copied forward")
		}
		put(t, s, env("gone"), bytes.Repeat([]byte{'x'}, 700))
		for _, d := range claim(t, s, "gone", 1) {
			settle(d, spool.Settlement{Outcomes: delivered(1)})
		}
		time.Sleep(10 * time.Millisecond)
	}
	works("after")
	for range 4 {
		put(t, s, env("more"), bytes.Repeat([]byte{'y'}, 900)) // so that a segment ends
	}
	put(t, s, env("ended"), []byte("ended\r\n"))
	for _, d := range claim(t, s, "ended", 1) {
		settle(d, spool.Settlement{Outcomes: delivered(1)})
	}
	put(t, s, env("doubt"), []byte("in doubt\r\n"))
	ds, err := s.Claim(bg, leased(s, "doubt"), time.Now(), 1, spool.Schedule{Steps: []time.Duration{time.Until(due)}})
	if err != nil || s.DotSent(bg, ds[0]) != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // for what tidies up
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(to, "spool"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	kinds := recordKinds(t, filepath.Join(to, "spool"))
	for kind := byte(1); kind <= 6; kind++ {
		if kinds[kind] == 0 {
			t.Errorf("no record of type %d", kind)
		}
	}
	copied := openCopy(t, filepath.Join(to, "spool"))
	defer copied.Close()
	if err := os.WriteFile(filepath.Join(to, "want.json"), []byte(tell(t, copied)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// recordKinds counts the records of each type in the segments of a folder.
func recordKinds(t *testing.T, dir string) map[byte]int {
	t.Helper()
	kinds := map[byte]int{}
	for _, name := range segments(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for rest := b[1024:]; ; {
			i := bytes.Index(rest, b[16:24])
			if i < 0 || len(rest) < i+48 {
				break
			}
			if binary.LittleEndian.Uint32(rest[i+8:]) == binary.LittleEndian.Uint32(b[12:]) {
				kinds[rest[i+12]]++
			}
			rest = rest[i+48:]
		}
	}
	return kinds
}

// openCopy opens a copy of a folder.
func openCopy(t *testing.T, dir string) *journal.Store {
	t.Helper()
	return open(t, goldenOptions(copyFolder(t, dir)))
}

// copyFolder copies a spool to a folder that is ours alone.
func copyFolder(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "spool")
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, dir))
		if d.IsDir() {
			return os.Mkdir(target, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// tell puts everything that a spool holds into words. What is nil is left
// out, so that fields may be added.
func tell(t *testing.T, s *journal.Store) string {
	t.Helper()
	var all []any
	seen := map[spool.ID]bool{}
	s.Find(bg, spool.Query{}, func(sum spool.Summary) bool {
		all = append(all, sum)
		if seen[sum.ID] {
			return true
		}
		seen[sum.ID] = true
		d, err := s.Detail(bg, sum.ID)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Content(bg, sum.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h := sha256.New()
		io.Copy(h, io.NewSectionReader(c, 0, c.Size()))
		all = append(all, d, fmt.Sprintf("%d bytes, SHA-256 %x", c.Size(), h.Sum(nil)))
		return true
	})
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var plain []any
	if err := json.Unmarshal(b, &plain); err != nil {
		t.Fatal(err)
	}
	if b, err = json.MarshalIndent(withoutNil(plain), "", " "); err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func withoutNil(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutNil(v[i])
		}
	case map[string]any:
		for key, e := range v {
			if e == nil || key == "NotBefore" && e == "0001-01-01T00:00:00Z" || key == "Storm" && e == spool.ID(0).String() { // which those versions knew not
				delete(v, key)
			} else {
				v[key] = withoutNil(e)
			}
		}
	}
	return v
}
