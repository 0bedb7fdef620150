// Package letter reads a message as a person does: who wrote it, its text, its
// HTML, what is attached.
//
// It faces strangers: anybody may have written the message. It reads a stream
// once, to bounds that are below, keeps no more of it than texts, and never
// fails for what a message is like: what it can't read it says. Texts that it
// returns are valid UTF-8, and neither harmless in HTML nor on a terminal, but for
// those that say so.
//
// Reading order: Read, Walk, walker.entity.
package letter

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"

	"postern/config/wire"
)

// The bounds of what is read.
const (
	maxHeader = 256 << 10 // bytes of the header of the message
	maxParts  = 300       // of a message, at whatever depth
	maxDepth  = 12        // of parts within parts
	maxText   = 512 << 10 // bytes of a text that is shown, decoded
	maxRead   = 32 << 20  // bytes of a message that Read looks at
)

// Letter is a message.
type Letter struct {
	Fields   []Field // of the header, in its order; values are decoded and on one line
	Text     string  // of its text/plain
	HTML     string  // of its text/html
	TextCut  bool    // there is more of it than was read
	HTMLCut  bool
	Parts    []Part // what is neither: attachments, pictures
	Problem  string // why no more of it could be read; empty: it was
	Sizeable bool   // it is longer than Read looks at
}

// Field is a field of a header.
type Field struct{ Name, Value string }

// Part is a part of a message that has no parts itself.
type Part struct {
	Number int    // from 1, in the order of the message
	Type   string // "image/png", in lower case; harmless
	Name   string // a name for a file that it can be kept in; see SafeName
	ID     string // Content-ID without brackets; empty: it has none
	Size   int64  // decoded, in bytes; -1: it was not read to its end
	inline bool   // it is shown with the text, unless somebody says otherwise
	set    string // charset
	format string // Content-Transfer-Encoding
}

// Get is the first value of a field; empty: there is none.
func (l *Letter) Get(name string) string {
	for _, f := range l.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Read reads a message. An error is one of r.
func Read(r io.Reader) (*Letter, error) {
	l := &Letter{}
	limited := &io.LimitedReader{R: r, N: maxRead}
	var texts, htmls int
	header, err := Walk(limited, func(p *Part, body io.Reader) error {
		switch {
		case p.inline && p.Type == "text/plain":
			text, cut := readText(body, p.set, maxText-len(l.Text))
			if texts++; texts > 1 {
				text = "\n\n" + text
			}
			l.Text, l.TextCut = l.Text+text, l.TextCut || cut
			return nil
		case p.inline && p.Type == "text/html" && htmls == 0:
			htmls++
			l.HTML, l.HTMLCut = readText(body, p.set, 4*maxText)
			return nil
		}
		l.Parts = append(l.Parts, *p)
		n, err := io.Copy(io.Discard, body)
		if last := &l.Parts[len(l.Parts)-1]; err != nil || limited.N <= 0 {
			last.Size = -1
		} else {
			last.Size = n
		}
		return nil
	})
	wire.EachField(header, func(name, value []byte, _, _ int) {
		l.Fields = append(l.Fields, Field{string(name), Decode(value)})
	})
	var broken *Broken
	switch {
	case limited.N <= 0:
		l.Sizeable = true
	case errors.As(err, &broken):
		l.Problem = broken.Why
	case err != nil:
		return nil, err
	}
	return l, nil
}

// Broken is the error of a message that cannot be read further.
type Broken struct{ Why string }

func (b *Broken) Error() string { return b.Why }

// errEnough ends a walk.
var errEnough = errors.New("enough")

// Extract writes the part with a number, decoded, to what open returns for it.
// A *Broken: there is none, as far as the message can be read.
func Extract(r io.Reader, number int, open func(*Part) (io.Writer, error)) error {
	found := false
	_, err := Walk(r, func(p *Part, body io.Reader) error {
		if p.Number != number {
			return nil
		}
		found = true
		w, err := open(p)
		if err == nil {
			_, err = io.Copy(w, body)
		}
		if err == nil {
			err = errEnough
		}
		return err
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err == nil && !found:
		return &Broken{"there is no such part"}
	}
	return err
}

// Walk calls visit for each part of a message that has no parts itself, with its
// decoded content, as much of which visit reads as it wants. It returns the header
// of the message. The error is a *Broken, that of visit, or that of r.
func Walk(r io.Reader, visit func(p *Part, body io.Reader) error) (header []byte, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	header, err = readHeader(b)
	if err != nil {
		return header, err
	}
	fields := textproto.MIMEHeader{}
	wire.EachField(header, func(name, value []byte, _, _ int) {
		switch key := textproto.CanonicalMIMEHeaderKey(string(name)); key {
		case "Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "Content-Id":
			fields[key] = append(fields[key], strings.TrimSpace(wire.Unfold(value)))
		}
	})
	w := &walker{visit: visit}
	return header, w.entity(fields, b, 1)
}

// readHeader reads to the end of the header of a message.
func readHeader(b *bufio.Reader) (header []byte, err error) {
	for {
		line, err := b.ReadSlice('\n')
		if len(header) == 0 && len(line) > 5 && string(line[:5]) == "From " { // of an mbox
			continue
		}
		if len(strings.TrimRight(string(line), "\r\n")) == 0 && err == nil {
			return header, nil
		}
		header = append(header, line...)
		switch {
		case err == io.EOF:
			return header, nil
		case len(header) > maxHeader:
			return header[:maxHeader], &Broken{"its header is longer than is read here"}
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return header, err
		}
	}
}

type walker struct {
	visit  func(*Part, io.Reader) error
	parts  int
	leaves int
}

// entity is a message, or a part of one.
func (w *walker) entity(h textproto.MIMEHeader, body io.Reader, depth int) error {
	if w.parts++; w.parts > maxParts {
		return &Broken{"it has more parts than are read here"}
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && kind == "" {
		kind = "text/plain" // RFC 2045 §5.2
	}
	boundary := params["boundary"]
	if !strings.HasPrefix(kind, "multipart/") || boundary == "" {
		w.leaves++
		return w.visit(partOf(h, kind, params, w.leaves), decoded(body, h.Get("Content-Transfer-Encoding")))
	}
	if depth >= maxDepth {
		return &Broken{"its parts are deeper within each other than is read here"}
	}
	parts := multipart.NewReader(body, boundary)
	for {
		p, err := parts.NextRawPart()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return broken(err)
		}
		if err := w.entity(p.Header, p, depth+1); err != nil {
			return err
		}
	}
}

// broken tells what a message is like from what went wrong with its reader.
func broken(err error) error {
	var path interface{ Timeout() bool } // of the file system or a network
	if errors.As(err, &path) {
		return err
	}
	return &Broken{"its parts cannot be read further: " + wire.Text(strings.TrimPrefix(err.Error(), "multipart: "), 200)}
}
