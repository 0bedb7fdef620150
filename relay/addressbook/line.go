package addressbook

import (
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/transform"

	"postern/config/wire"
	"postern/relay/charset"
)

// line is one content line of a card (RFC 6350 §3.3). What is not understood of
// it is kept as it is.
type line struct {
	raw    string // as the card has it, folded, with its line ends; empty: it was made here
	group  string // "item1" of "item1.EMAIL"
	name   string // upper case
	params []param
	value  string // as it is written, with its escapes
	old    bool   // of vCard 2.1
	ansi   bool   // text that is no UTF-8, and of no charset that it names, is of Windows
}

type param struct{ name, value string } // the name in upper case; the value without its quotes

// Bounds of what is read.
const (
	maxCard   = 16 << 20 // bytes of one card, pictures included
	maxLines  = 110_000  // of one card, members included
	maxParams = 50       // of one line
	allParams = 300_000  // of one card; each takes ten times as much in memory
)

// errBounds ends the reading of a card that nobody has.
var errBounds = fmt.Errorf("has more than %d lines or %d parameters, or a line with more than %d", maxLines, allParams, maxParams)

// readLines cuts a card into its lines. Lines without a colon are an error: what
// they belong to can't be told.
func readLines(card []byte) ([]line, error) {
	text := strings.TrimPrefix(string(card), "\ufeff")
	lines := make([]line, 0, min(64, 1+strings.Count(text, "\n")))
	old := versionOf(text) == "2.1"
	for n, params := 0, 0; len(text) > 0; n++ {
		if n >= maxLines || params > allParams {
			return nil, errBounds
		}
		raw := cutLine(text, old)
		text = text[len(raw):]
		if strings.TrimSpace(raw) == "" {
			continue
		}
		l, err := parseLine(raw, old)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		l.ansi = old
		lines = append(lines, l)
		params += len(l.params)
	}
	return lines, nil
}

// versionOf is the version that the first card of a text tells, before its lines
// are known.
func versionOf(text string) string {
	for one := range strings.Lines(text) {
		if name, v, ok := strings.Cut(one, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "VERSION") {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// cutLine is the first line with those that continue it: they begin with a
// blank, or follow a "=" at the end of what is quoted-printable, also outside of
// vCard 2.1, or are of base64 there, which some programs don't indent.
func cutLine(text string, old bool) string {
	end, soft, bare := 0, false, false
	for {
		i := strings.IndexByte(text[end:], '\n')
		if i < 0 {
			return text
		}
		stop := end + i + 1
		one := strings.TrimRight(text[end:stop], "\r\n")
		if end == 0 {
			soft, bare = isQuotedPrintable(one), old && isBase64(one)
		}
		end = stop
		if bare {
			next, _, _ := strings.Cut(text[end:], "\n")
			if next = strings.TrimRight(next, "\r"); next != "" && !strings.ContainsAny(next, ":;") {
				continue
			}
		}
		more := end < len(text) && (text[end] == ' ' || text[end] == '\t')
		if !more && !(soft && strings.HasSuffix(one, "=")) {
			return text[:end]
		}
	}
}

func isQuotedPrintable(line string) bool {
	head, _, _ := strings.Cut(line, ":")
	return strings.Contains(strings.ToUpper(head), "QUOTED-PRINTABLE")
}

func isBase64(line string) bool {
	head, _, _ := strings.Cut(line, ":")
	return strings.Contains(strings.ToUpper(head), "BASE64")
}

var errNoColon = errors.New("is not NAME:VALUE")

func parseLine(raw string, old bool) (line, error) {
	l := line{raw: raw, old: old}
	rest := l.raw
	if isQuotedPrintable(rest) { // its soft line ends; a blank behind one is text
		rest = strings.NewReplacer("=\r\n", "", "=\n", "").Replace(rest)
	} else if old && isBase64(rest) {
		rest = strings.NewReplacer("\r", "", "\n", "").Replace(rest)
	}
	rest = unfold(rest)
	i := strings.IndexAny(rest, ":;")
	if i <= 0 {
		return l, errNoColon
	}
	name := rest[:i]
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		l.group, name = name[:dot], name[dot+1:]
	}
	l.name = strings.ToUpper(strings.TrimSpace(name))
	for rest[i] == ';' {
		if len(l.params) >= maxParams {
			return l, errBounds
		}
		rest = rest[i+1:]
		if i = paramEnd(rest); i < 0 {
			return l, errNoColon
		}
		key, value, ok := strings.Cut(rest[:i], "=")
		if !ok { // of vCard 2.1: TEL;HOME:
			key, value = bareParam(key), key
		}
		l.params = append(l.params, param{strings.ToUpper(strings.TrimSpace(key)), strings.ReplaceAll(strings.TrimSpace(value), `"`, "")})
	}
	l.value = rest[i+1:]
	return l, nil
}

// paramEnd is where a parameter ends, outside of quotes; -1: nowhere.
func paramEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == ':'):
			return i
		}
	}
	return -1
}

