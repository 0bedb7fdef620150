package compose

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/config/wire"
)

const (
	maxLine = 76 // octets of a line of the header (RFC 2047 §2)
	maxWord = 75 // octets of an encoded-word (the same)
	hex     = "0123456789ABCDEF"
)

// A header is written field by field. It knows where in its line it is, so that
// no line is longer than maxLine but for a single address, identifier or URL
// that is.
type header struct {
	b     []byte
	start int // of the line
}

func (h *header) column() int { return len(h.b) - h.start }

func (h *header) put(s string) { h.b = append(h.b, s...) }

func (h *header) begin(name string) {
	h.start = len(h.b)
	h.put(name)
	h.b = append(h.b, ':')
}

func (h *header) end() {
	h.put("\r\n")
	h.start = len(h.b)
}

// space goes on after a blank, on the next line where n more octets don't fit.
func (h *header) space(n int) {
	if h.column()+1+n > maxLine {
		h.end()
	}
	h.b = append(h.b, ' ')
}

// raw is a field whose value is short ASCII of ours.
func (h *header) raw(name, value string) {
	h.begin(name)
	h.space(0)
	h.put(value)
	h.end()
}

// Text is an unstructured field with its line ends (RFC 5322 §2.2.1), on short
// lines and in ASCII: what isn't is written as encoded-words (RFC 2047). value
// is UTF-8.
func Text(name, value string) []byte {
	h := &header{}
	h.text(name, value)
	return h.b
}

// text is an unstructured field (RFC 5322 §2.2.1).
func (h *header) text(name, value string) {
	h.begin(name)
	if value = strings.TrimSpace(value); value != "" {
		if plainWords(value, maxLine-h.column()-1) {
			h.words(value)
		} else {
			h.encoded(value)
		}
	}
	h.end()
}

// structured is a field whose words mean something to a program: they are
// never encoded.
func (h *header) structured(name, value string) {
	h.begin(name)
	for i, word := range strings.Fields(value) {
		if i == 0 {
			h.space(0)
		} else {
			h.space(len(word))
		}
		h.put(word)
	}
	h.end()
}

// plainWords reports whether s can be written as it is, and be folded: one
// blank between words, none of which is too long or looks encoded.
func plainWords(s string, first int) bool {
	if !wire.Printable(s) || strings.Contains(s, "=?") {
		return false
	}
	limit, n := first, 0
	for i := range len(s) {
		if s[i] != ' ' {
			if n++; n > limit {
				return false
			}
			continue
		}
		if n == 0 {
			return false
		}
		limit, n = maxWord, 0
	}
	return n > 0
}

// words writes s, of which plainWords is true.
func (h *header) words(s string) {
	if h.column()+1+len(s) <= maxLine {
		h.b = append(h.b, ' ')
		h.put(s)
		return
	}
	for word := range strings.SplitSeq(s, " ") {
		h.space(len(word))
		h.put(word)
	}
}

// encoded writes s as encoded-words in which each character is whole (RFC 2047
// §5: parted ones would not be text), after a blank.
func (h *header) encoded(s string) {
	h.b = append(h.b, ' ')
	h.encodedWords(s)
}

const (
	wordStartB = "=?utf-8?B?"
	wordStartQ = "=?utf-8?Q?"
	wordFrame  = len(wordStartB) + len("?=")
)

func (h *header) encodedWords(s string) {
	inQ, inB := 0, (len(s)+2)/3*4
	for i := range len(s) {
		if plainQ(s[i]) {
			inQ++
		} else {
			inQ += 3
		}
	}
	for first := true; len(s) > 0; first = false {
		room := min(maxWord, maxLine-h.column()) - wordFrame
		if !first || room < 4*utf8.UTFMax {
			if h.column() > 1 {
				h.end()
				h.b = append(h.b, ' ')
			}
			room = maxWord - wordFrame
		}
		if inQ <= inB {
			s = h.wordQ(s, room)
		} else {
			s = h.wordB(s, room)
		}
	}
}

// wordB writes as much of s as room octets of base64 hold, and returns the rest.
func (h *header) wordB(s string, room int) string {
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		if (n+size+2)/3*4 > room {
			break
		}
		n += size
	}
	h.put(wordStartB)
	h.b = base64.StdEncoding.AppendEncode(h.b, []byte(s[:n]))
	h.put("?=")
	return s[n:]
}

// wordQ is wordB in the Q encoding.
func (h *header) wordQ(s string, room int) string {
	h.put(wordStartQ)
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		cost := 3 * size
		if plainQ(s[n]) {
			cost = 1
		}
		if room -= cost; room < 0 {
			break
		}
		for _, c := range []byte(s[n : n+size]) {
			switch {
			case c == ' ':
				h.b = append(h.b, '_')
			case plainQ(c):
				h.b = append(h.b, c)
			default:
				h.b = append(h.b, '=', hex[c>>4], hex[c&15])
			}
		}
		n += size
	}
	h.put("?=")
	return s[n:]
}

// plainQ tells whether c takes one octet in the Q encoding, in a phrase too
// (RFC 2047 §5(3)).
func plainQ(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == ' ' || c == '!' || c == '*' || c == '+' || c == '-' || c == '/'
}

