package carddav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of one answer.
const (
	maxAnswer = 16 << 20 // bytes
	maxDepth  = 32       // elements in each other
	maxTag    = 64 << 10 // bytes of one tag with its attributes
	maxField  = 4 << 10  // bytes of a text that is no card
)

// Names of elements, as encoding/xml has them.
const (
	dav     = "DAV:"
	card    = "urn:ietf:params:xml:ns:carddav"
	server  = "http://calendarserver.org/ns/"
	nsLimit = 200
)

// answer is a multistatus (RFC 4918 §13), or an error (§16).
type answer struct {
	token     string // of sync-collection
	members   []*member
	condition string // the name of the condition that an error tells
}

// member is what is said of one resource.
type member struct {
	href   string
	status int // of the resource as a whole; 0: it has properties
	etag   string
	ctag   string
	token  string
	name   string
	book   bool // it is an address book
	text   string
	homes  []string
	whose  string // the principal that we are
}

var errTooMany = fmt.Errorf("the server has more than %d cards", maxCards)

var errTooLarge = errors.New("the answer is larger than 16 MiB")

// parse reads an answer of at most so many bytes to its end. Nothing of it is
// used where it has none.
func parse(r io.Reader, most int) (*answer, error) {
	d := xml.NewDecoder(&bounded{r: r, most: most})
	d.Strict = true // no entity but those of XML itself: none can be defined
	p := &reader{out: &answer{}}
	for {
		t, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF) && p.ended:
			return p.out, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("the answer ends in the middle")
		case err != nil:
			var syntax *xml.SyntaxError
			switch {
			case errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF"):
				err = errors.New("the answer ends in the middle")
			case errors.As(err, &syntax):
				err = errors.New("the answer is not XML: " + syntax.Msg)
			}
			return nil, err
		}
		if err := p.take(t); err != nil {
			return nil, err
		}
	}
}

// reader is in the middle of an answer. It resolves namespaces itself, since the
// decoder would take any number of elements in each other.
type reader struct {
	out   *answer
	stack []element
	ended bool
	at    *member // of the response that is being read
	prop  *member // of a propstat whose status isn't known yet
	text  strings.Builder
	code  int // of the propstat
}

type element struct {
	raw   xml.Name
	name  xml.Name
	space map[string]string // prefixes that are declared here; nil: none
}

func (p *reader) take(t xml.Token) error {
	switch t := t.(type) {
	case xml.Directive:
		return errors.New("the answer has a document type, which no server needs to send")
	case xml.StartElement:
		if len(p.stack) >= maxDepth {
			return errors.New("the answer has elements in elements, more than 32 deep")
		}
		if p.ended {
			return errors.New("the answer goes on behind its end")
		}
		if err := p.push(t); err != nil {
			return err
		}
		p.text.Reset()
		if len(p.out.members) > maxCards { // each takes ten times as much in memory
			return errTooMany
		}
		p.begin()
	case xml.CharData:
		if p.keeps() {
			p.text.Write(t)
		}
	case xml.EndElement:
		if len(p.stack) == 0 || p.stack[len(p.stack)-1].raw != t.Name {
			return errors.New("the answer is not XML: an element ends that has not begun")
		}
		p.end()
		p.stack = p.stack[:len(p.stack)-1]
		p.ended = len(p.stack) == 0
		p.text.Reset()
	}
	return nil
}

// push resolves the name of an element.
func (p *reader) push(t xml.StartElement) error {
	e := element{raw: t.Name}
	for _, a := range t.Attr {
		prefix, declares := a.Name.Local, a.Name.Space == "xmlns"
		if a.Name.Space == "" && a.Name.Local == "xmlns" {
			prefix, declares = "", true
		}
		if !declares {
			continue
		}
		if len(e.space) >= nsLimit {
			return errors.New("the answer declares more than 200 namespaces in one element")
		}
		if e.space == nil {
			e.space = map[string]string{}
		}
		e.space[prefix] = a.Value
	}
	p.stack = append(p.stack, e)
	name := xml.Name{Local: t.Name.Local}
	for i := len(p.stack) - 1; i >= 0; i-- {
		if s, ok := p.stack[i].space[t.Name.Space]; ok {
			name.Space = s
			break
		}
	}
	p.stack[len(p.stack)-1].name = name
	return nil
}

// is tells whether the innermost elements are these of DAV, and the last one is
// of space.
func (p *reader) is(space string, path ...string) bool {
	if len(p.stack) < len(path) {
		return false
	}
	for i, e := range p.stack[len(p.stack)-len(path):] {
		want := dav
		if i == len(path)-1 {
			want = space
		}
		if e.name.Local != path[i] || e.name.Space != want {
			return false
		}
	}
	return true
}

func (p *reader) begin() {
	switch {
	case len(p.stack) == 2 && p.is(dav, "multistatus", "response"):
		p.at = &member{}
	case p.at != nil && len(p.stack) == 3 && p.is(dav, "response", "propstat"):
		p.prop, p.code = &member{}, 0
	case p.prop != nil && p.is(card, "resourcetype", "addressbook"):
		p.prop.book = true
	case len(p.stack) == 2 && p.stack[0].name == xml.Name{Space: dav, Local: "error"}:
		p.out.condition = p.stack[1].name.Local
	}
}

