//go:build unix

package journal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/spool/journal"
)

// TestPipeIsNotWaitedFor plants a pipe in the place of each file of a spool.
// Nothing waits for its other end: it is refused, or is no file of ours. A start
// waited so for ever, and heard no signal.
func TestPipeIsNotWaitedFor(t *testing.T) {
	body := bytes.Repeat([]byte("a line\r\n"), 40<<10) // a large one
	for _, name := range []string{"lock", "format", "reserve", "0000000001.seg", "0000000001.idx", "0000000002.seg", "big/ID.eml"} {
		dir := folder(t)
		opts := journal.Options{Dir: dir, Reserve: 64 << 10}
		s := open(t, opts)
		id := put(t, s, simple("a"), body)
		s.Close()
		path := filepath.Join(dir, strings.Replace(name, "ID", id.String(), 1))
		_ = os.Remove(path) // where there is one
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := journal.Open(opts)
		if err != nil {
			continue
		}
		if c, err := s.Content(bg, id); err == nil {
			if _, err := c.ReadAt(make([]byte, 1), 0); err == nil && (name == "0000000001.seg" || name == "big/ID.eml") {
				t.Errorf("%s: read from a pipe", name)
			}
			c.Close()
		}
		s.Close()
	}
}
