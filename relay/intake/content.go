package intake

import (
	"errors"
	"io"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/config/wire"
	"postern/relay/submission"
)

// content is what DATA or a series of BDAT carries. It hands on pieces of the
// connection's buffer, so that a message is copied once, into the spool. Its
// first error is final.
type content struct {
	c      *conn
	lines  wire.Lines
	chunks bool // BDAT
	binary bool // BINARYMIME: no lines at all
	left   int64
	last   bool

	size  int64 // octets of content, without stuffed dots and the end (RFC 1870 §5)
	raw   int64 // octets read, for the bound on what is drained
	tail  [2]byte
	err   error           // final
	fault *smtp.SMTPError // why the engine refuses the message
	large bool            // fault is its size
	bare  bool            // a bare CR or LF became a CRLF
	ended bool            // the end of data was read
	after *pendingCommand // a command that ended a series of BDAT
	patch [2]byte         // storage for crlf pieces
	count int             // chunks
	begun time.Time
}

// pendingCommand is a command that came where a BDAT was due.
type pendingCommand struct {
	cmd *command
	arg string
}

var (
	errAborted = errors.New("the client gave the message up")

	replyBare = say(554, 5, 6, 0, "message has a bare CR or LF; lines must end in CRLF (RFC 5321 section 2.3.8)")
)

func (t *content) start(c *conn, chunks, binary bool) {
	*t = content{c: c, chunks: chunks, binary: binary, begun: time.Now()}
	if !chunks {
		t.lines.Dots = wire.RemoveDots
	}
	if c.in.lf && !chunks { // the command DATA ended so; line lets it pass only where the listener normalises
		t.lines.AllowLF()
	}
}

// copyTo hands the content on. It returns nil once and only after the whole
// message was there and taken.
func (t *content) copyTo(w io.Writer) error {
	for {
		b, err := t.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
}

// next returns the next piece, valid until the next call, or the end: io.EOF
// once and only after the whole message was there.
func (t *content) next() ([]byte, error) {
	for t.err == nil {
		b, err := t.piece()
		if err != nil {
			if t.err = err; err == io.EOF && !t.ended {
				t.err = io.ErrUnexpectedEOF
			}
			break
		}
		if len(b) == 0 {
			continue
		}
		if t.size += int64(len(b)); t.size > t.c.set.cfg.MaxMessageSize {
			t.large = true
			t.refuse(replyOf(submission.TooLarge(0, t.c.set.cfg.MaxMessageSize)))
			break
		}
		if n := len(b); n >= 2 {
			t.tail = [2]byte(b[n-2:])
		} else {
			t.tail = [2]byte{t.tail[1], b[0]}
		}
		return b, nil
	}
	return nil, t.err
}

// refuse ends the message; the client still sends the rest.
func (t *content) refuse(r *smtp.SMTPError) {
	if t.fault == nil {
		t.fault = r
	}
	t.err = r
}

// piece takes one piece from the buffer, reading where that is empty.
func (t *content) piece() ([]byte, error) {
	if t.chunks && t.left == 0 {
		return t.chunkEnd()
	}
	b, err := t.window()
	if err != nil {
		return nil, err
	}
	if t.binary {
		t.used(len(b))
		return b, nil
	}
	out, used, why := t.lines.Next(b)
	t.used(used)
	switch why {
	case wire.End:
		t.ended = true
		return nil, io.EOF
	case wire.Bare:
		if t.c.set.normalise {
			t.bare = true
			return t.normalised(out), nil
		}
		t.refuse(replyBare)
		return nil, t.err
	}
	return out, nil
}

// normalised appends CRLF to out, in place of the bare byte that followed it.
// The buffer behind out was used, but only one byte of it is certain.
func (t *content) normalised(out []byte) []byte {
	if len(out) == 0 {
		return append(t.patch[:0], '\r', '\n')
	}
	return append(append(make([]byte, 0, len(out)+2), out...), '\r', '\n')
}

// window is what is unread of the message, at least one byte.
func (t *content) window() ([]byte, error) {
	in := &t.c.in
	if in.r == in.w {
		in.suit()
		if t.raw == 0 || t.c.in.heard >= someContent {
			t.c.wait()
		}
		if err := t.c.fill(phaseContent, t.within(time.Now().Add(t.timeout()))); err != nil {
			return nil, err
		}
	}
	b := in.buffered()
	if t.chunks && int64(len(b)) > t.left {
		b = b[:t.left]
	}
	return b, nil
}

// someContent is how many bytes make a client one that gets on with its
// message, and not one that has to make room for others.
const someContent = 1 << 10

// timeout is how long a read may make no progress. A client whose message is
// refused already, and which may believe that its bare LF . LF was the end,
// is not waited for so long.
func (t *content) timeout() time.Duration {
	d := t.c.set.cfg.DataTimeout
	if t.fault != nil {
		d = min(d, refusedTimeout)
	}
	return d
}

// rateGrace is how long a message may be slower than the least rate.
const rateGrace = time.Minute

// within is deadline, or what comes before it: the end of the longest time for
// a message, or the moment at which what was sent so far is too little. Time
// that we need ourselves counts too; at these rates it is not much.
func (t *content) within(deadline time.Time) time.Time {
	set := t.c.set.cfg
	if set.DataMaxTime > 0 {
		deadline = earlier(deadline, t.begun.Add(set.DataMaxTime))
	}
	if set.DataMinRate > 0 {
		enough := time.Duration(float64(t.raw) / float64(set.DataMinRate) * float64(time.Second))
		deadline = earlier(deadline, t.begun.Add(rateGrace+enough))
	}
	return deadline
}

// tooSlow tells whether a time-out came because the message as a whole took
// too long.
func (t *content) tooSlow() bool {
	now := time.Now()
	return !t.begun.IsZero() && !t.within(now.Add(time.Second)).After(now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (t *content) used(n int) {
	t.c.in.r += n
	t.raw += int64(n)
	if t.chunks {
		t.left -= int64(n)
	}
}

// drain reads what is left of the message or chunk and drops it, so that the
// reply stands where the client looks for it (RFC 5321 §3.3, RFC 3030 §2).
// After an error of the connection, or more than any honest client sends, the
// connection is of no more use.
func (t *content) drain() error {
	bound := 2*t.c.set.cfg.MaxMessageSize + 1<<20
	for !t.ended && !(t.chunks && t.left == 0) {
		if t.c.in.err != nil {
			return t.c.in.err
		}
		if t.raw > bound {
			return errors.New("endless message")
		}
		b, err := t.window()
		if err != nil {
			return err
		}
		if t.chunks {
			t.size += int64(len(b))
			t.used(len(b))
			continue
		}
		out, used, why := t.lines.Next(b)
		if t.size += int64(len(out)); why == wire.Bare {
			t.size += 2 // as it would be kept
		}
		t.used(used)
		t.ended = why == wire.End
	}
	return nil
}
