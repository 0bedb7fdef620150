package upstream

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"postern/config/wire"
	"postern/spool"
)

// lastWordsTimeout is how long a reply is waited for that may explain why the
// upstream stopped reading.
const lastWordsTimeout = 2 * time.Second

// content sends what the round is about, after its commands were answered,
// and takes the answer to the final dot.
func (s *session) content(tx, next *transaction) (chained bool, _ *broken) {
	s.whole = within(s.limits.forContent(tx.form.Content.Size()))
	defer func() { s.whole = whole{} }()
	switch {
	case tx.proceed && tx.accepted == 0:
		// RFC 2920 §3.1: the upstream waits for content that nobody is to
		// get. A lone dot ends it.
		s.out = append(s.out, ".\r\n"...)
		return false, s.dismiss(tx)
	case tx.proceed:
		var b *broken
		if chained, b = s.sendData(tx, next); b != nil {
			return chained, b
		}
	case tx.needs.binary && tx.accepted > 0:
		refused, b := s.sendChunks(tx)
		if b != nil || refused {
			return false, b
		}
	default:
		return false, nil
	}
	s.whole = whole{} // the answer to the final dot has all of its own time
	return chained, s.conclude(tx, chained)
}

// dismiss reads the answer to a lone dot, which is of no interest.
func (s *session) dismiss(tx *transaction) *broken {
	if err := s.flush(s.limits.command); err != nil {
		return lost(spool.StageData, "no answer to an empty message", err)
	}
	r, err := s.read(s.limits.data)
	if err != nil {
		return lost(spool.StageData, "no answer to an empty message", err)
	}
	if r.code == 421 {
		return answered(spool.StageData, &r)
	}
	return nil
}

// sendData streams the content with dots doubled, then the final dot and,
// in the same write, the commands of the next message.
func (s *session) sendData(tx, next *transaction) (chained bool, _ *broken) {
	lines := wire.Lines{Dots: wire.DoubleDots}
	size := tx.form.Content.Size()
	for off := int64(0); off < size; {
		n, err := s.load(tx, off, size)
		if err != nil {
			return false, err
		}
		off += int64(n)
		if !s.stuff(&lines, s.block[:n]) {
			return false, s.unsendable()
		}
		if off < size || len(s.out) >= blockSize {
			if b := s.push(); b != nil {
				return false, b
			}
		}
	}
	lacks, bare := lines.Finish()
	if bare {
		return false, s.unsendable()
	}
	s.out = append(s.out, lacks...)
	return s.dot(tx, next)
}

// stuff adds a block of content to what goes out. It is false at a bare CR or
// LF.
func (s *session) stuff(lines *wire.Lines, block []byte) bool {
	for len(block) > 0 {
		out, used, why := lines.Next(block)
		if why == wire.Bare {
			return false
		}
		s.out = append(s.out, out...)
		block = block[used:]
	}
	return true
}

// dot sends the final dot. The record that its outcome can be unknown comes
// first, and the dot only with every byte before it.
func (s *session) dot(tx, next *transaction) (chained bool, _ *broken) {
	if next != nil && len(tx.rest) == 0 && !s.exhausted() {
		chained = s.chain(next)
	}
	if s.unasked() {
		return chained, s.interrupted()
	}
	if err := s.feed.DotSent(tx.d); err != nil {
		return chained, s.local("the attempt could not be recorded", err)
	}
	s.out = append(s.out, ".\r\n"...)
	end := len(s.out)
	if chained {
		s.fill(next)
	}
	written, err := s.flushCount(s.limits.data)
	if err == nil {
		return chained, nil
	}
	if written < end {
		return chained, s.parting(spool.StageBody, err) // the dot never left
	}
	return chained, lost(spool.StageDot, "the connection broke after the final dot", err)
}

// chain takes the next message that is due and can be begun.
func (s *session) chain(next *transaction) bool {
	for {
		d := s.feed.TryNext()
		if d == nil {
			return false
		}
		if s.prepare(next, d) {
			return true
		}
	}
}

// interrupted is an upstream that speaks before the content has ended. Its
// words are told; what they are the answer to nobody knows, so the final dot,
// whose answer they could be taken for, is not sent.
func (s *session) interrupted() *broken {
	b := lost(spool.StageBody, "the dialogue is out of step", protocolError("an answer before the end of the content"))
	r, err := s.read(lastWordsTimeout)
	switch {
	case err != nil:
		b = lost(spool.StageBody, "the connection broke inside the message", err)
	case r.code/100 == 4 || r.code/100 == 5:
		b = answered(spool.StageBody, &r)
	}
	b.astray = true
	return b
}

