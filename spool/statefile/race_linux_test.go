package statefile

import (
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
