//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// archiveDir is where the copies of all messages are, beside the spool.
func archiveDir(disk string) string { return filepath.Join(disk, "archive") }

// archiving has the daemon keep a copy of each message on the disk of the spool.
func archiving(disk string) string {
	return fmt.Sprintf("[submission]\narchive_dir = %q\n", archiveDir(disk))
}

// copiesMissing are the numbers of promised messages that have no whole copy in
// a folder, with their queue IDs. Copies of what was not promised are no matter,
// and nor is what a cut left in tmp.
func copiesMissing(b *books, dir string) (missing []string, err error) {
	whole := map[string]bool{} // queue ID and digest of the body
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "tmp":
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		text, err := os.ReadFile(path)
		id, _, _ := strings.Cut(e.Name(), ".")
		if _, body, ok := bytes.Cut(text, []byte("\r\n\r\n")); ok {
			whole[id+" "+digest(body)] = true
		}
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for number, id := range b.acked {
		if !whole[id+" "+b.sum[number]] {
			missing = append(missing, number+" "+id)
		}
	}
	return missing, err
}

// checkCopies enters into a report what is missing in the archive.
func (r *report) checkCopies(b *books, disk string) error {
	missing, err := copiesMissing(b, archiveDir(disk))
	if r.CopiesMissing = missing; err == nil && len(missing) > 0 {
		err = fmt.Errorf("%d acknowledged messages have no copy in the archive: %v", len(missing), missing[:min(len(missing), 10)])
	}
	return err
}
