package intake

import (
	"io"
	"strconv"
	"strings"

	"postern/config/wire"
	"postern/spool"
)

// chunkSize parses the argument of BDAT: chunk-size [SP "LAST"] (RFC 3030 §2).
func chunkSize(arg string) (n int64, last, ok bool) {
	size, word, has := strings.Cut(arg, " ")
	if has {
		if !strings.EqualFold(strings.TrimLeft(word, " "), "LAST") {
			return 0, false, false
		}
		last = true
	}
	if !wire.IsDigits(size) || len(size) > 19 {
		return 0, false, false
	}
	n, err := strconv.ParseInt(size, 10, 64)
	return n, last, err == nil
}

// bdat: RFC 3030 §2. A chunk whose size can't be read makes everything after
// it unreadable, so that is the end.
func (c *conn) bdat(arg string) {
	n, last, ok := chunkSize(arg)
	if !ok {
		c.abuse("malformed BDAT", say(501, 5, 5, 4, "syntax: BDAT size [LAST]; closing connection"))
		return
	}
	t := &c.body
	t.start(c, true, c.mailing.message != nil && c.mailing.envelope.Body == spool.BodyBinaryMIME)
	t.left, t.last = n, last
	if c.state != stateRcpt {
		c.dropChunk()
		return
	}
	c.state = stateChunks
	c.receive()
	if t.after != nil && c.state != stateClosed {
		c.run(t.after.cmd, t.after.arg)
	}
}

// dropChunk reads a chunk that may not come now: its octets follow it in any
// case (RFC 3030 §2).
func (c *conn) dropChunk() {
	t := &c.body
	if t.left > 2*c.set.cfg.MaxMessageSize+1<<20 {
		c.abuse("huge BDAT out of order", say(552, 5, 3, 4, "chunk exceeds the maximum size, closing connection"))
		return
	}
	if err := t.drain(); err != nil {
		c.lost(err)
		return
	}
	c.in.release()
	c.protest(say(503, 5, 5, 1, outOfOrder(c.state)))
}

// chunkEnd is where one chunk is used up. After the last one the message is
// complete, and only then: a connection that ends inside a chunk never comes
// here. Otherwise the chunk is acknowledged, and the next one is waited for.
func (t *content) chunkEnd() ([]byte, error) {
	c := t.c
	if t.last {
		return t.lastEnd()
	}
	c.reply(say(250, 2, 0, 0, "chunk received"))
	if t.count++; t.count > maxChunks {
		c.abuse("too many chunks", say(421, 4, 7, 0, "too many chunks, closing connection"))
		return nil, io.ErrUnexpectedEOF
	}
	for c.state == stateChunks {
		line, err := c.line(maxLine)
		if err != nil {
			if c.in.err == nil {
				c.in.err = err
				c.lost(err)
			}
			return nil, err
		}
		cmd, arg := c.parse(string(line))
		switch {
		case cmd == nil:
		case cmd.verb == "BDAT":
			n, last, ok := chunkSize(arg)
			if !ok {
				c.bdat(arg) // answers and closes
				c.in.err = errAborted
				return nil, errAborted
			}
			t.left, t.last = n, last
			return nil, nil
		case cmd.verb == "RSET", cmd.verb == "QUIT", cmd.verb == "EHLO", cmd.verb == "HELO":
			t.after = &pendingCommand{cmd, arg}
			return nil, errAborted
		default:
			c.run(cmd, arg)
		}
	}
	c.in.err = errAborted
	return nil, errAborted
}

// maxChunks bounds the chunks of one message: a hundred thousand octets each
// make any message that fits.
const maxChunks = 100_000

// lastEnd ends the message. Text that does not end in CRLF gets one, because
// the next hop may have to take it by DATA (RFC 3030 §2).
func (t *content) lastEnd() ([]byte, error) {
	if !t.binary {
		if _, bare := t.lines.Finish(); bare {
			if !t.c.set.normalise {
				t.refuse(replyBare)
				return nil, t.err
			}
			return t.normalised(nil), nil
		}
		if t.size > 0 && t.tail != [2]byte{'\r', '\n'} {
			t.size -= 2 // not the client's
			return append(t.patch[:0], "\r\n"...), nil
		}
	}
	t.ended = true
	return nil, io.EOF
}
