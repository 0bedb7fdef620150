package convert

import (
	"errors"
	"io"
	"slices"

	"postern/spool"
)

// What is read of a message at most.
const (
	maxParts    = 1000     // of one message
	maxDepth    = 30       // of parts in parts
	maxHeader   = 64 << 10 // of one part, in bytes
	maxLiterals = 1 << 20  // of all headers of parts that are changed, in bytes
)

// Want is what is to be converted.
type Want struct {
	// SevenBit: all that has a byte above 127, headers too. Then parts are
	// looked at for LongLines, too.
	SevenBit bool
	// LongLines: parts with a line of more than 998 octets (RFC 5322 §2.1.1).
	LongLines bool
	// Header: the outermost header, where it has a byte above 127.
	Header bool
}

// Result is a message that was converted.
type Result struct {
	// Header is its fields, each with CRLF at its end, without the empty line.
	Header []byte
	// Body is what follows the empty line; nil: what followed it before.
	Body *Body
	// Changed are fields of Header that are not what they were, in lower case.
	Changed []string
}

// ErrLeft means that a message cannot be converted as it is wanted. The error
// that wraps it says why.
var ErrLeft = errors.New("not converted")

// left is an ErrLeft with its reason.
type left string

func (l left) Error() string { return "not converted: " + string(l) }
func (left) Unwrap() error   { return ErrLeft }

// Convert finds how a message is converted. header is its fields, each with
// CRLF at its end; the body is content from the byte at from on, in lines that
// end in CRLF. The result is nil where nothing is to be converted. An error is
// ErrLeft, or that of reading content. The body of the result reads content.
func Convert(header []byte, content spool.Content, from int64, want Want) (*Result, error) {
	want.LongLines = want.LongLines || want.SevenBit
	top, err := parse(header, "text/plain")
	if err != nil {
		return nil, err
	}
	top.outermost = true
	var body *Body
	if want.LongLines {
		s := newScan(content, from, want)
		if _, err := s.entity(top); err != nil {
			return nil, err
		}
		body = s.finish()
	}
	top.recoded = body != nil
	out, changed, err := top.edited(want)
	if err != nil {
		return nil, err
	}
	if body == nil && len(changed) == 0 {
		return nil, nil
	}
	return &Result{Header: out, Body: body, Changed: changed}, nil
}

// finish is what was planned for the body; nil: nothing changes.
func (s *scan) finish() *Body {
	if !slices.ContainsFunc(s.plan, func(g segment) bool { return g.kind != asIs }) {
		return nil
	}
	s.copyTo(s.end)
	return &Body{content: s.content, plan: s.plan, size: s.out}
}

// copyTo plans what lies in content before off, as it is.
func (s *scan) copyTo(off int64) { s.recode(asIs, off, off-s.kept) }

// recode plans what lies in content before off in the form k, of size bytes.
func (s *scan) recode(k kind, off, size int64) {
	if n := off - s.kept; n > 0 {
		s.plan = append(s.plan, segment{kind: k, at: s.kept, n: n, out: s.out})
		s.out += size
	}
	s.kept = off
}

// replace plans text in the place of what lies in content before off.
func (s *scan) replace(text []byte, off int64) error {
	if s.literals += len(text); s.literals > maxLiterals {
		return left("too much of its headers would change")
	}
	s.plan = append(s.plan, segment{kind: literal, text: text, out: s.out})
	s.out += int64(len(text))
	s.kept = off
	return nil
}

// recodedSize is how large the bytes of content from..to become.
func (s *scan) recodedSize(k kind, from, to int64) (int64, error) {
	if k == base64Lines {
		return base64Size(to - from), nil
	}
	return io.Copy(io.Discard, newQuoter(io.NewSectionReader(s.content, from, to-from)))
}