// addresses is a field with a list of mailboxes (RFC 5322 §3.4).
func (h *header) addresses(name string, list ...Address) {
	h.begin(name)
	for i, a := range list {
		if i > 0 {
			h.b = append(h.b, ',')
		}
		h.mailbox(a, i > 0)
	}
	h.end()
}

func (h *header) mailbox(a Address, fold bool) {
	address, _ := wireAddress(a.Addr)
	name := strings.TrimSpace(a.Name)
	if name == "" {
		if fold {
			h.space(len(address) + 1)
		} else {
			h.space(0)
		}
		h.put(address)
		return
	}
	room := maxLine - h.column() - 1
	if fold {
		room = maxWord
	}
	switch n := quotedLength(name); {
	case isPhrase(name) && plainWords(name, room):
		h.words(name)
	case n > 0 && n <= room:
		h.space(n)
		h.b = append(h.b, '"')
		h.put(quotedPairs.Replace(name))
		h.b = append(h.b, '"')
	default:
		if fold && h.column()+1+wordFrame+4*utf8.UTFMax > maxLine {
			h.end()
		}
		h.encoded(name)
	}
	h.space(len(address) + 3)
	h.b = append(h.b, '<')
	h.put(address)
	h.b = append(h.b, '>')
}

// isPhrase reports whether name is atoms (RFC 5322 §3.2.3).
func isPhrase(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(" !#$%&'*+-/=?^_`{|}~", c) >= 0) {
			return false
		}
	}
	return true
}

// quotedLength is the length of name as a quoted-string, 0 where it had better
// be encoded.
func quotedLength(name string) int {
	if !wire.Printable(name) || strings.Contains(name, "=?") || strings.Contains(name, "  ") {
		return 0
	}
	return len(name) + 2 + strings.Count(name, `"`) + strings.Count(name, `\`)
}

// contentType is that of a part with a file name. The name stands there for old
// programs, which read encoded-words in a parameter and know no RFC 2231.
func (h *header) contentType(mediaType, name string) {
	h.begin("Content-Type")
	for i, word := range strings.Split(mediaType, "; ") {
		if i > 0 {
			h.b = append(h.b, ';')
		}
		h.space(len(word) + 1)
		h.put(word)
	}
	switch {
	case name == "":
	case plainParameter(name) && len(` name="";`)+len(name) <= maxLine:
		h.b = append(h.b, ';')
		h.space(len(`name="";`) + len(name))
		h.put(`name="`)
		h.put(name)
		h.b = append(h.b, '"')
	default:
		h.b = append(h.b, ';')
		h.end()
		h.put(` name="`)
		h.encodedWords(name)
		h.b = append(h.b, '"')
	}
	h.end()
}

// disposition is the field of RFC 2183. Beside parameters of RFC 2231 there is
// no plain filename: Python would take that one.
func (h *header) disposition(kind, name string) {
	h.begin("Content-Disposition")
	h.space(0)
	h.put(kind)
	switch {
	case name == "":
	case plainParameter(name) && len(` filename=""`)+len(name) <= maxLine:
		h.b = append(h.b, ';')
		h.space(len(`filename=""`) + len(name))
		h.put(`filename="`)
		h.put(name)
		h.b = append(h.b, '"')
	default:
		h.extended("filename", name)
	}
	h.end()
}

// plainParameter reports whether all programs read s between quotes.
func plainParameter(s string) bool {
	return wire.Printable(s) && !strings.ContainsAny(s, `"\%`) && !strings.Contains(s, "=?")
}

// extended writes a parameter by RFC 2231 §4, in as many sections as it needs
// (§3). A section ends between characters: Python reads each by itself.
func (h *header) extended(name, value string) {
	const charset = "utf-8''"
	h.b = append(h.b, ';')
	if n := len(name) + len("*=") + len(charset) + extendedLength(value); n < maxLine {
		h.space(n)
		h.put(name)
		h.put("*=")
		h.put(charset)
		for len(value) > 0 {
			value = h.extendedRunes(value, maxLine)
		}
		return
	}
	for section := 0; len(value) > 0; section++ {
		if section > 0 {
			h.b = append(h.b, ';')
		}
		h.end()
		h.b = append(h.b, ' ')
		h.put(name)
		h.b = append(h.b, '*')
		h.b = strconv.AppendInt(h.b, int64(section), 10)
		h.put("*=")
		if section == 0 {
			h.put(charset)
		}
		value = h.extendedRunes(value, maxLine-1-h.column())
	}
}

func extendedLength(s string) int {
	n := len(s)
	for i := range len(s) {
		if !plainExtended(s[i]) {
			n += 2
		}
	}
	return n
}

func (h *header) extendedRunes(s string, room int) string {
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		if room -= extendedLength(s[n : n+size]); room < 0 {
			break
		}
		for _, c := range []byte(s[n : n+size]) {
			if plainExtended(c) {
				h.b = append(h.b, c)
			} else {
				h.b = append(h.b, '%', hex[c>>4], hex[c&15])
			}
		}
		n += size
	}
	return s[n:]
}

// plainExtended is attribute-char of RFC 2231 §7, less what shells and old
// programs trip over.
func plainExtended(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_'
}
