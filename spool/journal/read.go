package journal

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"

	"postern/spool"
	"postern/spool/disk"
)

// readMeta reads and checks the header and the meta part of a message record,
// with one read, and returns the envelope and the share of each recipient.
func (s *Store) readMeta(g *segment, at place, metaLen uint32) (*spool.Envelope, *snapshot, []int, error) {
	n := headerSize + int(metaLen)
	buf := slices.Grow(metas.get(), n)[:n]
	defer metas.put(buf)
	if err := readFull(g.file, buf, int64(at.offset)); err != nil {
		return nil, nil, nil, err
	}
	h, ok := decodeHeader(buf, g.num, g.mark)
	if !ok || h.metaLen != metaLen {
		return nil, nil, nil, damaged("header")
	}
	if checksum(buf[headerSize:]) != h.metaCRC {
		return nil, nil, nil, damaged("envelope")
	}
	return decodeMeta(h.kind, string(buf[headerSize:]))
}

// decodeMeta decodes the meta part of a message record; the snapshot is nil
// unless it was copied forward. The strings are parts of meta.
func decodeMeta(kind byte, meta string) (*spool.Envelope, *snapshot, []int, error) {
	var snap *snapshot
	if kind == recMoved {
		envelope, rest, ok := cutMoved(meta)
		c := cursor{rest: rest}
		sn := readSnapshot(&c)
		if !ok || !c.done() {
			return nil, nil, nil, damaged("state")
		}
		meta, snap = envelope, &sn
	} else if kind != recMessage {
		return nil, nil, nil, damaged("type")
	}
	c := cursor{rest: meta}
	env, _, of := readEnvelope(&c)
	if !c.done() {
		return nil, nil, nil, damaged("envelope")
	}
	return env, snap, of, nil
}

func damaged(what string) error {
	return fmt.Errorf("%w: %s does not match its checksum", spool.ErrDamaged, what)
}

// readFull reads len(b) bytes; a file that ends before is damaged.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF || err == nil:
		return fmt.Errorf("%w: the file ends too early", spool.ErrDamaged)
	}
	return err
}

// inMemory is the size in bytes up to which a body is read at once.
const inMemory = 32 << 10

// Content implements spool.Store: it opens the content of a message and
// checks all of it, so that nothing is ever sent that is not what was
// accepted. ErrNotFound; ErrDamaged: it was set aside.
func (s *Store) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	h := s.ix.byID[id]
	if h == 0 {
		s.mu.Unlock()
		return nil, spool.ErrNotFound
	}
	e := *s.ix.entry(h)
	g := s.bySeg[e.at.segment].acquire()
	s.mu.Unlock()
	c, err := s.open(g, &e)
	if c == nil || c.seg == nil {
		s.release(g)
	}
	if err != nil {
		if errors.Is(err, spool.ErrDamaged) {
			s.setAsideMessage(id, e.at, err)
		}
		return nil, err
	}
	return c, nil
}

func (s *Store) open(g *segment, e *entry) (*content, error) {
	if e.is(big) {
		return s.openBig(g, e)
	}
	start := int64(e.at.offset) + headerSize + int64(e.metaLen)
	if n := headerSize + int64(e.metaLen) + e.size; n <= inMemory {
		buf := largeChunks.Get().(*[largeChunk]byte)
		if err := readFull(g.file, buf[:n], int64(e.at.offset)); err != nil {
			largeChunks.Put(buf)
			return nil, err
		}
		body := buf[n-e.size : n]
		if h, ok := decodeHeader(buf[:n], g.num, g.mark); !ok || h.bodyCRC != checksum(body) {
			largeChunks.Put(buf)
			return nil, damaged("content")
		}
		return &content{size: e.size, body: body, buf: buf}, nil
	}
	h, err := readHeader(g, e.at)
	if err != nil {
		return nil, err
	}
	if err := verify(g.file, start, e.size, h.bodyCRC); err != nil {
		return nil, err
	}
	return &content{size: e.size, store: s, seg: g, file: g.file, start: start}, nil
}

func (s *Store) openBig(g *segment, e *entry) (*content, error) {
	h, err := readHeader(g, e.at)
	if err != nil {
		return nil, err
	}
	file, err := s.fs.Open(bodyName(e.id))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: its body is missing", spool.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	if n, err := file.Size(); err != nil || n != e.size {
		file.Close()
		if err == nil {
			err = fmt.Errorf("%w: its body has %d bytes instead of %d", spool.ErrDamaged, n, e.size)
		}
		return nil, err
	}
	if err := verify(file, 0, e.size, h.bodyCRC); err != nil {
		file.Close()
		return nil, err
	}
	return &content{size: e.size, file: file, own: true}, nil
}

func readHeader(g *segment, at place) (header, error) {
	var b [headerSize]byte
	if err := readFull(g.file, b[:], int64(at.offset)); err != nil {
		return header{}, err
	}
	h, ok := decodeHeader(b[:], g.num, g.mark)
	if !ok {
		return h, damaged("header")
	}
	return h, nil
}

// verify reads a body and compares its checksum.
func verify(r io.ReaderAt, off, n int64, want uint32) error {
	buf := largeChunks.Get().(*[largeChunk]byte)
	defer largeChunks.Put(buf)
	var crc uint32
	for n > 0 {
		part := buf[:min(n, largeChunk)]
		if err := readFull(r, part, off); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, part)
		off += int64(len(part))
		n -= int64(len(part))
	}
	if crc != want {
		return damaged("content")
	}
	return nil
}

// content implements Content.
type content struct {
	size  int64
	store *Store

	mu    sync.RWMutex // guards what follows
	over  bool
	body  []byte // all of a small body
	buf   *[largeChunk]byte
	seg   *segment // referenced; nil: a file of its own, or in memory
	file  disk.File
	own   bool // file is ours to close
	start int64
}

func (c *content) Size() int64 { return c.size }

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.over {
		return 0, fs.ErrClosed
	}
	if off >= c.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > c.size-off
	if short {
		p = p[:c.size-off]
	}
	n := len(p)
	var err error
	if c.buf != nil {
		copy(p, c.body[off:])
	} else if n, err = c.file.ReadAt(p, c.start+off); n == len(p) {
		err = nil
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

func (c *content) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	c.over = true
	if c.buf != nil {
		largeChunks.Put(c.buf)
		c.buf, c.body = nil, nil
	}
	if c.seg != nil {
		c.store.release(c.seg)
	}
	if c.own {
		return c.file.Close()
	}
	return nil
}
