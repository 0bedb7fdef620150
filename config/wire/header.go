package wire

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"
)

const (
	MaxTextLine = 998  // octets of a line without its end (RFC 5322 §2.1.1)
	usualLine   = 78   // what a line should have at most (the same)
	maxWord     = 900  // of a field of ours, so that its line stays below MaxTextLine
	maxValue    = 1100 // of what others gave for a field of ours
)

var crlf = []byte("\r\n")

// FieldName is the length of the field name at the front of line, 0 if there
// is none (RFC 5322 §2.2; with blanks before the colon, §4.5.8).
func FieldName(line []byte) int {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7F && line[i] != ':' {
		i++
	}
	j := i
	for j < len(line) && (line[j] == ' ' || line[j] == '\t') {
		j++
	}
	if i == 0 || j == len(line) || line[j] != ':' {
		return 0
	}
	return i
}

// IsContinuation reports whether line, which isn't empty, goes on with the
// field of the line before (RFC 5322 §2.2.3).
func IsContinuation(line []byte) bool { return line[0] == ' ' || line[0] == '\t' }

// Unfold is the value of a field on one line (RFC 5322 §2.2.3).
func Unfold(value []byte) string { return string(bytes.ReplaceAll(value, crlf, nil)) }

// FieldText is s for the value of a field that is to be ASCII: whatever isn't
// becomes "?", at most 1,100 bytes. Nothing in it can begin another field.
func FieldText(s string) string {
	return replaced(s, maxValue, func(r rune) bool { return r >= ' ' && r <= '~' })
}

// Field is a header field with its line end, on lines of at most 78 octets
// where its words allow that. A word of more than 900 is parted, so that no
// line has more than 998. Blanks between words become one. value is ASCII
// without control characters, as of FieldText.
func Field(name, value string) string {
	line := []byte(name + ":")
	for word := range strings.FieldsSeq(value) {
		for len(word) > 0 {
			piece := word[:min(len(word), maxWord)]
			line = append(append(line, ' '), piece...)
			word = word[len(piece):]
		}
	}
	line = append(line, crlf...)
	return string(appendFolded(make([]byte, 0, len(line)+len(line)/usualLine*2+2), line, usualLine))
}

// FoldLong folds the lines of a header that are too long, where they have
// blanks: what is unfolded again is what it was. A word that is too long by
// itself stays so.
func FoldLong(h []byte) []byte {
	out := make([]byte, 0, len(h)+len(h)/MaxTextLine*2+2)
	for len(h) > 0 {
		n := bytes.IndexByte(h, '\n') + 1
		if n == 0 {
			n = len(h)
		}
		out = appendFolded(out, h[:n], MaxTextLine)
		h = h[n:]
	}
	return out
}

// appendFolded adds line in parts of at most limit octets.
func appendFolded(out, line []byte, limit int) []byte {
	for len(bytes.TrimSuffix(line, crlf)) > limit {
		at := foldAt(line, limit)
		if at < 0 {
			break
		}
		out = append(append(out, line[:at]...), crlf...)
		line = line[at:]
	}
	return append(out, line...)
}

// foldAt is where a line that is too long is folded: before the last blank that
// leaves a part that is short enough or, where there is none, before the next.
// The parts before and after have text (RFC 5322 §3.2.2). -1: nowhere.
func foldAt(line []byte, limit int) int {
	start := 0
	if n := FieldName(line); n > 0 && !IsContinuation(line) {
		start = n + bytes.IndexByte(line[n:], ':') + 1
	}
	for start < len(line) && (line[start] == ' ' || line[start] == '\t') {
		start++
	}
	end := len(bytes.TrimRight(line, " \t\r\n"))
	last := -1
	for i := start + 1; i < end; i++ {
		if line[i] != ' ' && line[i] != '\t' || line[i-1] == ' ' || line[i-1] == '\t' {
			continue
		}
		if i > limit && last >= 0 {
			break
		}
		last = i
		if i > limit {
			break
		}
	}
	return last
}

// maxMessageID bounds a Message-ID that is shown, in bytes.
const maxMessageID = 512

// MessageID is that of a message for a log, and for the references of a
// notice: the value of the field, as far as a reader sees it in one word, and
// at most 512 bytes of it. Whether it is one is a matter of IsMessageID.
func MessageID(value []byte) string {
	s := strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, Unfold(value))
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), maxMessageID)], ""))
}

// IsMessageID checks value against msg-id (RFC 5322 §3.6.4), with whatever
// visible signs of ASCII programs put in.
func IsMessageID[T string | []byte](value T) bool {
	if len(value) < 5 || value[0] != '<' || value[len(value)-1] != '>' {
		return false
	}
	at := -1
	inner := value[1 : len(value)-1]
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c <= ' ', c >= 0x7f, c == '<', c == '>':
			return false
		case c == '@':
			at = i
		}
	}
	return at > 0 && at < len(inner)-1
}

// maxPhrase bounds a name, in bytes, so that its line stays short.
const maxPhrase = 100

// AppendPhrase adds the name of somebody before their address, and a blank: as
// a quoted-string or, beyond ASCII, as encoded-words (RFC 2047). It adds
// nothing for a name that is empty, has more than 100 bytes, or holds an @,
// which would look like another address.
func AppendPhrase(b []byte, name string) []byte {
	name = strings.TrimSpace(Text(name, maxPhrase+1))
	if name == "" || len(name) > maxPhrase || strings.Contains(name, "@") {
		return b
	}
	if !IsASCII(name) {
		encoding := mime.QEncoding
		if strings.ContainsAny(name, "\"#$%&'(),.:;<>@[\\]^`{|}~") { // RFC 2047 §5(3): Go leaves them as they are
			encoding = mime.BEncoding
		}
		b = append(b, strings.ReplaceAll(encoding.Encode("utf-8", name), "\r\n", "")...)
		return append(b, ' ')
	}
	b = append(b, '"')
	b = append(b, quotedPairs.Replace(name)...)
	return append(b, `" `...)
}
