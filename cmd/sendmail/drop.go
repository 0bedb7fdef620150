package sendmail

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postern/cmd/step"
	"postern/config/strict"
	"postern/config/wire"
	"postern/spool/disk"
)

// drop leaves a message in the pickup folder. nil: it is durable there, and the
// daemon takes it when it is back. Everything happens in what was opened as the
// folder, and root leaves nothing in one of its own to which somebody else led.
func (p *Place) drop(m *step.Finished) error {
	folder, err := openFolder(p.Pickup)
	if err != nil {
		return err
	}
	defer folder.Close()
	name := strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + rand.Text()[:12]
	draft, final := ".postern-"+name, "postern-"+name+".eml"
	// The group of the folder, which a file in it has, is the daemon's.
	f, err := folder.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	err = write(f, m)
	if err == nil {
		err = f.Chmod(0o640) // whatever the umask
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = folder.Rename(draft, final)
	}
	if err == nil {
		err = syncName(f, folder)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = folder.Remove(draft)
		_ = folder.Remove(final)
	}
	return err
}

// folder is where a message is left.
type folder interface {
	OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error)
	Rename(from, to string) error
	Remove(name string) error
	Open(name string) (*os.File, error)
	Close() error
}

// openFolder opens the folder for root. Others may write to it and may not read
// it, so that they cannot open it: they have its path, and leave nothing that is
// worth more than they are.
func openFolder(path string) (folder, error) {
	if os.Geteuid() != 0 {
		return named(path), nil
	}
	r, err := disk.OpenFolder(path)
	if err != nil {
		return nil, err
	}
	if err := strict.Folder(r, path); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// named is a folder by its path.
type named string

func (n named) path(name string) string { return filepath.Join(string(n), name) }

func (n named) OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(n.path(name), flag, mode)
}

func (n named) Rename(from, to string) error       { return os.Rename(n.path(from), n.path(to)) }
func (n named) Remove(name string) error           { return os.Remove(n.path(name)) }
func (n named) Open(name string) (*os.File, error) { return os.Open(n.path(name)) }
func (named) Close() error                         { return nil }

// syncName makes the name of a file durable. Who may write to the folder may
// not read it, and only what can be read can be synced; a sync of the file after
// it was renamed has the name on disk with it (ext4, XFS, btrfs).
func syncName(f *os.File, folder folder) error {
	dir, err := folder.Open(".")
	if err != nil {
		return f.Sync()
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return f.Sync() // Windows has no sync of folders
	}
	return nil
}

// write writes the envelope as fields that relay/pickup takes out, and the
// message.
func write(f *os.File, m *step.Finished) error {
	b := wire.AppendPhrase([]byte("X-Sender: "), m.Name)
	b = append(append(append(b, '<'), m.From...), '>')
	if m.Return != "" {
		b = append(b, " RET="+strings.ToUpper(m.Return)...)
	}
	if m.EnvelopeID != "" {
		b = append(b, " ENVID="+wire.EncodeXtext(m.EnvelopeID)...)
	}
	b = append(b, "\r\n"...)
	for _, to := range m.To {
		b = append(b, "X-Receiver: <"+to+">"...)
		if m.Notify != "" {
			b = append(b, " NOTIFY="+strings.ToUpper(m.Notify)...)
		}
		b = append(b, "\r\n"...)
	}
	if m.Remark != "" {
		b = append(b, "X-Postern-Remark: "+wire.FieldText(m.Remark)+"\r\n"...)
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	_, err := m.Body.WriteTo(f)
	return err
}

// away hands in a message while the relay is away.
func (p *Place) away(m *step.Finished, why error) error {
	if p.Pickup == "" {
		return &Failure{Code: TempFail, Text: why.Error() + ", and there is no pickup folder for messages meanwhile (pickup.dir); nothing was sent"}
	}
	err := p.drop(m)
	if err == nil {
		return nil
	}
	if at, ok := err.(*fs.PathError); ok {
		err = at.Err
	}
	return &Failure{Code: TempFail, Text: fmt.Sprintf("%v, and the message cannot be left in %s: %v; nothing was sent", why, p.Pickup, err)}
}
