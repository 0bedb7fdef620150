package letter

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/transform"

	"postern/config/wire"
	"postern/relay/charset"
)

// partOf is the part that a header describes.
func partOf(h textproto.MIMEHeader, kind string, params map[string]string, number int) *Part {
	disposition, more, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := more["filename"]
	if name == "" {
		name = params["name"]
	}
	kind = wire.Text(kind, 100)
	return &Part{
		Number: number, Type: kind, set: params["charset"], format: h.Get("Content-Transfer-Encoding"),
		ID:     strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(h.Get("Content-Id")), "<"), ">"),
		Name:   SafeName(decodeWords(name), kind, number),
		inline: disposition != "attachment" && name == "", Size: -1,
	}
}

// decoded is a body without its Content-Transfer-Encoding.
func decoded(body io.Reader, format string) io.Reader {
	switch strings.ToLower(strings.TrimSpace(format)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &letters{r: body})
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

// letters leaves out what is not base64 (RFC 2045 §6.8), and all that follows its
// end.
type letters struct {
	r     io.Reader
	ended bool
}

func (l *letters) Read(p []byte) (int, error) {
	for {
		n, err := l.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if l.ended && c != '=' || !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=') {
				continue
			}
			l.ended = c == '='
			p[kept] = c
			kept++
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

// readText reads a text in a charset, limit bytes of it at most. What is no text
// in it becomes U+FFFD.
func readText(r io.Reader, set string, limit int) (text string, cut bool) {
	decoder, err := charset.Decoder(set)
	if err != nil || strings.EqualFold(set, "us-ascii") {
		decoder = transform.Nop // as far as it is ASCII
	}
	limit = max(limit, 0)
	b, _ := io.ReadAll(io.LimitReader(transform.NewReader(r, decoder), int64(limit)+1)) // what was read before an error counts
	if len(b) > limit {
		b, cut = b[:limit], true
	}
	text = strings.ReplaceAll(strings.ToValidUTF8(string(b), "\ufffd"), "\r\n", "\n")
	return strings.ReplaceAll(text, "\x00", "\ufffd"), cut
}

var words = mime.WordDecoder{CharsetReader: func(set string, r io.Reader) (io.Reader, error) {
	decoder, err := charset.Decoder(set)
	if err != nil {
		return nil, err
	}
	return transform.NewReader(r, decoder), nil
}}

// Decode is the value of a field for people: on one line, without encoded words
// (RFC 2047).
func Decode(value []byte) string {
	return strings.ToValidUTF8(decodeWords(strings.TrimSpace(wire.Unfold(value))), "\ufffd")
}

func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	if text, err := words.DecodeHeader(s); err == nil {
		return text
	}
	return s
}

// maxName is how long the name of a file may be, in bytes.
const maxName = 100

// SafeName is a name for a file on any system, made of the one that a message
// gives: without folders, without anything that a reader doesn't see or that turns
// text around, with nothing at its ends that a system would drop. Without one, it
// is made of the type and the number of the part.
func SafeName(name, kind string, number int) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>:"|?*%;`, r):
			return '_'
		case unicode.Is(unicode.Zs, r):
			return ' '
		case !wire.Visible(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	name = strings.Trim(name, ". ~-")
	if len(name) > maxName {
		name = shortName(name)
	}
	stem, _, _ := strings.Cut(name, ".")
	if name == "" || reserved[strings.ToUpper(strings.TrimSpace(stem))] {
		return fmt.Sprintf("part-%d%s", number, endings[kind])
	}
	return name
}

// shortName leaves out the middle of a name, and keeps its ending.
func shortName(name string) string {
	ending := ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 12 {
		ending = name[dot:]
	}
	stem := name[:maxName-len(ending)]
	for !utf8.ValidString(stem) {
		stem = stem[:len(stem)-1]
	}
	return strings.TrimRight(stem, ". ") + ending
}

// reserved are names that Windows keeps for devices, whatever follows.
var reserved = map[string]bool{"CON": true, "PRN": true, "AUX": true, "NUL": true, "COM1": true, "COM2": true, "COM3": true, "COM4": true, "COM5": true, "COM6": true,
	"COM7": true, "COM8": true, "COM9": true, "LPT1": true, "LPT2": true, "LPT3": true, "LPT4": true, "LPT5": true, "LPT6": true, "LPT7": true, "LPT8": true, "LPT9": true}

// endings of files of some types.
var endings = map[string]string{"text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "text/calendar": ".ics", "image/png": ".png", "image/jpeg": ".jpg",
	"image/gif": ".gif", "image/webp": ".webp", "application/pdf": ".pdf", "application/zip": ".zip", "message/rfc822": ".eml", "application/json": ".json"}
