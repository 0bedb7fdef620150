package submission

import (
	"bytes"
	"encoding/binary"
	"sync"

	"postern/config/wire"
	"postern/spool"
)

const (
	maxHeader   = 256 << 10 // octets; more is no mail
	maxReceived = 50        // hops; the limit of Postfix, below the 100 of RFC 5321 §6.3: mail here has just begun its way
)

var (
	longHeader   = refuse(552, 3, 4, "message header is larger than the limit of 256 KiB")
	loop         = refuse(554, 4, 6, "too many hops, this message is in a loop") // RFC 5321 §6.3
	hasNUL       = refuse(554, 6, 0, "message has a NUL; it is neither 7bit nor 8bit text (RFC 2045 section 2.8)")
	noRoute      = forbid("no route maps this message; `postern explain` shows why")
	brokenHeader = refuse(554, 6, 0, "message header has a bare CR or LF")
)

var crlf = []byte("\r\n")

// Write implements io.Writer. Its error is a *Refusal, which ends the message.
func (m *Message) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	if m.first != 0 {
		return len(p), nil
	}
	if m.size += int64(len(p)); m.size > m.client.Settings.MaxSize {
		m.err = TooLarge(0, m.client.Settings.MaxSize)
	} else if m.inBody {
		m.pass(p)
	} else {
		m.gather(p)
	}
	if m.err != nil {
		return 0, m.fail(m.err)
	}
	return len(p), nil
}

// gather looks for the end of the header. A header that is whole in the first
// piece, as in most mail, is not copied.
func (m *Message) gather(p []byte) {
	b := p
	if len(m.held) > 0 {
		if !m.holdHeader(p) {
			return
		}
		b = m.held
	}
	if !m.led && m.client.Settings.Repair {
		if m.skip, m.led = lead(b, m.skip); !m.led {
			m.wait(b, p)
			return
		}
		m.lines = m.skip
	}
	next, body, found := wire.HeaderEnd(b, m.lines)
	m.lines = next
	switch {
	case found && next > maxHeader:
		m.err = longHeader
	case found:
		m.open(b[m.skip:next], b[body:])
	default:
		m.wait(b, p)
	}
}

// wait holds b, which ends in the new piece p, until more comes.
func (m *Message) wait(b, p []byte) {
	if len(b) > maxHeader {
		m.err = longHeader
	} else if len(m.held) == 0 {
		m.holdHeader(p)
	}
}

// holdHeader adds p to what is held, if there is memory for it.
func (m *Message) holdHeader(p []byte) bool {
	before := cap(m.held)
	if len(m.held)+len(p) > before && !m.hold(max(len(p), before)) {
		m.err = noMemory
		return false
	}
	m.held = append(m.held, p...)
	return true
}

// finish is called at the end of the content.
func (m *Message) finish() *Refusal {
	if m.err != nil {
		return m.err
	}
	if !m.inBody && !m.led {
		m.led, m.skip = true, 0 // nothing follows that could be a field
		m.gather(nil)
	}
	if m.err == nil && !m.inBody {
		h := m.held[m.skip:]
		if n := len(h); m.binary() && n > 0 && !bytes.HasSuffix(h, crlf) {
			m.open(nil, h) // a last line without end is no header
		} else {
			m.open(h, nil)
		}
	}
	if m.err != nil {
		return m.fail(m.err)
	}
	return nil
}

// binary reports whether the content may be anything.
func (m *Message) binary() bool { return m.env.Body == spool.BodyBinaryMIME }

// scratch has room for the fields that are added.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

var xOriginal = []byte("X-Original-")

// open begins the message in the draft: trace, header, what it lacks, and the
// first of the body.
func (m *Message) open(header, body []byte) {
	m.inBody = true
	if len(m.env.Recipients) == 0 && len(m.diverted) == 0 {
		m.err = noRecipients
		return
	}
	if bytes.IndexByte(header, 0) >= 0 {
		m.err = hasNUL
		return
	}
	if m.binary() && !wire.WholeLines(header) {
		m.err = brokenHeader
		return
	}
	if domain := m.policy.names.Domain(); domain != "" {
		header = completeHeader(header, domain)
	}
	repair := m.client.Settings.Repair
	f := readFields(header, repair)
	if repair && f.long {
		header = wire.FoldLong(header)
		f = readFields(header, repair)
	}
	f.hasFrom = f.hasFrom || !repair
	switch {
	case f.received >= maxReceived:
		m.err = loop
		return
	case m.late:
		if r := m.decide(header); r != nil {
			m.err = r
			return
		}
	}
	if r := m.authors(header); r != nil {
		m.err = r
		return
	}
	if f.keys > 0 {
		if r := m.setKeyField(&f); r != nil {
			m.err = r
			return
		}
	}
	m.env.Auto = f.auto
	m.look(header)
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	if m.env.MessageID = f.messageID; !f.hasMessageID {
		*b = m.appendMessageID((*b)[:0])
		m.env.MessageID = string(*b)
	}
	*b = m.appendReceived((*b)[:0])
	if len(m.diverted) > 0 {
		*b = m.appendOriginals(*b, header)
	}
	trace := *b
	if len(m.policy.archive)+len(m.archive) > 0 { // which no field of ours is to name
		if r := m.addCopies(header); r != nil {
			m.err = r
			return
		}
	}
	if m.policy.folder != nil {
		if r := m.beginFile(); r != nil {
			m.err = r
			return
		}
	}
	m.note(trace) // `for` may hold an address in UTF-8
	m.put(trace)
	for len(f.drop) > 0 {
		s := f.drop[0]
		m.put(header[f.kept:s.start])
		if f.kept = s.end; s.rename {
			m.put(xOriginal)
			m.put(header[s.start:s.end])
		}
		f.drop = f.drop[1:]
	}
	m.note(header)
	m.put(header[f.kept:])
	*b = m.appendLacking((*b)[:0], &f)
	lacking := *b
	m.note(lacking) // From may hold UTF-8
	m.put(lacking)
	m.put(crlf)
	m.holding.used -= int64(cap(m.held))
	m.held = nil
	m.pass(body)
}

// pass hands on body.
func (m *Message) pass(p []byte) {
	if nul := m.note(p); nul && !m.binary() {
		m.err = hasNUL
		return
	}
	m.put(p)
}

func (m *Message) put(p []byte) {
	if m.err != nil || len(p) == 0 {
		return
	}
	if n := min(len(p), draftMemory-m.drafted); n > 0 {
		if m.drafted += n; !m.hold(n) {
			m.err = noMemory
			return
		}
	}
	_, err := m.draft.Write(p)
	if err == nil && m.file != nil {
		_, err = m.file.Write(p)
	}
	if err != nil {
		m.err = trouble(err)
	}
}

// note looks for bytes above 127 and for NUL, eight at a time.
func (m *Message) note(p []byte) (nul bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	var high, zero uint64
	b := p
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		high |= w
		zero |= (w - ones) &^ w
	}
	for _, c := range b {
		high |= uint64(c)
		zero |= (uint64(c) - 1) & ^uint64(c) & 0x80
	}
	if high&highs != 0 {
		m.env.Has8Bit = true
	}
	// The trick may see a NUL behind a real one, never without one.
	return zero&highs != 0
}
