package merge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postern/spool/disk"
)

// savedAs is where a copy of the message goes.
func (r *Renderer) savedAs(data map[string]any) string {
	p := r.plan
	if p.save == nil {
		return ""
	}
	name, ok := r.line(p.save, data)
	if !ok {
		return ""
	}
	root, outside := p.saveRoot()
	rel := name
	if filepath.IsAbs(name) {
		var err error
		if rel, err = filepath.Rel(root, name); err != nil {
			rel = ".."
		}
	}
	switch {
	case strings.TrimSpace(name) == "":
		r.wrong("save", "is empty", "")
	case !filepath.IsLocal(filepath.FromSlash(rel)) || filepath.Clean(rel) == ".":
		r.wrong("save", quoted(name)+" leaves "+outside, "")
	default:
		return filepath.Clean(filepath.FromSlash(rel))
	}
	return ""
}

// saveRoot is the folder that copies stay in: what the message file says up to
// the last slash before the first action, where that begins at the root of the
// file system, else the folder of the message file.
func (p *Plan) saveRoot() (root, called string) {
	literal, _, _ := strings.Cut(p.step.Save, "{{")
	if cut := strings.LastIndexFunc(literal, isSeparator); filepath.IsAbs(literal) && cut >= 0 {
		return literal[:cut+1], literal[:cut+1]
	}
	return p.step.folder(), "the folder of the message file"
}

// Saver keeps copies of messages. It may be used concurrently.
type Saver struct{ root *os.Root }

// Saver opens the folder of the copies, which is made where it is missing. It
// is nil where the step saves none.
func (p *Plan) Saver() (*Saver, error) {
	if p.save == nil {
		return nil, nil
	}
	folder, _ := p.saveRoot()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	root, err := disk.OpenFolder(folder)
	if err != nil {
		return nil, err
	}
	return &Saver{root}, nil
}

// Write writes a message beside where its copy goes. keep puts it there, and
// drop removes it; one of them has to be called. No symbolic link leads either
// out of the folder.
func (s *Saver) Write(ctx context.Context, m *Message) (keep func() error, drop func(), err error) {
	if dir := filepath.Dir(m.Save); dir != "." {
		if err := s.root.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
	}
	part := fmt.Sprintf("%s.%d.part", m.Save, os.Getpid())
	_ = s.root.Remove(part) // of a process of this number that was killed, or what somebody has put there
	f, err := s.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	_, err = m.Mail.WriteTo(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	drop = func() { _ = s.root.Remove(part) }
	if err != nil {
		drop()
		return nil, nil, err
	}
	return func() error { return s.root.Rename(part, m.Save) }, drop, ctx.Err()
}

// Has reports whether the copy of a message is there already.
func (s *Saver) Has(m *Message) bool {
	_, err := s.root.Lstat(m.Save)
	return err == nil
}

// Close lets go of the folder.
func (s *Saver) Close() error { return s.root.Close() }
