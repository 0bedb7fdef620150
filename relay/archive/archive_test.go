package archive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/spool"
)

var at = time.Date(2026, 11, 28, 22, 53, 34, 0, time.FixedZone("", 3600))

func folder(t *testing.T) *Folder {
	t.Helper()
	f := New(filepath.Join(t.TempDir(), "archive"))
	if err := f.Prepare(); err != nil {
		t.Fatal(err)
	}
	return f
}

// files are those in a folder with their content, whatever their name.
func files(t *testing.T, f *Folder) (names, texts []string) {
	t.Helper()
	err := filepath.WalkDir(f.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(f.dir, path)
		names, texts = append(names, filepath.ToSlash(rel)), append(texts, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, texts
}

func begin(t *testing.T, f *Folder) *File {
	t.Helper()
	x, err := f.Create(7, at, `"a b"@example.com`, []string{"b@example.net", "ü@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte("Subject: x\r\n\r\nhi\r\n")); err != nil {
		t.Fatal(err)
	}
	return x
}

// A copy has its name when it is durable, in a folder of its minute, and nobody
// else can read it.
func TestKeep(t *testing.T) {
	f := folder(t)
	var steps []string
	f.step = func(operation string) error {
		steps = append(steps, operation)
		return nil
	}
	x := begin(t, f)
	if names, _ := files(t, f); len(names) != 1 || !strings.HasPrefix(names[0], "tmp/") {
		t.Errorf("before it is kept: %q", names)
	}
	place, err := x.Keep()
	if err != nil {
		t.Fatal(err)
	}
	x.Done()
	x.Close() // does nothing
	names, texts := files(t, f)
	if len(names) != 1 || names[0] != filepath.ToSlash(place) || !strings.HasPrefix(names[0], "2026-11-28/2153/"+spool.ID(7).String()+".") || !strings.HasSuffix(names[0], ".eml") {
		t.Fatalf("%q at %q", names, place)
	}
	want := "X-Envelope-From: <\"a b\"@example.com>\r\nX-Envelope-To: <b@example.net>\r\nX-Envelope-To: <ü@example.net>\r\nSubject: x\r\n\r\nhi\r\n"
	if texts[0] != want {
		t.Errorf("%q, want %q", texts[0], want)
	}
	if info, _ := os.Stat(filepath.Join(f.dir, place)); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if want := []string{"sync", "close", "folders", "rename", "sync folder"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
}

// Whatever fails, nothing is left, and a full disk is told from others.
func TestFailures(t *testing.T) {
	for _, operation := range []string{"sync", "close", "folders", "rename", "sync folder"} {
		for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
			f := folder(t)
			f.step = func(o string) error {
				if o == operation {
					return cause
				}
				return nil
			}
			x := begin(t, f)
			place, err := x.Keep()
			if place != "" || !errors.Is(err, cause) || errors.Is(err, spool.ErrFull) != (cause == syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "archive_dir: ") {
				t.Errorf("%s: %q, %v", operation, place, err)
			}
			x.Close()
			if names, _ := files(t, f); len(names) != 0 {
				t.Errorf("%s: left %q", operation, names)
			}
		}
	}
}

// A copy of a message that was not taken after all is removed again.
func TestClose(t *testing.T) {
	f := folder(t)
	x := begin(t, f)
	if _, err := x.Keep(); err != nil {
		t.Fatal(err)
	}
	x.Close()
	begin(t, f).Close()
	if names, _ := files(t, f); len(names) != 0 {
		t.Errorf("left %q", names)
	}
}

// The folder of a minute may be moved away at any time, and many may write.
func TestManyAtATime(t *testing.T) {
	f := folder(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				x, err := f.Create(7, at, "", nil) // the same ID: two spools, one archive
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := x.Keep(); err != nil {
					t.Error(err)
				}
				x.Done()
			}
		})
	}
	wg.Wait()
	if names, _ := files(t, f); len(names) != 80 {
		t.Errorf("%d files", len(names))
	}
	if err := os.Rename(filepath.Join(f.dir, "2026-11-28"), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	x := begin(t, f)
	if _, err := x.Keep(); err != nil {
		t.Error(err)
	}
	x.Done()
}

func TestPrepare(t *testing.T) {
	f := folder(t)
	old, fresh := filepath.Join(f.dir, "tmp", "old"), filepath.Join(f.dir, "tmp", "fresh")
	for _, name := range []string{old, fresh} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-leftover - time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := f.Prepare(); err != nil {
		t.Fatal(err)
	}
	if names, _ := files(t, f); !slices.Equal(names, []string{"tmp/fresh"}) {
		t.Errorf("left %q", names)
	}
	missing := New(filepath.Join(t.TempDir(), "no", "archive"))
	if err := missing.Prepare(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a folder that is not there: %v", err)
	}
	if err := missing.Foresee(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("foreseen: %v", err)
	}
	if _, err := missing.Create(1, at, "", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("created: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(f.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(1, at, "", nil); err == nil || !strings.Contains(err.Error(), "others can put files there") {
		t.Errorf("a folder that everybody may write to: %v", err)
	}
	elsewhere := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	if err := New(link).Prepare(); err == nil || !strings.Contains(err.Error(), "no link to one is followed") {
		t.Errorf("a link: %v", err)
	}
}

// BenchmarkKeep is what a message of 10 KiB costs more.
func BenchmarkKeep(b *testing.B) {
	f := New(filepath.Join(b.TempDir(), "archive"))
	if err := f.Prepare(); err != nil {
		b.Fatal(err)
	}
	text := make([]byte, 10<<10)
	b.ReportAllocs()
	for b.Loop() {
		x, err := f.Create(7, time.Now(), "a@example.com", []string{"b@example.net"})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := x.Write(text); err != nil {
			b.Fatal(err)
		}
		if _, err := x.Keep(); err != nil {
			b.Fatal(err)
		}
		x.Done()
	}
}
