package convert

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"postern/config/wire"
	"postern/spool"
)

var (
	crlf   = []byte("\r\n")
	dashes = []byte("--")
)

// scan goes over a body once, line by line, and plans what becomes of it.
type scan struct {
	content spool.Content
	want    Want
	in      *bufio.Reader
	pos     int64 // of content, behind what was taken
	end     int64 // of content
	inLine  bool  // what was taken last had no line end
	open    []string
	parts   int

	plan     []segment
	kept     int64 // of content, behind what is planned
	out      int64 // planned
	literals int
}

func newScan(content spool.Content, from int64, want Want) *scan {
	end := content.Size()
	return &scan{
		content: content, want: want, pos: from, end: end, kept: from,
		in: bufio.NewReaderSize(io.NewSectionReader(content, from, end-from), 64<<10),
	}
}

// stop is where something ended: at a line that parts a multipart, or with the
// body.
type stop struct {
	level  int   // of open; -1: the body ended
	closes bool  // it is the last line of that multipart
	at     int64 // of content, where that line begins
}

// next takes a line, or what fits of it, up to a stop. It has no line where met.
func (s *scan) next() (line []byte, begins, met bool, at stop, err error) {
	begins = !s.inLine
	line, err = s.in.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
		return nil, false, false, stop{}, err
	}
	if len(line) == 0 {
		if s.pos != s.end {
			return nil, false, false, stop{}, io.ErrUnexpectedEOF
		}
		return nil, false, true, stop{level: -1, at: s.end}, nil
	}
	start := s.pos
	s.pos += int64(len(line))
	s.inLine = line[len(line)-1] != '\n'
	if begins && len(s.open) > 0 && bytes.HasPrefix(line, dashes) {
		level, closes, err := s.delimiter(line)
		if err != nil || level >= 0 {
			return nil, false, true, stop{level, closes, start}, err
		}
	}
	return line, begins, false, stop{}, nil
}

// delimiter is the multipart that line parts (RFC 2046 §5.1.1); -1: none.
func (s *scan) delimiter(line []byte) (level int, closes bool, err error) {
	for i := len(s.open) - 1; i >= 0; i-- {
		tail := line[2:]
		if len(tail) < len(s.open[i]) || string(tail[:len(s.open[i])]) != s.open[i] {
			continue
		}
		if s.inLine && s.pos < s.end {
			return 0, false, left("a line that parts it is too long")
		}
		tail = tail[len(s.open[i]):]
		closes := bytes.HasPrefix(tail, dashes)
		if closes {
			tail = tail[2:]
		}
		if len(bytes.Trim(tail, " \t\r\n")) == 0 {
			return i, closes, nil
		}
	}
	return -1, false, nil
}

// push opens a multipart. It fails where a line could be taken for that of two.
func (s *scan) push(boundary string) error {
	for _, b := range s.open {
		if b == boundary || b+"--" == boundary || b == boundary+"--" {
			return left("two of its multiparts have the same boundary")
		}
	}
	s.open = append(s.open, boundary)
	return nil
}

// seen is what was seen of a stretch of lines.
type seen struct {
	eight, long bool
	column      int // 1,000 and more are not told apart
}

func (e *seen) line(line []byte, begins bool) {
	if begins {
		e.column = 0
	}
	e.eight = e.eight || !wire.IsASCII(line)
	e.column = min(e.column+len(bytes.TrimSuffix(line, crlf)), 2*wire.MaxTextLine)
	e.long = e.long || e.column > wire.MaxTextLine
}

// skip goes on to the next stop.
func (s *scan) skip() (seen, stop, error) {
	var e seen
	for {
		line, begins, met, at, err := s.next()
		if err != nil || met {
			return e, at, err
		}
		e.line(line, begins)
	}
}

// entity reads the body of e, up to what ends it.
func (s *scan) entity(e *entity) (stop, error) {
	if s.parts++; s.parts > maxParts {
		return stop{}, left("it has too many parts")
	}
	if e.depth > maxDepth {
		return stop{}, left("its parts are too deep in each other")
	}
	switch {
	case e.sealed() || !e.plain():
		seen, at, err := s.skip()
		if err == nil && seen.eight && s.want.SevenBit {
			err = left("a part of 8 bits is signed, or in an encoding of its own")
		}
		if err != nil {
			return at, err
		}
		return at, s.header(e)
	case e.isMultipart():
		return s.multipart(e)
	case e.isMessage():
		if err := s.composite(e); err != nil {
			return stop{}, err
		}
		return s.part("text/plain", e.depth+1)
	}
	return s.leaf(e)
}

