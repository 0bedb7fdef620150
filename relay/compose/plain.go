package compose

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// TextOf is the text of an HTML document or fragment, for the text part of a
// message: blocks are lines and paragraphs, links have their address behind
// them, lists their marks, images their alternative text, tables of data stand
// in columns. What is hidden (display:none) is left out. It is "" where there
// is nothing to read. The error is of documents that are nested too deep, have
// more than a million elements, or whose text would be much longer than they are.
func TextOf(doc string) (string, error) {
	root, err := parse(doc)
	if err != nil {
		return "", err
	}
	left := maxMore + len(doc)*perMore
	w := plain{out: make([]byte, 0, len(doc)/2), left: &left}
	w.children(root)
	if left < 0 {
		return "", errMore
	}
	if len(w.out) == 0 {
		return "", nil
	}
	return string(append(w.out, '\n')), nil
}

// What a document makes beyond its own text, such as marks of lists and blanks
// in tables, takes maxMore octets and perMore for each of its own at most.
// Nothing that people write comes near.
const (
	maxMore = 2 << 20
	perMore = 8
)

var errMore = errors.New("its text would be many times longer: give a text, so that none is derived from it")

// spend counts what is made beyond the text of the document. It is false where
// that is too much, and nothing more should be written.
func (w *plain) spend(octets int) bool {
	*w.left -= octets
	return *w.left >= 0
}

// maxNested is how deep quotes and lists are shown.
const maxNested = 8

// plain writes text. Blanks and line breaks are written when something follows.
type plain struct {
	out    []byte
	space  bool   // a blank is due
	breaks int    // line breaks that are due: 2 is an empty line
	prefix string // of each line: marks of quotes, indents of lists
	last   string // prefix of the line before
	marker string // prefix of the next line, where it begins an item
	nested int
	lists  int
	left   *int // octets: see spend
}

// flush writes what is due before text.
func (w *plain) flush() {
	begin := len(w.out) == 0
	if !begin && w.breaks == 0 {
		if w.space {
			w.out = append(w.out, ' ')
		}
		w.space = false
		return
	}
	if !begin {
		between := w.prefix
		if len(w.last) < len(between) {
			between = w.last
		}
		w.spend(2*len(between) + len(w.prefix) + len(w.marker))
		for range w.breaks - 1 {
			w.out = append(w.out, '\n')
			w.out = append(w.out, strings.TrimRight(between, " ")...)
		}
		w.out = append(w.out, '\n')
	}
	if w.marker != "" {
		w.out = append(w.out, w.marker...)
	} else {
		w.out = append(w.out, w.prefix...)
	}
	w.marker, w.breaks, w.space, w.last = "", 0, false, w.prefix
}

// words writes s with its blanks as one.
func (w *plain) words(s string) {
	for s != "" {
		n := strings.IndexFunc(s, isBlank)
		if n == 0 {
			w.space = true
			s = strings.TrimLeftFunc(s, isBlank)
			continue
		}
		if n < 0 {
			n = len(s)
		}
		if word := visible(s[:n]); strings.TrimSpace(word) == "" {
			w.space = true // no-break spaces alone are there for their height
		} else {
			w.flush()
			w.out = append(w.out, word...)
		}
		s = s[n:]
	}
}

// visible is s without places to break and control characters, and with plain
// spaces.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u00A0' || r == '\u202F': // no-break spaces
			return ' '
		case r == '\u00AD' || r == '\u200B' || r == '\uFEFF' || r < ' ' && r != '\t' || r == 0x7F:
			return -1
		}
		return r
	}, s)
}

func isBlank(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' || r == '\f' }

// verbatim writes lines as they are.
func (w *plain) verbatim(s string) {
	s = strings.Trim(s, "\r\n")
	for line := range strings.SplitSeq(s, "\n") {
		if line = strings.TrimRight(visible(line), " \t"); line == "" {
			w.breaks = min(w.breaks+1, 2)
			continue
		}
		w.flush()
		w.out = append(w.out, line...)
		w.breaks = 1
	}
}

// block begins a new line, after an empty one where breaks is 2.
func (w *plain) block(breaks int) {
	w.breaks = max(w.breaks, breaks)
	w.space = false
}

func (w *plain) children(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		w.node(c)
	}
}

