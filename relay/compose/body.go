package compose

import (
	"encoding/base64"
	"strings"
)

// An encoding is a Content-Transfer-Encoding (RFC 2045 §6).
type encoding uint8

const (
	sevenBit encoding = iota
	quotedPrintable
	base64Lines
	eightBit
)

var encodingNames = [...]string{"7bit", "quoted-printable", "base64", "8bit"}

// lines calls visit for each line of s, without its end, which may be CRLF, LF
// or CR.
func lines(s string, visit func(line string)) {
	if strings.IndexByte(s, '\r') < 0 {
		for len(s) > 0 {
			var line string
			line, s, _ = strings.Cut(s, "\n")
			visit(line)
		}
		return
	}
	for len(s) > 0 {
		n := strings.IndexAny(s, "\r\n")
		if n < 0 {
			visit(s)
			return
		}
		visit(s[:n])
		if s[n] == '\r' && n+1 < len(s) && s[n+1] == '\n' {
			n++
		}
		s = s[n+1:]
	}
}

// encodingOf is how a text is written: as it is where every program leaves it
// so, in quoted-printable otherwise, and in base64 where quoted-printable would
// be longer, as it is for most scripts that aren't Latin.
func encodingOf(s string) encoding {
	plain, escapes := true, 0
	lines(s, func(line string) {
		plain = plain && len(line) <= maxLine && !fragile(line) && !endsBlank(line) && !strings.HasPrefix(line, bounding)
		for i := range len(line) {
			if !literal[line[i]] {
				escapes++
				plain = plain && line[i] == '='
			}
		}
	})
	switch {
	case plain:
		return sevenBit
	case escapes > len(s)/3:
		return base64Lines
	}
	return quotedPrintable
}

// bounding is how each boundary begins. No line of quoted-printable or base64
// does.
const bounding = "--=_"

// fragile tells of lines that mail programs change on the way: "From " gets a >
// in mailboxes of the mbox kind, and a dot is doubled.
func fragile(line string) bool {
	return strings.HasPrefix(line, "From ") || strings.HasPrefix(line, ".")
}

func endsBlank(line string) bool {
	return line != "" && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t')
}

// appendText adds s in an encoding, with CRLF at the end of each line and of
// the last one.
func appendText(b []byte, s string, e encoding) []byte {
	switch e {
	case quotedPrintable:
		lines(s, func(line string) { b = append(appendQuoted(b, line), "\r\n"...) })
	case base64Lines:
		whole := make([]byte, 0, len(s)+len(s)/16+2)
		lines(s, func(line string) { whole = append(append(whole, line...), "\r\n"...) })
		b = append(appendBase64(b, whole), "\r\n"...)
	default:
		lines(s, func(line string) { b = append(append(b, line...), "\r\n"...) })
	}
	if s == "" {
		b = append(b, "\r\n"...)
	}
	return b
}

// literal has what stands for itself in quoted-printable; blanks at the end of
// a line do not (RFC 2045 §6.7).
var literal = func() (t [256]bool) {
	for c := byte(' '); c <= '~'; c++ {
		t[c] = c != '='
	}
	t['\t'] = true
	return t
}()

// appendQuoted adds one line in quoted-printable, in lines of at most 76.
func appendQuoted(b []byte, line string) []byte {
	column := 0
	for i := 0; i < len(line); {
		n := i
		if column > 0 || !fragile(line[i:]) {
			for n < len(line) && n-i < maxLine-1-column && literal[line[n]] {
				n++
			}
			if n == len(line) && endsBlank(line) {
				n--
			}
		}
		if n > i {
			b = append(b, line[i:n]...)
			column += n - i
			i = n
			continue
		}
		if !literal[line[i]] || column == 0 || i == len(line)-1 && endsBlank(line) {
			if column+len("=00") <= maxLine-1 {
				c := line[i]
				b = append(b, '=', hex[c>>4], hex[c&15])
				column += len("=00")
				i++
				continue
			}
		}
		b = append(b, "=\r\n"...)
		column = 0
	}
	return b
}

// perLine is how many octets a line of base64 stands for (RFC 2045 §6.8).
const perLine = maxLine / 4 * 3

// base64Size is the length of n octets in base64, without the end of the last
// line.
func base64Size(n int64) int64 {
	if n == 0 {
		return 0
	}
	return (n+2)/3*4 + (n-1)/perLine*2
}

// appendBase64 adds p in lines, without the end of the last one.
func appendBase64(b, p []byte) []byte {
	for len(p) > perLine {
		b = base64.StdEncoding.AppendEncode(b, p[:perLine])
		b = append(b, "\r\n"...)
		p = p[perLine:]
	}
	return base64.StdEncoding.AppendEncode(b, p)
}