// composite plans the header of an entity that holds others. It can't be encoded
// (RFC 2045 §6.4), only what it holds.
func (s *scan) composite(e *entity) error {
	if s.want.SevenBit && e.encoding != "" && e.encoding != "7bit" {
		e.become = "7bit"
	}
	return s.header(e)
}

// header plans the header of e, which ends before what is planned next.
func (s *scan) header(e *entity) error {
	if e.outermost {
		return nil // that is not of the body
	}
	text, changed, err := e.edited(s.want)
	if err != nil || len(changed) == 0 {
		return err
	}
	s.copyTo(e.from)
	return s.replace(text, e.from+int64(len(e.fields)))
}

func (s *scan) multipart(e *entity) (stop, error) {
	boundary, err := e.boundary()
	if err != nil {
		return stop{}, err
	}
	if err := s.push(boundary); err != nil {
		return stop{}, err
	}
	level := len(s.open) - 1
	if err := s.composite(e); err != nil {
		return stop{}, err
	}
	at, err := s.aside()
	for err == nil && at.level == level && !at.closes {
		at, err = s.part(e.partType(), e.depth+1)
	}
	s.open = s.open[:level]
	if err != nil || at.level != level {
		return at, err
	}
	return s.aside()
}

// aside goes over what stands before the first part and behind the last, which
// nobody is to read (RFC 2046 §5.1.1) and nothing can encode: what isn't ASCII
// becomes "?".
func (s *scan) aside() (stop, error) {
	from := s.pos
	seen, at, err := s.skip()
	if err == nil && seen.eight && s.want.SevenBit {
		s.copyTo(from)
		s.recode(masked, at.at, at.at-from)
	}
	return at, err
}

// part reads an entity from its header on. usual is its type if it doesn't say.
func (s *scan) part(usual string, depth int) (stop, error) {
	from := s.pos
	var fields []byte
	for {
		line, begins, met, at, err := s.next()
		if err != nil {
			return at, err
		}
		if !met && begins && bytes.Equal(line, crlf) {
			break
		}
		if met { // it has no body
			e, err := parse(fields, usual)
			if err == nil {
				e.from = from
				err = s.header(e)
			}
			return at, err
		}
		if begins && wire.FieldName(line) == 0 && (len(fields) == 0 || !wire.IsContinuation(line)) {
			return at, left("a header of a part holds what is no field")
		}
		if fields = append(fields, line...); len(fields) > maxHeader {
			return at, left("a header of a part is too large")
		}
	}
	e, err := parse(fields, usual)
	if err != nil {
		return stop{}, err
	}
	e.from, e.depth = from, depth
	return s.entity(e)
}

// leaf reads an entity that holds no others, and plans how it is encoded.
func (s *scan) leaf(e *entity) (stop, error) {
	from := s.pos
	seen, at, err := s.skip()
	if err != nil {
		return at, err
	}
	to := at.at
	if at.level >= 0 { // the line end before the line that parts is a part of that
		to = max(from, to-2)
	}
	eight := seen.eight && s.want.SevenBit
	switch fixed := e.hasToBe7bit(); {
	case fixed && eight:
		return at, left("a part that may not be encoded has 8 bits")
	case fixed, to == from, !eight && !(seen.long && s.want.LongLines):
		return at, s.header(e)
	}
	k := base64Lines
	e.become = "base64"
	if e.isText() {
		k, e.become = quotedPrintable, "quoted-printable"
	}
	if !e.typed && e.outermost {
		if e.charset, err = s.charset(from, to); err != nil {
			return at, err
		}
	}
	size, err := s.recodedSize(k, from, to)
	if err != nil {
		return at, err
	}
	if err := s.header(e); err != nil {
		return at, err
	}
	s.copyTo(from)
	s.recode(k, to, size)
	if k == base64Lines && at.level < 0 {
		return at, s.replace(crlf, to)
	}
	return at, nil
}

// charset is that of a text which doesn't say (RFC 1428 has the name for one
// that nobody knows).
func (s *scan) charset(from, to int64) (string, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(s.content, from, to-from), 32<<10)
	for {
		r, n, err := in.ReadRune()
		switch {
		case errors.Is(err, io.EOF):
			return "utf-8", nil
		case err != nil:
			return "", err
		case r == utf8.RuneError && n == 1:
			return unknownCharset, nil
		}
	}
}

const unknownCharset = "unknown-8bit"
