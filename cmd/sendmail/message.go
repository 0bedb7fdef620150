package sendmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/cmd/step"
	"postern/config/wire"
	"postern/relay/compose"
)

// maxHeader is what the relay takes of a header, in bytes, and a little more:
// it is the relay that refuses it.
const maxHeader = 512 << 10

// message is what standard input holds. Its lines end with CRLF.
type message struct {
	step.Held
	to []string // of its header, where they are wanted
}

// read takes a message from in, whose lines may end in CRLF, LF or CR, and the
// last in nothing. The recipients of its header are found where wanted; the
// error is a *Failure.
func read(in io.Reader, ignoreDots, wanted bool) (*message, error) {
	m := &message{}
	text := &lines{in: in, dots: !ignoreDots, buf: make([]byte, 64<<10), start: true}
	head, body, err := text.header()
	if err != nil {
		return nil, err
	}
	if err := m.header(head, wanted); err != nil {
		return nil, err
	}
	if err := m.put(append([]byte("\r\n"), body...)); err != nil {
		return nil, err
	}
	for {
		piece, err := text.next()
		if kept := m.put(piece); kept != nil {
			return nil, kept
		}
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
	}
}

// header reads until the header is whole, and returns that with whatever of
// the body came along.
func (l *lines) header() (head, body []byte, err error) {
	var all []byte
	for from := 0; len(all) < maxHeader; {
		piece, err := l.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, unreadable(err)
		}
		all = append(all, piece...)
		mail := all[mboxLines(all):] // what is dropped was whole before from was more than 0
		end, rest, found := wire.HeaderEnd(mail, from)
		switch {
		case found:
			return mail[:end], mail[rest:], nil
		case err != nil:
			return mail[:end], mail[end:], nil
		}
		from = end
	}
	return nil, nil, &Failure{Code: DataErr, Text: fmt.Sprintf("the header of the message is larger than %d KiB", maxHeader>>10)}
}

// mboxLines is the length of lines of an mbox file before the header.
func mboxLines(b []byte) (n int) {
	for bytes.HasPrefix(b[n:], []byte("From ")) || bytes.HasPrefix(b[n:], []byte(">From ")) {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			return n
		}
		n += end + 1
	}
	return n
}

func (m *message) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := m.Write(p); err != nil {
		return &Failure{Code: CantCreate, Text: "the message cannot be kept while it is sent: " + err.Error()}
	}
	return nil
}

// header keeps the header. A Subject in UTF-8 that is not encoded, as PHP
// writes it, is; other fields pass as they are.
func (m *message) header(h []byte, wanted bool) error {
	resent := &resentBlock{}
	var own []string
	var failed error
	kept := 0
	var out []byte
	wire.EachField(h, func(name, value []byte, start, end int) {
		lower := strings.ToLower(string(name))
		switch lower {
		case "subject":
			if text := wire.Unfold(value); !wire.IsASCII(text) && utf8.ValidString(text) && !strings.Contains(text, "=?") {
				out = append(append(out, h[kept:start]...), compose.Text(string(name), text)...)
				kept = end
			}
		}
		if !wanted || failed != nil {
			return
		}
		of := &own
		if strings.HasPrefix(lower, "resent-") {
			of = &resent.to
			if !resent.has(lower) {
				return
			}
		} else {
			resent.other(lower)
		}
		switch strings.TrimPrefix(lower, "resent-") {
		case "to", "cc", "bcc":
			list, err := wire.Addresses(wire.Unfold(value))
			if err != nil {
				failed = &Failure{Code: DataErr, Text: fmt.Sprintf("%s: %v", wire.Line(string(name)), err)}
			}
			*of = append(*of, list...)
		}
	})
	if failed != nil {
		return failed
	}
	if m.to = own; resent.begun {
		m.to = resent.to
	}
	return m.put(append(out, h[kept:]...))
}

// resentBlock is the first block of Resent- fields of a header, which is the
// last time that it was sent anew (RFC 5322 §3.6.6).
type resentBlock struct {
	begun, ended bool
	seen         []string
	to           []string
}

// has tells whether a Resent- field belongs to the block.
func (b *resentBlock) has(name string) bool {
	b.begun = true
	once := name != "resent-to" && name != "resent-cc" && name != "resent-bcc"
	b.ended = b.ended || once && slices.Contains(b.seen, name)
	b.seen = append(b.seen, name)
	return !b.ended
}

// other is a field that is not one of Resent-.
func (b *resentBlock) other(name string) {
	b.ended = b.ended || b.begun && name != "received" && name != "return-path"
}

func unreadable(err error) error {
	return &Failure{Code: NoInput, Text: "standard input cannot be read: " + err.Error()}
}

// lines makes every line end with CRLF.
type lines struct {
	in   io.Reader
	dots bool // a line with nothing but a dot ends the message
	buf  []byte
	out  []byte
	// Where it is: at the start of a line, behind a dot there, behind a CR.
	start, dot, cr, ended bool
}

// next is the next piece, valid until the one after it. With the last one comes
// io.EOF.
func (l *lines) next() ([]byte, error) {
	l.out = l.out[:0]
	if l.ended {
		return nil, io.EOF
	}
	n, err := l.in.Read(l.buf)
	for _, c := range l.buf[:n] {
		if l.add(c); l.ended {
			return l.out, io.EOF
		}
	}
	if !errors.Is(err, io.EOF) {
		return l.out, err
	}
	l.ended = true
	if !l.start && !l.dot {
		l.out = append(l.out, "\r\n"...)
	}
	return l.out, io.EOF
}

func (l *lines) add(c byte) {
	after := l.cr
	l.cr = c == '\r'
	switch {
	case c == '\n' && after: // of CRLF
	case c == '\n' || c == '\r':
		if l.ended = l.dot; l.dot {
			return
		}
		l.out = append(l.out, "\r\n"...)
		l.start = true
	case l.start && c == '.' && l.dots:
		l.start, l.dot = false, true
	case l.dot:
		// Whoever expects a dot to end the message doubles those that don't.
		if l.dot = false; c != '.' {
			l.out = append(l.out, '.')
		}
		l.out = append(l.out, c)
	default:
		l.start = false
		l.out = append(l.out, c)
	}
}