// keeps tells whether the text of this element is wanted.
func (p *reader) keeps() bool {
	if len(p.stack) < 2 {
		return false
	}
	if p.is(card, "prop", "address-data") {
		return true
	}
	return p.text.Len() < maxField
}

func (p *reader) end() {
	text := func() string { return strings.TrimSpace(p.text.String()) }
	switch {
	case len(p.stack) == 2 && p.is(dav, "multistatus", "sync-token"):
		p.out.token = text()
	case p.at == nil:
	case len(p.stack) == 2:
		p.out.members = append(p.out.members, p.at)
		p.at = nil
	case len(p.stack) == 3 && p.is(dav, "response", "href"):
		p.at.href = text()
	case len(p.stack) == 3 && p.is(dav, "response", "status"):
		p.at.status = statusOf(text())
	case len(p.stack) == 3 && p.is(dav, "response", "propstat"):
		if p.prop != nil && p.code/100 == 2 {
			p.prop.href, p.prop.status = p.at.href, p.at.status
			merge(p.at, p.prop)
		}
		p.prop = nil
	case p.prop == nil:
	case p.is(dav, "propstat", "status"):
		p.code = statusOf(text())
	case p.is(dav, "prop", "getetag"):
		p.prop.etag = text()
	case p.is(server, "prop", "getctag"):
		p.prop.ctag = text()
	case p.is(dav, "prop", "sync-token"):
		p.prop.token = text()
	case p.is(dav, "prop", "displayname"):
		p.prop.name = text()
	case p.is(card, "prop", "address-data"):
		p.prop.text = p.text.String()
	case p.is(dav, "current-user-principal", "href"):
		p.prop.whose = text()
	case p.isHome():
		if len(p.prop.homes) < maxBooks {
			p.prop.homes = append(p.prop.homes, text())
		}
	}
}

// isHome: addressbook-home-set is of CardDAV, and the href in it of DAV.
func (p *reader) isHome() bool {
	n := len(p.stack)
	return n >= 2 && p.stack[n-1].name == xml.Name{Space: dav, Local: "href"} && p.stack[n-2].name == xml.Name{Space: card, Local: "addressbook-home-set"}
}

func merge(to, from *member) {
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	set(&to.etag, from.etag)
	set(&to.ctag, from.ctag)
	set(&to.token, from.token)
	set(&to.name, from.name)
	set(&to.text, from.text)
	set(&to.whose, from.whose)
	to.book = to.book || from.book
	if len(from.homes) > 0 {
		to.homes = from.homes
	}
}

// statusOf reads "HTTP/1.1 404 Not Found"; 0: it is none.
func statusOf(line string) (code int) {
	_, rest, _ := strings.Cut(line, " ")
	if len(rest) < 3 {
		return 0
	}
	for _, c := range rest[:3] {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	return code
}

// bounded passes an answer on as far as it has neither too many bytes nor a tag
// that is too long: an element with a million attributes takes a hundred times
// its size in memory.
type bounded struct {
	r     io.Reader
	total int
	most  int
	tag   int  // bytes of the tag so far; 0: outside of one
	quote byte // within the tag
	tail  [3]byte
	skip  string // what ends the CDATA or comment that is passed over; empty: neither
}

func (b *bounded) Read(buf []byte) (int, error) {
	n, err := b.r.Read(buf)
	if b.total += n; b.total > b.most {
		return 0, errTooLarge
	}
	for rest := buf[:n]; len(rest) > 0; rest = rest[1:] {
		rest = b.pass(rest)
		if len(rest) == 0 {
			break
		}
		if !b.see(rest[0]) {
			return 0, errors.New("the answer has a tag of more than 64 KiB")
		}
	}
	return n, err
}

// pass passes over bytes in which nothing begins or ends.
func (b *bounded) pass(rest []byte) []byte {
	switch {
	case b.skip != "": // up to what may be its end
		at := bytes.IndexByte(rest, '>')
		if at < 0 {
			at = len(rest)
		}
		return rest[max(0, at-2):]
	case b.tag == 0:
		if at := bytes.IndexByte(rest, '<'); at >= 0 {
			return rest[at:]
		}
		return nil
	}
	return rest
}

func (b *bounded) see(c byte) bool {
	b.tail[0], b.tail[1], b.tail[2] = b.tail[1], b.tail[2], c
	switch {
	case b.skip != "":
		if string(b.tail[:]) == b.skip {
			b.skip, b.tag = "", 0
		}
	case b.tag == 0:
		if c == '<' {
			b.tag, b.quote = 1, 0
		}
	default:
		b.tag++
		switch {
		case b.tag == 3 && string(b.tail[:]) == "<![":
			b.skip = "]]>"
		case b.tag == 4 && string(b.tail[:]) == "!--":
			b.skip, b.tail = "-->", [3]byte{}
		case b.quote != 0:
			if c == b.quote {
				b.quote = 0
			}
		case c == '"' || c == '\'':
			b.quote = c
		case c == '>':
			b.tag = 0
		}
	}
	return b.tag <= maxTag
}
