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

	"postern/config/wire"
	"postern/spool/statefile"
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
		made := statefile.Folder{Dir: filepath.Join(dir, folder)}
		if err := made.Prepare(); err != nil { // which makes nothing behind a link
			return nil, err
		}
	}
	// Slashes and colons mean something in the name of a message.
	m := &maildir{dir: dir}
	if err := m.within(func(_, _ *os.Root) error { return nil }); err != nil {
		return nil, err
	}
	hostname = strings.NewReplacer("/", "\\057", ":", "\\072").Replace(hostname)
	m.hostname = hostname
	return m, nil
}

// within opens the folders for as long as do works in them. No link in their
// place is followed, nor are folders used in which others can write: they
// would have messages written elsewhere.
func (m *maildir) within(do func(folder, fresh *os.Root) error) error {
	var opened [3]*os.Root
	for i, name := range []string{"", "tmp", "new"} {
		r, err := statefile.Open(filepath.Join(m.dir, name))
		if err != nil {
			return err
		}
		defer r.Close()
		opened[i] = r
	}
	return do(opened[0], opened[2])
}

// deliver writes one message and returns once it is durable.
func (m *maildir) deliver(upstream, from string, to []string, body io.Reader) (Stored, error) {
	now := time.Now()
	name := fmt.Sprintf("%d.M%dP%dQ%d.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), m.serial.Add(1), m.hostname)
	var size int64
	err := m.within(func(folder, fresh *os.Root) (err error) {
		tmp := filepath.Join("tmp", name)
		if size, err = writeMessage(folder, tmp, upstream, from, to, body); err != nil {
			if rerr := folder.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
			return m.named(err)
		}
		if err := folder.Rename(tmp, filepath.Join("new", name)); err != nil {
			return m.named(err)
		}
		return syncDir(fresh)
	})
	if err != nil {
		return Stored{}, err
	}
	return Stored{Upstream: upstream, Path: filepath.Join(m.dir, "new", name), From: wire.Line(from), To: to, Size: size}, nil
}

// named makes an error about a file under tmp/, which is gone by then, one about
// the Maildir.
func (m *maildir) named(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		err = at.Err
	case errors.As(err, &link):
		err = link.Err
	default:
		return err
	}
	return &fs.PathError{Op: "keep a message in", Path: m.dir, Err: err}
}

func writeMessage(folder *os.Root, name, upstream, from string, to []string, body io.Reader) (int64, error) {
	f, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	fmt.Fprintf(w, "Return-Path: <%s>\r\n", wire.Line(from))
	for _, rcpt := range to {
		fmt.Fprintf(w, "Delivered-To: %s\r\n", wire.Line(rcpt))
	}
	fmt.Fprintf(w, "X-Postern-Upstream: %s\r\n", wire.Line(upstream))
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
func syncDir(folder *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := folder.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
