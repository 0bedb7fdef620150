package intake

import (
	"bytes"
	"encoding/binary"
	"errors"

	smtp "github.com/emersion/go-smtp"
)

const (
	maxHeader   = 256 << 10 // octets; more is no mail
	maxReceived = 50        // hops; the limit of Postfix, below the 100 of RFC 5321 §6.3: mail here has just begun its way
)

// letter is the writer that a message's content goes through on its way to
// the draft. It holds the header back until that is whole, decides by it, and
// then lets everything pass.
type letter struct {
	*session
	binary  bool
	inBody  bool
	held    []byte // the header, where it did not come in one piece
	lines   int    // how far held was looked at: the start of a line
	skip    int    // octets before the header that are dropped; until led, how far they were looked at
	led     bool   // skip is known
	size    int64  // octets from the client
	drafted int    // octets that the draft may hold in memory
	err     error  // ours: a refusal, or an error of the draft; final
}

var (
	replyHeaderSize = say(552, 5, 3, 4, "message header is larger than the limit of 256 KiB")
	replyLoop       = say(554, 5, 4, 6, "too many hops, this message is in a loop") // RFC 5321 §6.3
	replyNUL        = say(554, 5, 6, 0, "message has a NUL; it is neither 7bit nor 8bit text (RFC 2045 section 2.8)")
	replyNoRoute    = say(550, 5, 7, 1, "no route maps this message; `postern explain` shows why")
	replyBinaryHead = say(554, 5, 6, 0, "message header has a bare CR or LF")
)

// Write implements io.Writer.
func (l *letter) Write(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	l.size += int64(len(p))
	if l.inBody {
		l.pass(p)
	} else {
		l.gather(p)
	}
	if l.err != nil {
		return 0, l.err
	}
	return len(p), nil
}

// gather looks for the end of the header. A header that is whole in the first
// piece, as in most mail, is not copied.
func (l *letter) gather(p []byte) {
	b := p
	if len(l.held) > 0 {
		if !l.holdHeader(p) {
			return
		}
		b = l.held
	}
	if !l.led && l.peer.settings.repair {
		if l.skip, l.led = lead(b, l.skip); !l.led {
			l.wait(b, p)
			return
		}
		l.lines = l.skip
	}
	next, body, found := headerEnd(b, l.lines)
	l.lines = next
	switch {
	case found && next > maxHeader:
		l.err = replyHeaderSize
	case found:
		l.open(b[l.skip:next], b[body:])
	default:
		l.wait(b, p)
	}
}

// wait holds b, which ends in the new piece p, until more comes.
func (l *letter) wait(b, p []byte) {
	if len(b) > maxHeader {
		l.err = replyHeaderSize
	} else if len(l.held) == 0 {
		l.holdHeader(p)
	}
}

// holdHeader adds p to what is held, if there is memory for it.
func (l *letter) holdHeader(p []byte) bool {
	before := cap(l.held)
	if len(l.held)+len(p) > before && !l.hold(max(len(p), before)) {
		l.err = replyMemory
		return false
	}
	l.held = append(l.held, p...)
	return true
}

// finish is called at the end of the content.
func (l *letter) finish() error {
	if l.err == nil && !l.inBody && !l.led {
		l.led, l.skip = true, 0 // nothing follows that could be a field
		l.gather(nil)
	}
	if l.err == nil && !l.inBody {
		h := l.held[l.skip:]
		if n := len(h); l.binary && n > 0 && !bytes.HasSuffix(h, crlf) {
			l.open(nil, h) // a last line without end is no header
		} else {
			l.open(h, nil)
		}
	}
	return l.err
}

var xOriginal = []byte("X-Original-")

// open begins the message in the draft: trace, header, what it lacks, and the
// first of the body.
func (l *letter) open(header, body []byte) {
	l.inBody = true
	if bytes.IndexByte(header, 0) >= 0 {
		l.err = replyNUL
		return
	}
	if l.binary && !wholeLines(header) {
		l.err = replyBinaryHead
		return
	}
	repair := l.peer.settings.repair
	f := readFields(header, repair)
	if repair && f.long {
		header = foldLong(header)
		f = readFields(header, repair)
	}
	f.hasFrom = f.hasFrom || !repair
	switch {
	case f.received >= maxReceived:
		l.err = replyLoop
		return
	case l.late:
		if r := l.decide(header); r != nil {
			l.err = r
			return
		}
	}
	if r := l.authors(header); r != nil {
		l.err = r
		return
	}
	l.env.Auto = f.auto
	if l.env.MessageID = f.messageID; !f.hasMessageID {
		l.env.MessageID = l.newMessageID()
	}
	trace := l.received()
	l.note(trace) // `for` may hold an address in UTF-8
	l.put(trace)
	for len(f.drop) > 0 {
		s := f.drop[0]
		l.put(header[f.kept:s.start])
		if f.kept = s.end; s.rename {
			l.put(xOriginal)
			l.put(header[s.start:s.end])
		}
		f.drop = f.drop[1:]
	}
	l.note(header)
	l.put(header[f.kept:])
	lacking := l.lacking(&f)
	l.note(lacking) // From may hold UTF-8
	l.put(lacking)
	l.put(crlf)
	l.holding.used -= int64(cap(l.held))
	l.held = nil
	l.pass(body)
}

// decide finds the upstreams of those recipients that waited for the header.
// It returns what the client is told where there are none: nothing of the
// message is taken then, since there is one reply for all.
func (l *letter) decide(header []byte) *smtp.SMTPError {
	h := parseHeader(header, l.house.routes.Fields())
	for i := range l.env.Recipients {
		r := &l.env.Recipients[i]
		if r.Upstreams != nil {
			continue
		}
		d := l.house.routes.Recipient(l.query(l.env.From, r.Address, h))
		if d.Reject != "" {
			return say(550, 5, 7, 1, d.Reject)
		}
		if !d.Matched {
			return replyNoRoute
		}
		r.Upstreams = d.Upstreams
		l.raise(d.Priority)
	}
	return nil
}

// pass hands on body.
func (l *letter) pass(p []byte) {
	if nul := l.note(p); nul && !l.binary {
		l.err = replyNUL
		return
	}
	l.put(p)
}

func (l *letter) put(p []byte) {
	if l.err != nil || len(p) == 0 {
		return
	}
	if n := min(len(p), draftMemory-l.drafted); n > 0 {
		if l.drafted += n; !l.hold(n) {
			l.err = replyMemory
			return
		}
	}
	_, l.err = l.draft.Write(p)
}

// note looks for bytes above 127 and for NUL, eight at a time.
func (l *letter) note(p []byte) (nul bool) {
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
		l.env.Has8Bit = true
	}
	// The trick may see a NUL behind a real one, never without one.
	return zero&highs != 0
}

// refusal is what the client is told, cause what it is not.
func (l *letter) refusal() *smtp.SMTPError {
	var r *smtp.SMTPError
	if errors.As(l.err, &r) {
		return r
	}
	return storage(l.err)
}

func (l *letter) cause() error {
	var r *smtp.SMTPError
	if errors.As(l.err, &r) {
		return nil
	}
	return l.err
}
