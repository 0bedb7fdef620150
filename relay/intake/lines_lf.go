package intake

import "bytes"

// ends is what lines of a message end in, where the listener normalises. A
// client whose command DATA ended in LF may go on with LF or with CRLF: the
// end of its first line says which. From then on there is one end of data, as
// everywhere: a relay that lets text of others through, and so has to be kept
// from smuggling, sends its commands with CRLF and never comes here.
type ends uint8

const (
	endsCRLF    ends = iota
	endsUnknown      // the first line is not over
	endsLF           // LF "." LF is the end of data
)

// nextLF is next for a client that may end its lines in LF. Each LF is
// returned as scanBare, like every other that has to become CRLF.
func (l *lines) nextLF(b []byte) (out []byte, used int, why scan) {
	switch l.at {
	case atCR:
		if b[0] != '\n' {
			l.at = atMid
			return nil, 0, scanBare
		}
		l.at = atStart
		if l.ends == endsUnknown {
			l.ends = endsCRLF
		}
		return crlf, 1, scanSpan
	case atStart:
		if l.dots && b[0] == '.' {
			l.at = atDot
			return nil, 1, scanSpan
		}
	case atDot:
		switch b[0] {
		case '\n':
			l.at = atStart
			return nil, 1, scanEnd
		case '\r':
			l.at = atDotCR
			return nil, 1, scanSpan
		}
	case atDotCR:
		if b[0] == '\n' && l.ends == endsUnknown {
			l.at = atStart
			return nil, 1, scanEnd
		}
		l.at = atCR // the dot was stuffed, and the line goes on with a CR
		return nil, 0, scanSpan
	}
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		l.at = atMid
		return b, len(b), scanMore
	case b[i] == '\r':
		l.at = atCR
		return b[:i], i + 1, scanSpan
	}
	l.at, l.ends = atStart, endsLF
	return b[:i], i + 1, scanBare
}