func (w *plain) node(n *html.Node) {
	if *w.left < 0 {
		return
	}
	switch n.Type {
	case html.TextNode:
		w.words(n.Data)
	case html.ElementNode:
		if !hidden(n) {
			w.element(n)
		}
	case html.DocumentNode:
		w.children(n)
	}
}

// hidden tells of what mail programs don't show.
func hidden(n *html.Node) bool {
	_, is := attribute(n, "hidden")
	return is
}

// hides tells of a style whose element isn't shown.
func hides(style string) bool {
	return style != "" && containsFold(strings.Join(strings.Fields(style), ""), "display:none")
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func (w *plain) element(n *html.Node) {
	switch n.DataAtom {
	case atom.Head, atom.Style, atom.Script, atom.Template, atom.Title, atom.Iframe, atom.Object, atom.Svg, atom.Select, atom.Textarea, atom.Noscript:
	case atom.Br:
		w.breaks, w.space = min(w.breaks+1, 2), false
	case atom.Hr:
		w.block(1)
		if w.spend(40) {
			w.words(strings.Repeat("-", 40))
		}
		w.block(1)
	case atom.Img:
		alt, _ := attribute(n, "alt")
		w.words(alt)
	case atom.A:
		w.link(n)
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		w.around(n, 2)
	case atom.Div, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Main, atom.Nav, atom.Aside, atom.Address, atom.Figure,
		atom.Figcaption, atom.Form, atom.Fieldset, atom.Center, atom.Dl, atom.Dt, atom.Dd, atom.Caption, atom.Tr, atom.Td, atom.Th:
		w.around(n, 1)
	case atom.Pre:
		w.block(2)
		w.verbatim(textBelow(n))
		w.block(2)
	case atom.Blockquote:
		w.block(2)
		w.inside("> ", "", func() { w.children(n) })
		w.block(2)
	case atom.Ul, atom.Ol:
		w.list(n)
	case atom.Li:
		w.item(n, "- ")
	case atom.Table:
		w.table(n)
	default:
		w.children(n)
	}
}

func (w *plain) around(n *html.Node, breaks int) {
	w.block(breaks)
	w.children(n)
	w.block(breaks)
}

// inside writes with a longer prefix, and a first line of its own.
func (w *plain) inside(more, marker string, write func()) {
	before := w.prefix
	if w.nested++; w.nested <= maxNested {
		w.prefix += more
	}
	if marker != "" {
		w.marker = before + marker
	}
	write()
	w.nested--
	w.prefix, w.marker = before, ""
}

func (w *plain) list(n *html.Node) {
	breaks := 2
	if w.lists > 0 {
		breaks = 1
	}
	w.lists++
	w.block(breaks)
	number := 1
	if start, ok := attribute(n, "start"); ok {
		if k, err := strconv.Atoi(start); err == nil {
			number = k
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom != atom.Li || hidden(c) {
			w.node(c)
			continue
		}
		marker := "- "
		if n.DataAtom == atom.Ol {
			marker = strconv.Itoa(number) + ". "
			number++
		}
		w.item(c, marker)
	}
	w.block(breaks)
	w.lists--
}

func (w *plain) item(n *html.Node, marker string) {
	w.block(1)
	w.inside(strings.Repeat(" ", len(marker)), marker, func() { w.children(n) })
	w.block(1)
}

// link is its text, and its address where that is another.
func (w *plain) link(n *html.Node) {
	before := len(w.out)
	w.children(n)
	href, _ := attribute(n, "href")
	href = strings.TrimSpace(href)
	scheme, rest, ok := strings.Cut(href, ":")
	switch {
	case !ok || strings.HasPrefix(href, "#"):
		return
	case strings.EqualFold(scheme, "mailto") || strings.EqualFold(scheme, "tel"):
		href, _, _ = strings.Cut(rest, "?")
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return
	}
	shown := bytes.TrimSpace(w.out[before:])
	switch short := strings.TrimSuffix(strings.TrimPrefix(rest, "//"), "/"); {
	case bytes.Contains(shown, []byte(href)), string(bytes.TrimSuffix(shown, []byte("/"))) == short:
	case len(shown) == 0:
		w.words(href)
	default:
		w.words(" (" + href + ")")
	}
}

// textBelow is all text of n as it stands.
func textBelow(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		switch {
		case d.Type == html.TextNode:
			b.WriteString(d.Data)
		case d.DataAtom == atom.Br:
			b.WriteByte('\n')
		}
	}
	return b.String()
}
