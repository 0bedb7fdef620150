package compose

import (
	"bytes"
	"container/list"
	"os"
	"sync"
	"time"
)

const (
	maxShared      = 1 << 20 // octets of a file that is kept
	sharedLimit    = 8 << 20 // octets of all that is kept, where none is given
	maxSharedFiles = 1024
)

// Shared keeps the encoded form of files that many messages attach, so that
// each is read and encoded once. It may be used by several goroutines.
type Shared struct {
	limit int64

	mu    sync.Mutex
	kept  int64
	files map[string]*list.Element // of *sharedFile
	order *list.List               // used last: in front
}

// NewShared makes one that keeps at most limit octets; those used longest ago
// go first. 0: 8 MiB.
func NewShared(limit int64) *Shared {
	if limit <= 0 {
		limit = sharedLimit
	}
	return &Shared{limit: limit, files: map[string]*list.Element{}, order: list.New()}
}

// A sharedFile is one file in one state.
type sharedFile struct {
	owner *Shared
	path  string
	size  int64
	time  time.Time

	mu      sync.Mutex
	written int // messages that it was a part of
	content [forms][]byte
}

// FilePart is as the function FilePart. Files of up to 1 MiB are kept from
// the second message on, until their size or time of change differs.
func (s *Shared) FilePart(path, name, mediaType string) (Part, error) {
	if info, err := os.Stat(path); err == nil {
		if f := s.find(path, info.Size(), info.ModTime()); f != nil {
			return f.part(name, mediaType), nil
		}
	}
	p, info, err := filePart(path, name, mediaType)
	if err != nil || info == nil || p.Size > maxShared {
		return p, err
	}
	f := &sharedFile{owner: s, path: path, size: p.Size, time: info.ModTime()}
	s.add(f)
	return f.part(name, mediaType), nil
}

func (f *sharedFile) part(name, mediaType string) Part {
	p := fileLater(f.path, name, mediaType, f.size)
	p.shared = f
	return p
}

func (s *Shared) find(path string, size int64, changed time.Time) *sharedFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.files[path]
	if e == nil {
		return nil
	}
	if f := e.Value.(*sharedFile); f.size == size && f.time.Equal(changed) {
		s.order.MoveToFront(e)
		return f
	}
	s.drop(e)
	return nil
}

func (s *Shared) add(f *sharedFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.files[f.path]; e != nil {
		s.drop(e)
	}
	s.files[f.path] = s.order.PushFront(f)
	if len(s.files) > maxSharedFiles {
		s.drop(s.order.Back())
	}
}

// drop forgets a file; who writes it just now still has its content. The
// caller holds s.mu.
func (s *Shared) drop(e *list.Element) {
	f := e.Value.(*sharedFile)
	s.order.Remove(e)
	delete(s.files, f.path)
	for _, b := range f.content {
		s.kept -= int64(len(b))
	}
	f.content = [forms][]byte{}
}

// encoded is the content of p in form f, nil where it isn't kept.
func (f *sharedFile) encoded(p *Part, as form) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.keeps(as); b != nil {
		return b, nil
	}
	if f.written++; f.written == 1 {
		return nil, nil
	}
	var out bytes.Buffer
	out.Grow(int(as.maxSize(p.Size)))
	if err := p.stream(&out, as); err != nil {
		return nil, err
	}
	b := out.Bytes()
	f.keep(as, b)
	return b, nil
}

func (f *sharedFile) keeps(as form) []byte {
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	return f.content[as]
}

// keep takes b where f is still known, and makes room for it.
func (f *sharedFile) keep(as form, b []byte) {
	s := f.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.files[f.path]; e == nil || e.Value != f || int64(len(b)) > s.limit {
		return
	}
	s.order.MoveToFront(s.files[f.path])
	f.content[as] = b
	s.kept += int64(len(b))
	for s.kept > s.limit && s.order.Len() > 1 {
		s.drop(s.order.Back())
	}
	if s.kept > s.limit { // another form of the same file
		s.drop(s.order.Front())
	}
}
