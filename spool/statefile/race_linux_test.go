package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRootGivesNothingAwayOutsideTheFolder: a user who owns the folder above
// exchanges the folder, or the file of the lock, for a link while root works in
// it. What is root's stays root's, and nothing of that user appears elsewhere.
func TestRootGivesNothingAwayOutsideTheFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this needs root, who has something to give away")
	}
	const user = 65534
	for name, prepare := range map[string]func(state, secret string) (a, b string){
		"folder": func(state, secret string) (string, string) {
			os.Symlink(filepath.Dir(secret), filepath.Join(state, "link"))
			return "oauth", "link"
		},
		"lock": func(state, secret string) (string, string) {
			os.Symlink(secret, filepath.Join(state, "oauth", "link"))
			return "oauth/fact.lock", "oauth/link"
		},
		"second name": func(state, secret string) (string, string) {
			os.Link(secret, filepath.Join(state, "oauth", "link"))
			return "oauth/fact.lock", "oauth/link"
		},
		"folder of root's": func(state, secret string) (string, string) {
			os.Mkdir(filepath.Join(state, "roots"), 0o700)
			os.WriteFile(filepath.Join(state, "roots", "secret"), nil, 0o600)
			return "oauth", "roots"
		},
	} {
		t.Run(name, func(t *testing.T) {
			roots, state := t.TempDir(), t.TempDir()
			secret := filepath.Join(roots, "secret")
			if err := os.WriteFile(secret, []byte("of root"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(state, user, user); err != nil {
				t.Fatal(err)
			}
			d := &Folder{Dir: filepath.Join(state, "oauth")}
			unlock, err := d.Lock(t.Context(), "fact")
			if err != nil {
				t.Fatal(err)
			}
			unlock()
			a, b := prepare(state, secret)
			a, b = filepath.Join(state, a), filepath.Join(state, b)
			stop, done := make(chan struct{}), make(chan int)
			go func() {
				n := 0
				for {
					select {
					case <-stop:
						done <- n
						return
					default:
					}
					if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
						n++
					}
				}
			}()
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				if unlock, err := d.Lock(t.Context(), "fact"); err == nil {
					unlock()
				}
				_ = d.Write("token", []byte("content"))
				_, _ = d.Read("token", 100)
				_ = d.Remove("token")
			}
			close(stop)
			if n := <-done; n < 100 {
				t.Fatalf("only %d exchanges", n)
			}
			filepath.WalkDir(roots, func(path string, _ fs.DirEntry, _ error) error {
				info, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				if uid := info.Sys().(*syscall.Stat_t).Uid; uid == user {
					t.Errorf("%s belongs to user %d now", path, uid)
				}
				if path != roots && path != secret {
					t.Errorf("%s was made", path)
				}
				return nil
			})
			for _, path := range []string{"oauth", "roots"} {
				info, err := os.Lstat(filepath.Join(state, path, "secret"))
				if err == nil && info.Sys().(*syscall.Stat_t).Uid == user {
					t.Error("a file of root's was given away")
				}
			}
		})
	}
}

// TestRootGivesNoSecondNameAway: that user gives an empty file of root's the name
// of the lock, and takes the name away while root has opened it: it then looks
// like one that root has just made.
func TestRootGivesNoSecondNameAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this needs root, who has something to give away")
	}
	const user = 65534
	dir := t.TempDir()
	secret, state := filepath.Join(dir, "secret"), filepath.Join(dir, "state")
	if err := errors.Join(os.WriteFile(secret, nil, 0o600), os.Mkdir(state, 0o700), os.Chown(state, user, user)); err != nil {
		t.Fatal(err)
	}
	d := &Folder{Dir: filepath.Join(state, "oauth")}
	if err := d.Prepare(); err != nil {
		t.Fatal(err)
	}
	lock, link := filepath.Join(d.Dir, "fact.lock"), filepath.Join(state, "link")
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			os.Link(secret, link)
			os.Rename(link, lock)
			for pause := time.Now(); time.Since(pause) < time.Duration(n%40)*time.Microsecond; {
			}
			os.Remove(lock)
		}
	}()
	owner := func() uint32 {
		info, err := os.Stat(secret)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	made := false
	for end := time.Now().Add(time.Second); time.Now().Before(end) && owner() == 0; {
		if unlock, err := d.Lock(t.Context(), "fact"); err == nil {
			unlock()
			made = true
		}
	}
	close(stop)
	n := <-done
	if owner() != 0 {
		t.Fatal("a file of root's was given away")
	}
	if n < 100 || !made {
		t.Fatalf("only %d exchanges, or no lock in all of them", n)
	}
	if unlock, err := d.Lock(t.Context(), "fact"); err != nil {
		t.Error(err)
	} else {
		unlock()
	}
	info, err := os.Stat(lock)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != user {
		t.Errorf("the lock that root made: %v, %v", info, err)
	}
	if left, err := os.ReadDir(d.Dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
