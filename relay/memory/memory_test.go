package memory

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/statefile"
)

const peer = "mx.example:25"

var (
	monday  = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	tuesday = monday.Add(24 * time.Hour)
)

func offered(f *Facts) { f.Offered = monday }
func valid(f *Facts)   { f.Valid = tuesday }

func learn(t *testing.T, s *Store, peer string, change func(*Facts)) {
	t.Helper()
	if err := s.Learn(t.Context(), "office", peer, change); err != nil {
		t.Fatal(err)
	}
}

func recall(t *testing.T, s *Store, peer string) Facts {
	t.Helper()
	f, err := s.Recall("office", peer)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What was learnt is there for another process, by the name of the upstream
// and for its host and port alone.
func TestMemoryOutlivesTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := New(&statefile.State{Dir: dir})
	if f := recall(t, s, peer); f != (Facts{}) {
		t.Errorf("before anything was learnt: %+v", f)
	}
	learn(t, s, peer, offered)
	learn(t, s, peer, valid)
	learn(t, s, peer, func(f *Facts) { f.Way = &Way{"mx.example", 465, true, tuesday} })
	f := recall(t, New(&statefile.State{Dir: dir}), peer)
	if f.Offered != monday || f.Valid != tuesday || f.Way == nil || *f.Way != (Way{"mx.example", 465, true, tuesday}) || f.Unsaved {
		t.Errorf("%+v", f)
	}
	if f := recall(t, New(&statefile.State{Dir: dir}), "mx.example:2525"); f != (Facts{}) {
		t.Errorf("at another port: %+v", f)
	}
	if f, err := New(&statefile.State{Dir: dir}).Recall("Office", peer); f != (Facts{}) || err != nil {
		t.Errorf("of another upstream: %+v, %v", f, err)
	}
	learn(t, s, "mx.example:2525", offered)
	if f := recall(t, s, "mx.example:2525"); f.Offered != monday || !f.Valid.IsZero() || f.Way != nil {
		t.Errorf("facts moved along with the upstream: %+v", f)
	}
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	s := New(&statefile.State{Dir: dir})
	forget := func(want bool) {
		t.Helper()
		if had, err := s.Forget(t.Context(), "office"); had != want || err != nil {
			t.Errorf("%v, %v", had, err)
		}
		if f := recall(t, s, peer); f != (Facts{}) {
			t.Errorf("%+v", f)
		}
	}
	forget(false)
	learn(t, s, peer, offered)
	forget(true)
	forget(false)
	// By another process, while this one goes on.
	learn(t, s, peer, offered)
	if had, err := New(&statefile.State{Dir: dir}).Forget(t.Context(), "office"); !had || err != nil {
		t.Errorf("%v, %v", had, err)
	}
	forget(false)
	// What nobody can read.
	if err := os.WriteFile(filepath.Join(dir, "tls", "upstream-office.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	forget(true)
}

// Whichever step on disk fails, this process knows what it learnt, the disk
// has the old facts or the new ones, and the next time everything is written.
func TestFaultsOfTheDisk(t *testing.T) {
	for _, failing := range []string{"create", "write", "sync", "rename", "sync folder"} {
		dir := t.TempDir()
		s := New(&statefile.State{Dir: dir})
		learn(t, s, peer, offered)
		s.state.(*statefile.State).Step = func(operation string) error {
			if operation == failing {
				return fs.ErrInvalid
			}
			return nil
		}
		if err := s.Learn(t.Context(), "office", peer, valid); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", failing, err)
		}
		if f := recall(t, s, peer); f.Offered != monday || f.Valid != tuesday || !f.Unsaved {
			t.Errorf("%s: this process knows %+v", failing, f)
		}
		if f := recall(t, New(&statefile.State{Dir: dir}), peer); f.Offered != monday || !f.Valid.IsZero() && f.Valid != tuesday {
			t.Errorf("%s: on disk is %+v", failing, f)
		}
		if f := recall(t, s, "mx.example:2525"); f != (Facts{}) {
			t.Errorf("%s: at another port: %+v", failing, f)
		}
		s.state.(*statefile.State).Step = nil
		learn(t, s, peer, func(*Facts) {})
		if f := recall(t, New(&statefile.State{Dir: dir}), peer); f.Valid != tuesday {
			t.Errorf("after %s: %+v", failing, f)
		}
		if f := recall(t, s, peer); f.Unsaved {
			t.Errorf("after %s: %+v", failing, f)
		}
	}
}

// A fact that was not forgotten for good is not forgotten at all.
func TestFaultsWhileForgetting(t *testing.T) {
	s := New(&statefile.State{Dir: t.TempDir()})
	learn(t, s, peer, offered)
	s.state.(*statefile.State).Step = func(operation string) error {
		if operation == "remove" {
			return fs.ErrInvalid
		}
		return nil
	}
	if _, err := s.Forget(t.Context(), "office"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	if f := recall(t, s, peer); f.Offered != monday {
		t.Errorf("%+v", f)
	}
	s.state.(*statefile.State).Step = func(operation string) error {
		if operation == "rename" {
			return fs.ErrInvalid
		}
		return nil
	}
	_ = s.Learn(t.Context(), "office", peer, valid) // is kept in memory, and forgotten with the file
	if had, err := s.Forget(t.Context(), "office"); !had || err != nil {
		t.Errorf("%v, %v", had, err)
	}
	if f := recall(t, s, peer); f != (Facts{}) {
		t.Errorf("%+v", f)
	}
}

// Another process has the lock and does not let go.
func TestLockIsHeld(t *testing.T) {
	dir := t.TempDir()
	other, s := New(&statefile.State{Dir: dir}), New(&statefile.State{Dir: dir})
	unlock, err := other.state.Lock(t.Context(), fact("office"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Learn(ctx, "office", peer, offered); err == nil {
		t.Error("the lock of another process was passed by")
	}
	if f := recall(t, s, peer); f.Offered != monday || !f.Unsaved {
		t.Errorf("%+v", f)
	}
	if _, err := s.Forget(ctx, "office"); err == nil {
		t.Error("forgotten past the lock of another process")
	}
	unlock()
	learn(t, s, peer, func(*Facts) {})
	if f := recall(t, New(&statefile.State{Dir: dir}), peer); f.Offered != monday {
		t.Errorf("%+v", f)
	}
}

// A file that does not say what we would have written says nothing: it is an
// error, and stays as it is.
func TestForeignFiles(t *testing.T) {
	const whole = `{"peer":"mx.example:25","offered":"2026-11-23T08:00:00Z"`
	for name, content := range map[string]string{
		"empty":              "",
		"half":               whole,
		"no object":          "[]",
		"null":               "null",
		"no peer":            `{"offered":"2026-11-23T08:00:00Z"}`,
		"another version":    whole + `,"revoked":true}`,
		"more behind":        whole + `}{}`,
		"no time":            `{"peer":"mx.example:25","offered":"monday"}`,
		"way without host":   whole + `,"way":{"port":465,"found":"2026-11-23T08:00:00Z"}}`,
		"way without port":   whole + `,"way":{"host":"a","found":"2026-11-23T08:00:00Z"}}`,
		"way without time":   whole + `,"way":{"host":"a","port":1}}`,
		"way with no port":   whole + `,"way":{"host":"a","port":65536,"found":"2026-11-23T08:00:00Z"}}`,
		"longer than a file": whole + strings.Repeat(" ", int(spool.KindTLS.Limit())) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := New(&statefile.State{Dir: dir})
			learn(t, s, peer, offered)
			file := filepath.Join(dir, "tls", "upstream-office.json")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if f, err := s.Recall("office", peer); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%+v, %v", f, err)
			}
			if err := s.Learn(t.Context(), "office", peer, valid); err == nil {
				t.Error("it was written over")
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != content {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// FuzzRecord: whatever is taken is written down again as it was understood.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"peer":"mx.example:25","offered":"2026-11-23T08:00:00Z","valid":"2026-11-23T08:00:00+01:00"}`))
	f.Add([]byte(`{"peer":"example.com","way":{"host":"mx.example","port":465,"implicit":true,"found":"2026-11-23T08:00:00.5Z"}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := parse(content)
		if err != nil {
			return
		}
		again, err := parse(r.encode())
		if err != nil {
			t.Fatalf("%q: %v", r.encode(), err)
		}
		if string(again.encode()) != string(r.encode()) {
			t.Fatalf("%q and %q", r.encode(), again.encode())
		}
	})
}
