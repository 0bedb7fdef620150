package step

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strings"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"postern/config/wire"
	"postern/relay/merge"
)

// Raw is a finished message. Nothing is added to it; its Bcc is taken out, and
// each of its lines ends with CRLF.
type Raw struct {
	From       string   // the reverse-path; empty: of the From field
	To         []string // recipients
	FromHeader bool     // those of To, Cc and Bcc as well
	Key        string
	Redirect   string // the only recipient; empty: where it belongs

	Held
}

const maxHeader = 1 << 20 // bytes of the header of a finished message

// Read takes the message. The error is a *merge.Problems or a *Usage.
func (m *Raw) Read(in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	fields, err := readHeader(r)
	if err != nil {
		return unreadable("standard input", err)
	}
	found := &merge.Problems{}
	say := func(field, text string) {
		found.List = append(found.List, merge.Problem{Field: field, Text: text})
		found.Total++
	}
	var header []byte
	for _, f := range fields {
		n := wire.FieldName(f)
		name := strings.ToLower(string(f[:n]))
		value := wire.Unfold(f[n+bytes.IndexByte(f[n:], ':')+1:])
		switch name {
		case "to", "cc", "bcc":
			if m.FromHeader {
				m.recipients(name, value, say)
			}
			if name == "bcc" {
				continue
			}
		case "from":
			if list, err := parseNames(value); err == nil && m.From == "" {
				m.From = list[0]
			}
		}
		header = append(header, f...)
	}
	header = append(header, "\r\n"...)
	header = append(m.check(say), header...)
	if found.Total > 0 {
		return found
	}
	if _, err := m.Write(header); err != nil {
		return err
	}
	return m.body(r)
}

// recipients takes the addresses of a field of the header.
func (m *Raw) recipients(name, value string, say func(field, text string)) {
	if strings.TrimSpace(value) == "" {
		return
	}
	list, err := parseNames(value)
	if err != nil && !strings.Contains(err.Error(), "empty group") {
		say(name, wire.Exact(strings.TrimSpace(value))+" is no list of addresses")
		return
	}
	m.To = append(m.To, list...)
}

// parseNames reads a list of addresses. What becomes of those without a domain
// is for the relay to say.
func parseNames(value string) (addresses []string, err error) {
	if whole := wire.CompleteNames([]byte(value), wire.Nowhere); whole != nil {
		value = string(whole)
	}
	list, err := mail.ParseAddressList(value)
	for _, a := range list {
		if name, bare := strings.CutSuffix(a.Address, "@"+wire.Nowhere); bare {
			a.Address = wire.QuoteLocal(name)
		}
		addresses = append(addresses, a.Address)
	}
	return addresses, err
}

// isAddress tells whether s is an address, or a name that the relay may know.
func isAddress(s string) bool {
	fault := wire.CheckMailbox(s, true)
	return fault == wire.NoFault || fault == wire.NoDomain
}

// check holds the envelope to the grammar of addresses. It returns a field for
// the front of the header, if there is one.
func (m *Raw) check(say func(field, text string)) (field []byte) {
	if m.Redirect != "" {
		field = []byte(wire.Field("X-Postern-Original-To", wire.FieldText(strings.Join(m.To, ", "))))
		m.To = []string{m.Redirect}
	}
	var once []string
	for _, to := range m.To {
		if !isAddress(to) {
			say("to", wire.Quote(to)+" is not an address")
		}
		if !slices.Contains(once, to) {
			once = append(once, to)
		}
	}
	m.To = once
	switch {
	case len(m.To) == 0 && m.FromHeader:
		say("to", "the header names nobody")
	case len(m.To) == 0:
		say("to", "is missing: name recipients, or -t for those of the header")
	}
	switch {
	case m.From == "":
		say("from", "is missing: --from names the sender")
	case m.From == "<>":
		m.From = ""
	case !isAddress(m.From):
		say("from", wire.Quote(m.From)+" is not an address")
	}
	if strings.ContainsFunc(m.Key, func(r rune) bool { return r < ' ' || r > '~' }) || len(m.Key) > 256 {
		say("key", "is not visible ASCII of at most 256 bytes: "+wire.Quote(m.Key))
	}
	return field
}

