package queue

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// pauseFile is where the pause of "office" is kept.
func (w *world) pauseFile() string { return filepath.Join(w.cfg.StateDir, "pause", "office") }

// A pause outlives reloads, restarts and crashes, and shows who made it.
func TestPauseStays(t *testing.T) {
	limited(t, nil, func(t *testing.T, w *world) {
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		w.fill(1)
		for _, again := range []func(){w.restart, w.crash, func() {
			w.queue.Apply(&config.Config{StateDir: w.cfg.StateDir, Retry: w.cfg.Retry, Hostname: "relay.example"})
			w.queue.Apply(w.cfg)
		}} {
			after(time.Hour)
			again()
			after(time.Hour)
			if s := w.lanes()[0]; s.State != Paused || s.By != "root" || !s.Since.Equal(at) {
				t.Errorf("state %s since %v by %q", s.State, s.Since, s.By)
			}
		}
		w.wantArrived(0, "while paused")
		if err := w.queue.Resume("office", "ann"); err != nil {
			t.Fatal(err)
		}
		w.restart()
		after(time.Second)
		w.wantArrived(1, "after resuming")
	})
}

// A pause that cannot be read or understood holds, is told, and ends by a
// resume, which also puts the file right.
func TestPauseThatNobodyUnderstands(t *testing.T) {
	text := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	for name, put := range map[string]func(path string) error{
		"empty":        text(""),
		"torn":         text(`{"paused":true,"by":"ro`),
		"zeros":        text(strings.Repeat("\x00", 60)),
		"null":         text("null"),
		"nothing said": text("{}"),
		"half said":    text(`{"paused":false}`),
		"more behind":  text(`{"paused":false,"by":"a","at":"2026-11-23T08:00:00Z"}{"paused":true`),
		"foreign":      text(`{"paused":false,"by":"a","at":"2026-11-23T08:00:00Z","until":"x"}`),
		"huge":         func(path string) error { return errors.Join(text("{}")(path), os.Truncate(path, 1<<40)) },
		"link":         func(path string) error { return os.Symlink("elsewhere", path) },
		"not private": func(path string) error {
			return errors.Join(text(`{"paused":false,"by":"a","at":"2026-11-23T08:00:00Z"}`)(path), os.Chmod(path, 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			limited(t, nil, func(t *testing.T, w *world) {
				if err := errors.Join(os.MkdirAll(filepath.Dir(w.pauseFile()), 0o700), put(w.pauseFile())); err != nil {
					t.Fatal(err)
				}
				w.restart()
				w.fill(1)
				after(time.Hour)
				if s := w.queue.States()["office"]; s != Paused || w.recorder.heard("until somebody runs `postern upstream resume office`") != 1 {
					t.Errorf("state %s: %v", s, w.recorder.log)
				}
				w.wantArrived(0, "while paused")
				if err := w.queue.Resume("office", "ann"); err != nil {
					t.Error(err)
				}
				w.restart()
				after(time.Second)
				w.wantArrived(1, "after resuming and a restart")
			})
		})
	}
}

// What stands in the place of the file and cannot be written over: a resume
// works, and says that a restart forgets it.
func TestFolderInThePlaceOfAPause(t *testing.T) {
	limited(t, nil, func(t *testing.T, w *world) {
		if err := os.MkdirAll(filepath.Join(w.pauseFile(), "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.restart()
		w.fill(1)
		after(time.Hour)
		w.wantArrived(0, "while paused")
		if err := w.queue.Resume("office", "ann"); !errors.Is(err, ErrNotRecorded) || !strings.Contains(err.Error(), w.pauseFile()) {
			t.Error(err)
		}
		after(time.Second)
		w.wantArrived(1, "after resuming")
	})
}

// A folder of pauses that is no folder of ours says nothing: mail goes on.
func TestFolderOfPausesCannotBeTrusted(t *testing.T) {
	for name, put := range map[string]func(dir string) error{
		"file":         func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"dead link":    func(dir string) error { return os.Symlink("nowhere", dir) },
		"of everybody": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, fs.ModePerm)) },
	} {
		t.Run(name, func(t *testing.T) {
			limited(t, nil, func(t *testing.T, w *world) {
				if err := put(filepath.Dir(w.pauseFile())); err != nil {
					t.Fatal(err)
				}
				w.restart()
				w.fill(1)
				after(time.Second)
				w.wantArrived(1, "without a folder of pauses")
				if w.recorder.heard("paused the upstream is not known: ") != 1 {
					t.Error(w.recorder.log)
				}
				if err := w.queue.Pause("office", "root"); !errors.Is(err, ErrNotRecorded) || w.queue.States()["office"] != Paused {
					t.Errorf("pause: %v, state %s", err, w.queue.States()["office"])
				}
			})
		})
	}
}

// FuzzPause: whatever is taken is written down again as it was understood.
func FuzzPause(f *testing.F) {
	f.Add([]byte(`{"paused":true,"by":"root","at":"2026-11-23T08:00:00.5+01:00"}`))
	f.Add([]byte(`{"paused":false,"by":"","at":"0001-01-01T00:00:00Z"}` + "\n"))
	f.Add([]byte(`{"Paused":null,"by":"\ud800","at":"9999-12-31T23:59:59-23:59"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := parsePause(content)
		if err != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		again, err := parsePause(written)
		if err != nil || again.Paused != p.Paused || again.By != p.By || !again.At.Equal(p.At) {
			t.Fatalf("%q: %+v and %+v, %v", written, p, again, err)
		}
	})
}