// conclude reads the answer to the final dot, or to BDAT LAST.
func (s *session) conclude(tx *transaction, chained bool) *broken {
	r, err := s.read(s.limits.data)
	if err != nil {
		return lost(spool.StageDot, "no answer to the final dot", err)
	}
	if class := r.code / 100; r.code == 421 || class != 2 && class != 4 && class != 5 {
		return answered(spool.StageDot, &r)
	}
	o := outcomeOf(spool.StageDot, &r)
	if r.positive() && !chained && s.contradicted() {
		return &broken{astray: true, outcome: spool.Outcome{Stage: spool.StageDot, Text: "the dialogue is out of step",
			Cause: "two answers to the final dot, of which one is a refusal"}}
	}
	tx.decideRound(&o)
	return nil
}

// contradicted tells whether a refusal stands behind an answer that has no
// other behind it.
func (s *session) contradicted() bool {
	rest, _ := s.in.Peek(min(s.in.Buffered(), 3))
	return len(rest) == 3 && (rest[0] == '4' || rest[0] == '5') && string(rest) != "421" // RFC 5321 §3.8: that ends the connection
}

// sendChunks sends the content by BDAT (RFC 3030). LAST goes with an empty
// chunk of its own: a connection that breaks inside the content can then not
// be taken for its end. refused: the upstream said no to the content.
func (s *session) sendChunks(tx *transaction) (refused bool, _ *broken) {
	size := tx.form.Content.Size()
	s.out = strconv.AppendInt(append(s.out, "BDAT "...), size, 10)
	s.out = append(s.out, "\r\n"...)
	for off := int64(0); off < size; {
		n, err := s.load(tx, off, size)
		if err != nil {
			return false, err
		}
		off += int64(n)
		s.out = append(s.out, s.block[:n]...)
		if b := s.push(); b != nil {
			return false, b
		}
	}
	if b := s.push(); b != nil {
		return false, b
	}
	s.whole = whole{} // what follows are two answers, each with its own time
	r, err := s.read(s.limits.data)
	switch {
	case err != nil:
		return false, lost(spool.StageBody, "no answer to BDAT", err)
	case r.code == 421 || r.code/100 == 3 || r.code/100 == 1 || r.code >= 600:
		return false, answered(spool.StageBody, &r)
	case !r.positive():
		o := outcomeOf(spool.StageBody, &r)
		tx.decideRound(&o)
		return true, nil
	}
	if err := s.feed.DotSent(tx.d); err != nil {
		return false, s.local("the attempt could not be recorded", err)
	}
	s.dirty = false
	s.out = append(s.out, "BDAT 0 LAST\r\n"...)
	if err := s.flush(s.limits.command); err != nil {
		return false, lost(spool.StageDot, "the connection broke at the end of the message", err)
	}
	return false, nil
}

// load reads the next block of content.
func (s *session) load(tx *transaction, off, size int64) (int, *broken) {
	want := int(min(blockSize, size-off))
	s.block = slices.Grow(s.block[:0], want)[:want]
	n, err := tx.form.Content.ReadAt(s.block, off)
	if n == want {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%d bytes are missing", size-off-int64(n))
	}
	return 0, s.local("the message could not be read from the spool", err)
}

// push sends what is ready of the content.
func (s *session) push() *broken {
	if err := s.flush(s.limits.data); err != nil {
		return s.parting(spool.StageBody, err)
	}
	return nil
}

// local is trouble on our side inside a message: only closing the socket
// keeps the upstream from taking the part for the whole.
func (s *session) local(text string, err error) *broken {
	return &broken{outcome: spool.Outcome{Stage: spool.StageBody, Text: text, Cause: describe(err)}, err: err, ours: true}
}

// unsendable: a bare CR or LF would let the message end, and another begin,
// wherever it likes (RFC 5321 §2.3.8; CVE-2023-51764).
func (s *session) unsendable() *broken {
	o := unsupported(554, "5.6.0", "the content holds a bare CR or LF, which cannot be sent")
	o.Stage = spool.StageBody
	return &broken{outcome: *o, ours: true}
}

// parting asks a connection that takes no more bytes whether it said why.
func (s *session) parting(stage spool.Stage, err error) *broken {
	s.whole = whole{}
	if r, rerr := s.read(lastWordsTimeout); rerr == nil && (r.code/100 == 4 || r.code/100 == 5) {
		return answered(stage, &r)
	}
	return lost(stage, "the connection broke inside the message", err)
}