// readHeader reads fields, each with its continuations and with CRLF.
func readHeader(r *bufio.Reader) ([][]byte, error) {
	var fields [][]byte
	total := 0
	for {
		line, err := readLine(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if total += len(line); total > maxHeader {
			return nil, fmt.Errorf("the header has more than %d KiB", maxHeader>>10)
		}
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case len(text) == 0:
			return fields, nil
		case wire.IsContinuation(text) && len(fields) > 0:
			last := len(fields) - 1
			fields[last] = append(append(fields[last], text...), "\r\n"...)
		case wire.FieldName(append(text, "\r\n"...)) == 0:
			return nil, fmt.Errorf("the header has a line that is no field: %s", wire.Quote(string(text[:min(len(text), 60)])))
		default:
			fields = append(fields, append(bytes.Clone(text), "\r\n"...))
		}
		if err != nil {
			return fields, nil
		}
	}
}

// readLine is a line of any length, up to maxHeader.
func readLine(r *bufio.Reader) ([]byte, error) {
	var all []byte
	for {
		part, err := r.ReadSlice('\n')
		all = append(all, part...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(all) > maxHeader {
			return all, err
		}
	}
}

// body keeps the rest.
func (m *Raw) body(r io.Reader) error {
	w := &crlf{w: &m.Held, nl: true} // the header has ended a line
	b := make([]byte, 64<<10)
	for {
		n, err := r.Read(b)
		if _, failed := w.Write(b[:n]); failed != nil {
			return failed
		}
		if errors.Is(err, io.EOF) {
			return w.end()
		}
		if err != nil {
			return unreadable("standard input", err)
		}
	}
}

// Show writes the message and its envelope, and sends nothing. What is foreign
// can do nothing to a terminal.
func (m *Raw) Show(w io.Writer) error {
	fmt.Fprintf(w, "--- from %s to %s, %s\n", wire.Line(m.From), wire.Line(strings.Join(m.To, ", ")), size(m.size))
	out := transform.NewWriter(w, transform.Chain(
		runes.Remove(runes.Predicate(func(r rune) bool { return r == '\r' })), // each is before an LF
		runes.Map(func(r rune) rune {
			if r != '\n' && r != '\t' && !wire.Visible(r) {
				return '?'
			}
			return r
		}),
	))
	if _, err := m.WriteTo(out); err != nil {
		return err
	}
	return out.Close()
}

// Send hands the message over.
func (m *Raw) Send(ctx context.Context, relay *Relay) *Result {
	out := &Result{N: 1, To: m.To, From: m.From, Key: m.Key}
	all := m.From + strings.Join(m.To, "")
	a := relay.way.submit(ctx, &envelope{from: m.From, to: m.To, utf8: !wire.IsASCII(all), bit8: m.bit8, key: m.Key, size: m.size, body: m})
	out.ID, out.Status, out.Code = a.id, Queued, 250
	switch {
	case a.err != nil && a.err.Temporary:
		out.Status, out.Code, out.Reply = Deferred, a.err.Code, a.err.Error()
	case a.err != nil:
		out.Status, out.Code, out.Reply = Refused, a.err.Code, a.err.Error()
	case a.repeated:
		out.Status = Repeated
	}
	return out
}

// crlf makes every line end with CRLF, whatever it ended with.
type crlf struct {
	w  io.Writer
	cr bool // the last byte was a CR
	nl bool // the last line is ended
}

func (c *crlf) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	out := make([]byte, 0, len(p)+len(p)/32+2)
	for _, b := range p {
		switch {
		case b == '\n' && c.cr:
		case b == '\n' || b == '\r':
			out = append(out, "\r\n"...)
		default:
			out = append(out, b)
		}
		c.cr, c.nl = b == '\r', b == '\n' || b == '\r'
	}
	_, err := c.w.Write(out)
	return len(p), err
}

// end ends the last line.
func (c *crlf) end() error {
	if c.nl {
		return nil
	}
	_, err := io.WriteString(c.w, "\r\n")
	return err
}
