package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"postern/spool"
)

// maildir is a Maildir that is delivered to: a message appears in new/ whole
// and synced, or not at all, and so do its folders.
type maildir struct {
	dir      string
	hostname string
	serial   atomic.Uint64
}

func openMaildir(dir, hostname string) (*maildir, error) {
	for _, folder := range []string{"", "tmp", "new", "cur"} {
		if err := spool.MakeFolder(filepath.Join(dir, folder)); err != nil {
			return nil, err
		}
	}
	// Slashes and colons mean something in the name of a message.
	hostname = strings.NewReplacer("/", "\\057", ":", "\\072").Replace(hostname)
	return &maildir{dir: dir, hostname: hostname}, nil
}

// deliver writes one message and returns once it is durable.
func (m *maildir) deliver(upstream, from string, to []string, body io.Reader) (Stored, error) {
	now := time.Now()
	name := fmt.Sprintf("%d.M%dP%dQ%d.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), m.serial.Add(1), m.hostname)
	tmp, path := filepath.Join(m.dir, "tmp", name), filepath.Join(m.dir, "new", name)
	size, err := writeMessage(tmp, upstream, from, to, body)
	if err != nil {
		if rerr := os.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return Stored{}, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return Stored{}, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return Stored{}, err
	}
	return Stored{Upstream: upstream, Path: path, From: field(from), To: to, Size: size}, nil
}

func writeMessage(path, upstream, from string, to []string, body io.Reader) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	fmt.Fprintf(w, "Return-Path: <%s>\r\n", field(from))
	for _, rcpt := range to {
		fmt.Fprintf(w, "Delivered-To: %s\r\n", field(rcpt))
	}
	fmt.Fprintf(w, "X-Postern-Upstream: %s\r\n", field(upstream))
	_, err = io.Copy(w, body)
	if err == nil {
		err = w.Flush() // also reports what Fprintf met
	}
	if err == nil {
		err = f.Sync()
	}
	size, serr := f.Seek(0, io.SeekCurrent)
	return size, errors.Join(err, serr, f.Close())
}

// syncDir makes a rename durable. Windows has nothing of the kind for
// directories, and doesn't need it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// field makes a value fit for a header field: nothing in it can begin another.
func field(value string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, value)
}
