//go:build unix

package strict

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFolder: root makes no file in a folder of its own to which somebody else has
// led the path, and makes them in the folders of others.
func TestFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this needs root, to give things away")
	}
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/service/queue", 0o700), os.Mkdir(dir+"/cron", 0o700), os.Mkdir(dir+"/own", 0o700),
		os.Symlink("../cron", dir+"/service/led"), os.Symlink("cron", dir+"/link"),
		os.Chown(dir+"/service/queue", stranger, -1), os.Lchown(dir+"/service/led", stranger, -1), os.Chown(dir+"/service", stranger, -1)); err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"service/queue": true, "service/led": false, "own": true, "cron": true, "link": true} {
		path := filepath.Join(dir, name)
		r, err := os.OpenRoot(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Folder(r, path); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}
