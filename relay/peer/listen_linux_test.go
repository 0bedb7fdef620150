package peer

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSocketChangesNothingElse: somebody who may write to the folder of a
// socket puts links to a file in the place of all that is made there. Neither
// a start nor a reload ever changes the mode of that file.
func TestSocketChangesNothingElse(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// As many links as there are names, so that an exchange always has one.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
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
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				for _, name := range []string{e.Name(), e.Name() + "/s"} {
					if name == "link" {
						continue
					}
					if unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) == nil {
						n++
						if strings.HasSuffix(name, "/s") {
							os.Remove(link)
						}
					}
					if os.Symlink(secret, link+".new") == nil {
						os.Rename(link+".new", link)
					}
				}
			}
		}
	}()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if l, info, err := listen(path, 0o666, ""); err == nil {
			_ = permitSocket(path, info, 0o660, "")
			l.Close()
		}
		os.RemoveAll(path)
	}
	close(stop)
	if n := <-done; n == 0 {
		t.Fatal("nothing was exchanged")
	}
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestPermit changes the socket that was made, and no other.
func TestPermit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	l, info, err := listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, mode := range []os.FileMode{0o660, 0o666} {
		if err := permitSocket(path, info, mode, ""); err != nil {
			t.Fatal(err)
		}
		if now, err := os.Stat(path); err != nil || now.Mode().Perm() != mode {
			t.Errorf("%v, %v", now, err)
		}
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := permitSocket(path, info, 0o666, ""); err == nil || !strings.Contains(err.Error(), "no longer the socket") {
		t.Error(err)
	}
	if now, err := os.Stat(path); err != nil || now.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", now, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

// TestLongestPath: a path as long as a socket can have.
func TestLongestPath(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, strings.Repeat("s", maxPath-len(dir)-1))
	l, _, err := listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
