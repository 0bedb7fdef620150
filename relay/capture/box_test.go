package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// put captures messages, and returns their names, the oldest first.
func put(t testing.TB, m *maildir, n int) (names []string) {
	t.Helper()
	for i := range n {
		s, err := m.deliver("office", "a@example.com", []string{"b@example.org", "c@example.org"}, strings.NewReader(fmt.Sprintf("From: x\r\nSubject: =?utf-8?q?n=C2=BA_%d?=\r\n\r\ntext\r\n", i)))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(s.Path))
	}
	return names
}

func shown(t *testing.T, b *Box) (text string) {
	t.Helper()
	list, _, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		h, err := b.Head(k)
		if err != nil {
			t.Fatal(err)
		}
		text += h.Subject
		if k.Released {
			text += " sent"
		}
		text += ","
	}
	return text
}

// A Box shows what a Maildir holds, the newest first, also after other programs
// have changed it; what it removes and marks is so at once.
func TestBox(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "capture")
	if b := NewBox(dir); b.Exists() || shown(t, b) != "" {
		t.Error("there is no Maildir yet")
	}
	m, err := openMaildir(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	names := put(t, m, 3)
	b := NewBox(dir)
	if !b.Exists() || shown(t, b) != "nº 2,nº 1,nº 0," {
		t.Errorf("%q", shown(t, b))
	}
	k := b.Find(names[1])
	h, err := b.Head(k)
	if err != nil || h.Sender != "a@example.com" || strings.Join(h.To, " ") != "b@example.org c@example.org" || h.More != 0 || h.Upstream != "office" || h.From != "x" || h.Size == 0 || time.Since(h.At) > time.Minute {
		t.Errorf("%+v %v", h, err)
	}
	f, env, begins, err := b.Whole(k)
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 5)
	_, _ = f.ReadAt(content, begins)
	f.Close()
	if env.From != "a@example.com" || len(env.To) != 2 || string(content) != "From:" {
		t.Errorf("%+v %q", env, content)
	}
	if err := b.Mark(k); err != nil {
		t.Fatal(err)
	}
	if err := b.Mark(b.Find(names[1])); err != nil {
		t.Error(err)
	}
	if err := b.Remove(b.Find(names[0])); err != nil {
		t.Fatal(err)
	}
	if shown(t, b) != "nº 2,nº 1 sent," {
		t.Errorf("%q", shown(t, b))
	}
	if err := b.Mark(k); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "cur", names[1]+flagMark+"P")); err != nil {
		t.Error(err)
	}
	fresh := NewBox(dir)
	if shown(t, fresh) != "nº 2,nº 1 sent," {
		t.Errorf("%q", shown(t, fresh))
	}
	// A reader of mail moves one, and a file without an envelope comes.
	if err := os.Rename(filepath.Join(dir, "new", names[2]), filepath.Join(dir, "cur", names[2]+flagMark+"S")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new", "no-time"), []byte("Subject: foreign\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh = NewBox(dir)
	if shown(t, fresh) != "nº 2,nº 1 sent,foreign," {
		t.Errorf("%q", shown(t, fresh))
	}
	if _, _, _, err := fresh.Whole(fresh.Find("no-time")); err == nil {
		t.Error("it has an envelope")
	}
	if err := fresh.Mark(fresh.Find(names[2])); err != nil {
		t.Fatal(err)
	}
	if shown(t, NewBox(dir)) != "nº 2 sent,nº 1 sent,foreign," {
		t.Errorf("%q", shown(t, NewBox(dir)))
	}
}

// The folder is looked at where it has changed, at most once a second, and
// everything is forgotten when nobody asks.
func TestBoxLooksSeldom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "capture")
	m, err := openMaildir(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // whose clock stands still between
		b := NewBox(dir)
		names := put(t, m, 1)
		count := func() int { list, _, _ := b.List(); return len(list) }
		if count() != 1 {
			t.Fatal(count())
		}
		put(t, m, 1)
		if count() != 1 {
			t.Error("it looked twice within a second")
		}
		time.Sleep(listAgain + time.Second)
		if count() != 2 || b.Find(names[0]) == nil {
			t.Error("it did not look again")
		}
		time.Sleep(forgetAfter + time.Second)
		synctest.Wait()
		if b.named != nil || b.kept != nil {
			t.Error("it forgets nothing")
		}
		if count() != 2 {
			t.Error("it does not look again")
		}
		b.idle.Stop()
	})
}

// BenchmarkBox50000 lists and searches 50,000 messages.
func BenchmarkBox50000(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "capture")
	if _, err := openMaildir(dir, "host"); err != nil {
		b.Fatal(err)
	}
	for i := range 50_000 {
		text := fmt.Sprintf("Return-Path: <a@example.com>\r\nDelivered-To: b%d@example.org\r\nX-Postern-Upstream: office\r\nSubject: number %d\r\n\r\ntext\r\n", i, i)
		if err := os.WriteFile(filepath.Join(dir, "new", fmt.Sprintf("%d.M%dP1Q%d.host", 1700000000+i, i, i)), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	box := NewBox(dir)
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			box.next, box.stamps = time.Time{}, [2]time.Time{}
			if list, _, err := box.List(); len(list) != 50_000 {
				b.Fatal(len(list), err)
			}
		}
	})
	b.Run("heads", func(b *testing.B) {
		for b.Loop() {
			list, _, _ := box.List()
			for _, k := range list {
				k.head.Store(nil)
				if _, err := box.Head(k); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
