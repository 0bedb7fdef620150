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
	m, err := decodeMeta(h.kind, string(buf[headerSize:]))
	return m.env, m.snap, m.of, err
}

// decodeMeta decodes the meta part of a message record. The strings are parts
// of meta.
func decodeMeta(kind byte, meta string) (message, error) {
	if kind != recMessage && kind != recMoved {
		return message{}, damaged("type")
	}
	m, c := decodeMessage(kind, meta)
	return m, c.fault("envelope")
}

// decodeMessage is decodeMeta; the cursor tells whether all was read.
func decodeMessage(kind byte, meta string) (m message, c cursor) {
	envelope, rest, ok := meta, "", true
	if kind == recMoved {
		envelope, rest, ok = cutMoved(meta)
	}
	c.rest = envelope
	m = readEnvelope(&c)
	if !c.done() || !ok {
		c.fail()
		return m, c
	}
	if kind == recMoved {
		c.rest = rest
		snap := readSnapshot(&c)
		m.snap = &snap
	}
	return m, c
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
	var prefix []byte
	if e.prefix() > 0 {
		env, _, _, err := s.readMeta(g, e.at, e.metaLen)
		if err != nil {
			return nil, err
		}
		prefix = env.Prefix
	}
	c, err := s.openBody(g, e)
	if c != nil {
		c.prefix, c.size = prefix, int64(len(prefix))+c.size
	}
	return c, err
}

// openBody opens what is kept apart from the envelope.
func (s *Store) openBody(g *segment, e *entry) (*content, error) {
	size := e.body()
	if e.is(big) {
		return s.openBig(g, e)
	}
	start := int64(e.at.offset) + headerSize + int64(e.metaLen)
	if n := headerSize + int64(e.metaLen) + size; n <= inMemory {
		buf := largeChunks.Get().(*[largeChunk]byte)
		if err := readFull(g.file, buf[:n], int64(e.at.offset)); err != nil {
			largeChunks.Put(buf)
			return nil, err
		}
		body := buf[n-size : n]
		if h, ok := decodeHeader(buf[:n], g.num, g.mark); !ok || h.bodyCRC != checksum(body) {
			largeChunks.Put(buf)
			return nil, damaged("content")
		}
		return &content{size: size, body: body, buf: buf}, nil
	}
	h, err := readHeader(g, e.at)
	if err != nil {
		return nil, err
	}
	if err := verify(g.file, start, size, h.bodyCRC); err != nil {
		return nil, err
	}
	return &content{size: size, store: s, seg: g, file: g.file, start: start}, nil
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
	if n, err := file.Size(); err != nil || n != e.body() {
		file.Close()
		if err == nil {
			err = fmt.Errorf("%w: its body has %d bytes instead of %d", spool.ErrDamaged, n, e.body())
		}
		return nil, err
	}
	if err := verify(file, 0, e.body(), h.bodyCRC); err != nil {
		file.Close()
		return nil, err
	}
	return &content{size: e.body(), file: file, own: true}, nil
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
	size   int64
	prefix []byte // stands before what follows
	store  *Store

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
	n, err := 0, error(nil)
	if before := int64(len(c.prefix)); off < before {
		n = copy(p, c.prefix[off:])
		off = before
	}
	if rest := p[n:]; len(rest) > 0 {
		var k int
		k, err = c.readBody(rest, off-int64(len(c.prefix)))
		n += k
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// readBody fills p, which doesn't reach beyond the end.
func (c *content) readBody(p []byte, off int64) (int, error) {
	if c.buf != nil {
		return copy(p, c.body[off:]), nil
	}
	n, err := c.file.ReadAt(p, c.start+off)
	if n == len(p) {
		err = nil
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
