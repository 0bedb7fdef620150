package wire

import "bytes"

// Lines follows the line ends of text as it streams by, in pieces of any size.
// A CR or LF that is not part of a CRLF is a fault (RFC 5321 §2.3.8): servers
// that take one for a line end can be made to see a message within a message.
// Nothing is kept but the position in a line, so how the bytes were split over
// pieces changes nothing.
//
// It does what Dots says with dots at the start of a line. The zero value
// stands at the start of text whose dots are its own.
type Lines struct {
	Dots Dots
	at   lineAt
	ends lineEnds
}

// Dots says what is done with a dot at the start of a line (RFC 5321 §4.5.2).
type Dots uint8

// What is done with dots.
const (
	KeepDots   Dots = iota // they are text: BDAT
	RemoveDots             // received by DATA; CRLF "." CRLF is the end (§4.1.1.4), and there is no other
	DoubleDots             // sent by DATA
)

type lineAt uint8

const (
	atStart  lineAt = iota // after CRLF, or at the very start
	atMid                  // anywhere else
	atCR                   // after a CR that was not handed on yet
	atDot                  // after a dot at the start of a line, not handed on
	atDotCR                // after such a dot and a CR
	atDouble               // before a dot that has to be doubled
)

// Stop is why Next looked no further.
type Stop uint8

// Why Next stops.
const (
	More Stop = iota // all was used; out goes on
	Span             // out goes on, there is more to look at
	End              // the end of data
	Bare             // a bare CR or LF; it was used and is not in out
)

var oneDot = []byte(".")

// Next looks at b, and returns what of the text is certain, how much of b was
// used, and why it stopped. out is part of b or constant.
func (l *Lines) Next(b []byte) (out []byte, used int, why Stop) {
	if len(b) == 0 {
		return nil, 0, More
	}
	if l.ends != endsCRLF {
		return l.nextLF(b)
	}
	switch l.at {
	case atCR:
		l.at = atMid
		if b[0] != '\n' {
			return nil, 0, Bare
		}
		l.at = atStart
		return crlf, 1, Span
	case atDot:
		if b[0] == '\r' {
			l.at = atDotCR
			return nil, 1, Span
		}
		l.at = atMid // RFC 5321 §4.5.2: the dot is removed
	case atDotCR:
		if b[0] == '\n' {
			l.at = atStart
			return nil, 1, End
		}
		l.at = atMid
		return nil, 0, Bare
	case atDouble:
		l.at = atMid
		return oneDot, 0, Span
	}
	return l.run(b)
}

// run goes on from atStart or atMid, with the longest piece that it can.
func (l *Lines) run(b []byte) (out []byte, used int, why Stop) {
	i := 0
	for i < len(b) {
		if l.at == atStart && l.Dots != KeepDots && b[i] == '.' {
			if l.Dots == DoubleDots {
				l.at = atDouble
				return b[:i], i, Span
			}
			l.at = atDot
			return b[:i], i + 1, Span
		}
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return l.tail(b, i)
		}
		switch cr := bytes.IndexByte(b[i:i+n], '\r'); {
		case cr < 0: // bare LF
			l.at = atMid
			return b[:i+n], i + n + 1, Bare
		case cr < n-1: // bare CR
			l.at = atMid
			return b[:i+cr], i + cr + 1, Bare
		}
		i += n + 1
		l.at = atStart
	}
	return b, len(b), More
}

// tail is the last, unfinished line of b, which begins at i.
func (l *Lines) tail(b []byte, i int) (out []byte, used int, why Stop) {
	cr := bytes.IndexByte(b[i:], '\r')
	switch {
	case cr < 0:
		l.at = atMid
		return b, len(b), More
	case i+cr == len(b)-1:
		l.at = atCR
		return b[:len(b)-1], len(b), More
	}
	l.at = atMid
	return b[:i+cr], i + cr + 1, Bare
}

// Finish ends text that has no end of data of its own. lacks is what it lacks
// for its last line to be whole: nothing or CRLF. bare: a CR was its last
// byte; it was not handed on. Afterwards l stands at the start of a line.
func (l *Lines) Finish() (lacks []byte, bare bool) {
	bare = l.at == atCR
	if l.at != atStart {
		lacks = crlf
	}
	l.at = atStart
	return lacks, bare
}

// lineEnds is what lines end in, where LF may take the place of CRLF.
type lineEnds uint8

const (
	endsCRLF    lineEnds = iota
	endsUnknown          // the first line is not over
	endsLF               // LF "." LF is the end of data
)

// AllowLF is for a client whose command DATA ended in LF, where the listener
// normalises. It may go on with LF or with CRLF: the end of its first line says
// which. From then on there is one end of data, as everywhere: a relay that
// lets text of others through, and so has to be kept from smuggling, sends its
// commands with CRLF and never comes here. Call it before Next.
func (l *Lines) AllowLF() { l.ends = endsUnknown }

// nextLF is Next for a client that may end its lines in LF. Each LF is
// returned as Bare, like every other that has to become CRLF.
func (l *Lines) nextLF(b []byte) (out []byte, used int, why Stop) {
	switch l.at {
	case atCR:
		if b[0] != '\n' {
			l.at = atMid
			return nil, 0, Bare
		}
		l.at = atStart
		if l.ends == endsUnknown {
			l.ends = endsCRLF
		}
		return crlf, 1, Span
	case atStart:
		if l.Dots == RemoveDots && b[0] == '.' {
			l.at = atDot
			return nil, 1, Span
		}
	case atDot:
		switch b[0] {
		case '\n':
			l.at = atStart
			return nil, 1, End
		case '\r':
			l.at = atDotCR
			return nil, 1, Span
		}
	case atDotCR:
		if b[0] == '\n' && l.ends == endsUnknown {
			l.at = atStart
			return nil, 1, End
		}
		l.at = atCR // the dot was stuffed, and the line goes on with a CR
		return nil, 0, Span
	}
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		l.at = atMid
		return b, len(b), More
	case b[i] == '\r':
		l.at = atCR
		return b[:i], i + 1, Span
	}
	l.at, l.ends = atStart, endsLF
	return b[:i], i + 1, Bare
}

// WholeLines reports whether every CR and LF of b is part of a CRLF.
func WholeLines(b []byte) bool {
	n := bytes.Count(b, crlf)
	return bytes.Count(b, crlf[:1]) == n && bytes.Count(b, crlf[1:]) == n
}

// SevenBit reports whether text can go out as 7bit (RFC 2045 §2.7): printable
// ASCII and tabs, whole lines, and none that is longer than RFC 5321
// §4.5.3.1.6 allows.
func SevenBit(text []byte) bool {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, crlf)
		if len(line) > MaxTextLine {
			return false
		}
		for _, c := range line {
			if (c < ' ' || c > '~') && c != '\t' {
				return false
			}
		}
	}
	return true
}
