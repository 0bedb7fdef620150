package intake

import "bytes"

// lines checks text as it streams by, in pieces of any size, and finds its
// end. There is one end of data, CRLF "." CRLF (RFC 5321 §4.1.1.4), and a CR
// or LF that is not part of a CRLF is a fault (§2.3.8). Nothing is kept but
// the position in a line, so how the bytes were split over reads changes
// nothing.
type lines struct {
	at   lineAt
	dots bool // DATA: remove stuffed dots, look for the end
	ends ends
}

type lineAt uint8

const (
	atStart lineAt = iota // after CRLF, or at the very start
	atMid                 // anywhere else
	atCR                  // after a CR that was not handed on yet
	atDot                 // after a dot at the start of a line, not handed on
	atDotCR               // after such a dot and a CR
)

// A scan is what came of one look at the buffer.
type scan uint8

const (
	scanMore scan = iota // all was used; out goes on
	scanSpan             // out goes on, there is more to look at
	scanEnd              // the end of data
	scanBare             // a bare CR or LF; it was used and is not in out
)

var crlf = []byte("\r\n")

// next looks at b, and returns what of the content is certain, how much of b
// was used, and why it stopped. out is part of b or constant.
func (l *lines) next(b []byte) (out []byte, used int, why scan) {
	if len(b) == 0 {
		return nil, 0, scanMore
	}
	if l.ends != endsCRLF {
		return l.nextLF(b)
	}
	switch l.at {
	case atCR:
		l.at = atMid
		if b[0] != '\n' {
			return nil, 0, scanBare
		}
		l.at = atStart
		return crlf, 1, scanSpan
	case atDot:
		if b[0] == '\r' {
			l.at = atDotCR
			return nil, 1, scanSpan
		}
		l.at = atMid // RFC 5321 §4.5.2: the dot is removed
	case atDotCR:
		if b[0] == '\n' {
			l.at = atStart
			return nil, 1, scanEnd
		}
		l.at = atMid
		return nil, 0, scanBare
	}
	return l.run(b)
}

// run goes on from atStart or atMid, with the longest piece that it can.
func (l *lines) run(b []byte) (out []byte, used int, why scan) {
	i := 0
	for i < len(b) {
		if l.at == atStart && l.dots && b[i] == '.' {
			l.at = atDot
			return b[:i], i + 1, scanSpan
		}
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return l.tail(b, i)
		}
		switch cr := bytes.IndexByte(b[i:i+n], '\r'); {
		case cr < 0: // bare LF
			l.at = atMid
			return b[:i+n], i + n + 1, scanBare
		case cr < n-1: // bare CR
			l.at = atMid
			return b[:i+cr], i + cr + 1, scanBare
		}
		i += n + 1
		l.at = atStart
	}
	return b, len(b), scanMore
}

// tail is the last, unfinished line of b, which begins at i.
func (l *lines) tail(b []byte, i int) (out []byte, used int, why scan) {
	cr := bytes.IndexByte(b[i:], '\r')
	switch {
	case cr < 0:
		l.at = atMid
		return b, len(b), scanMore
	case i+cr == len(b)-1:
		l.at = atCR
		return b[:len(b)-1], len(b), scanMore
	}
	l.at = atMid
	return b[:i+cr], i + cr + 1, scanBare
}