func bareParam(value string) string {
	switch strings.ToUpper(value) {
	case "QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT":
		return "ENCODING"
	}
	return "TYPE"
}

// unfold joins the lines of one.
func unfold(raw string) string {
	s := strings.TrimRight(raw, "\r\n")
	if !strings.Contains(s, "\n") {
		return s
	}
	return strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(s)
}

// param is the first value of a parameter; empty: there is none.
func (l *line) param(name string) string {
	for _, p := range l.params {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// hasType reports whether one of the types of a line is this one.
func (l *line) hasType(want string) bool {
	for _, p := range l.params {
		if p.name != "TYPE" {
			continue
		}
		for one := range strings.SplitSeq(p.value, ",") {
			if strings.EqualFold(strings.TrimSpace(one), want) {
				return true
			}
		}
	}
	return false
}

// decoded is the value as UTF-8, still with its escapes: vCard 2.1 has encodings
// and charsets.
func (l *line) decoded() (string, error) {
	v := l.value
	if strings.EqualFold(l.param("ENCODING"), "QUOTED-PRINTABLE") {
		b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(v)))
		if err != nil {
			return "", errors.New(l.name + " is not quoted-printable")
		}
		v = strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", `\n`)
	}
	if wire.IsASCII(v) {
		return v, nil
	}
	name := l.param("CHARSET")
	if name == "" && l.ansi && !utf8.ValidString(v) {
		name = "windows-1252" // as Outlook writes it
	}
	if name == "" || utf8.ValidString(v) { // also where the file was converted as a whole
		name = "utf-8"
	}
	d, err := charset.Decoder(name)
	if err != nil {
		return "", errors.New(l.name + " is in " + wire.Text(name, 50) + ", a charset that is not known here")
	}
	v, _, err = transform.String(d, v)
	if err != nil || !utf8.ValidString(v) {
		return "", errors.New(l.name + " is not " + wire.Text(name, 50))
	}
	return v, nil
}

// split cuts a value at a separator that no backslash stands before, and undoes
// the escapes of the pieces.
func split(value string, at byte) []string {
	var out []string
	from := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case at:
			out = append(out, unescape(value[from:i]))
			from = i + 1
		}
	}
	return append(out, unescape(value[from:]))
}

// unescape undoes RFC 6350 §3.4. A line break becomes a blank: nothing here has
// more than a line.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return strings.TrimSpace(s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i++; s[i] == 'n' || s[i] == 'N' {
			b.WriteByte(' ')
		} else {
			b.WriteByte(s[i])
		}
	}
	return strings.TrimSpace(b.String())
}

// escape is text as a value. Controls become blanks.
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ";", `\;`).Replace(s)
}

// text is the line as it is written, folded at 75 bytes (RFC 6350 §3.2).
func (l *line) text() string {
	if l.raw != "" {
		if !strings.HasSuffix(l.raw, "\n") {
			return l.raw + "\r\n"
		}
		return l.raw
	}
	var b strings.Builder
	if l.group != "" {
		b.WriteString(l.group + ".")
	}
	b.WriteString(l.name)
	for _, p := range l.params {
		v := strings.Map(func(r rune) rune {
			if r < ' ' || r == '"' || r == 0x7f {
				return -1
			}
			return r
		}, p.value)
		if strings.ContainsAny(v, ":;,") {
			v = `"` + v + `"`
		}
		b.WriteString(";" + p.name + "=" + v)
	}
	b.WriteString(":" + l.value)
	return fold(b.String())
}

func fold(s string) string {
	const width = 75
	var b strings.Builder
	for room := width; len(s) > room; room = width - 1 {
		cut := room
		for cut > 1 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		b.WriteString(s[:cut] + "\r\n ")
		s = s[cut:]
	}
	return b.String() + s + "\r\n"
}
