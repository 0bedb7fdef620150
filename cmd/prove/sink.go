//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// sink is the upstream of a run: it enters what arrives into the books, and
// fails on command. It outlives the daemons that talk to it.
//
// It is a server of its own and not go-smtp's, because of what it measures: a
// message counts as arrived at the moment in which its 250 is written, with
// nothing in between, so that the time in which an answer is under way is not
// made longer by the one who measures it.
type sink struct {
	books    *books
	listener net.Listener
	addr     string
	serving  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	failing float64    // chance that one command is answered by 451
	conns   map[net.Conn]struct{}
	closed  bool
	keeps   bool // what arrives is seen
	seen    []seen
	asked   []seen // of each connection the first message that it was to take
}

// seen is an arrival: when, when its connection was opened, and for how many
// recipients it is.
type seen struct {
	at, connected time.Time
	recipients    int
}

// nobody is a recipient whom the sink refuses for good.
const nobody = "nobody@sink.example"

func startSink(b *books) (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{books: b, listener: l, addr: l.Addr().String(), conns: map[net.Conn]struct{}{}}
	s.serving.Go(s.accept)
	return s, nil
}

func (s *sink) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.serving.Go(func() {
			(&sinkSession{sink: s, conn: c, since: time.Now(), in: bufio.NewReaderSize(c, 32<<10)}).run()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			c.Close()
		})
	}
}

// fail sets the chance, from 0 to 1, that a command is refused for now.
func (s *sink) fail(chance float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = chance
}

func (s *sink) close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *sink) refuses() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing > 0 && rand.Float64() < s.failing
}

// sinkSession is one connection to the sink. It belongs to one goroutine.
type sinkSession struct {
	sink  *sink
	conn  net.Conn
	since time.Time // it is open
	in    *bufio.Reader
	out   bytes.Buffer
	mail  bool // MAIL was accepted
	null  bool // and its reverse-path is empty
	rcpt  int  // recipients accepted
	asked bool // for the first message
}

const (
	sinkGreeting = "220 sink.example\r\n"
	sinkHello    = "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
	sinkNotNow   = "451 4.3.0 not now\r\n"
	sinkOK       = "250 2.0.0 ok\r\n"
)

func (c *sinkSession) run() {
	c.out.WriteString(sinkGreeting)
	for {
		if c.in.Buffered() == 0 && c.flush() != nil {
			return
		}
		c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			c.out.WriteString(sinkHello)
		case "MAIL":
			c.rcpt = 0
			c.null = bytes.Contains(line, []byte("<>"))
			c.note()
			c.mail = c.answer()
		case "RCPT":
			if !c.mail {
				c.out.WriteString("503 5.5.1 MAIL first\r\n")
			} else if bytes.Contains(line, []byte("<"+nobody+">")) {
				c.out.WriteString("550 5.1.1 no such user\r\n")
			} else if c.answer() {
				c.rcpt++
			}
		case "DATA":
			if c.rcpt == 0 {
				c.out.WriteString("554 5.5.1 no recipient\r\n")
				continue
			}
			recipients := c.rcpt
			c.rcpt, c.mail = 0, false
			if c.content(recipients) != nil {
				return
			}
		case "RSET":
			c.rcpt, c.mail = 0, false
			c.out.WriteString(sinkOK)
		case "NOOP":
			c.out.WriteString(sinkOK)
		case "QUIT":
			c.out.WriteString("221 2.0.0 bye\r\n")
			c.flush()
			return
		default:
			c.out.WriteString("502 5.5.1 no such command\r\n")
		}
	}
}

// answer says yes, or not now.
func (c *sinkSession) answer() bool {
	if c.sink.refuses() {
		c.out.WriteString(sinkNotNow)
		return false
	}
	c.out.WriteString(sinkOK)
	return true
}

func (c *sinkSession) flush() error {
	_, err := c.conn.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

// content reads a message to so many recipients, enters it and answers it.
func (c *sinkSession) content(recipients int) error {
	c.out.WriteString("354 go on\r\n")
	if err := c.flush(); err != nil {
		return err
	}
	a := arrival{sum: sha256.New()}
	for {
		c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err // the end of the connection is not the end of the data
		}
		if string(line) == ".\r\n" {
			break
		}
		a.line(bytes.TrimPrefix(line, []byte(".")))
	}
	if c.sink.refuses() {
		c.out.WriteString(sinkNotNow)
		return c.flush()
	}
	if c.null {
		c.sink.books.returned(a.number, a.messageID)
		c.out.WriteString(sinkOK)
		return c.flush()
	}
	c.sink.see(seen{time.Now(), c.since, recipients})
	answered, err := c.sink.books.received(a.number, a.queueID, a.digest(), c.since)
	if err != nil {
		return err
	}
	c.out.WriteString(sinkOK)
	if err := c.flush(); err != nil {
		return err
	}
	answered()
	return nil
}

// note notes the first message that the connection is to take, whatever becomes of it.
func (c *sinkSession) note() {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeps && !c.asked {
		s.asked = append(s.asked, seen{at: time.Now(), connected: c.since})
	}
	c.asked = true
}

// see notes an arrival, where that is asked for.
func (s *sink) see(one seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeps {
		s.seen = append(s.seen, one)
	}
}

// forget lets it begin anew with what was seen.
func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = nil
}

// all are the arrivals that were seen.
func (s *sink) all() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// arrival takes a message apart, line by line: the number that its sender
// gave it, which a notice about it has in the header that it returns, the queue
// ID in its first Received field, and a digest of its body.
type arrival struct {
	number, queueID string
	messageID       string
	inBody          bool
	inReceived      bool
	sum             hash.Hash
}

// line takes one line with its CRLF.
func (a *arrival) line(line []byte) {
	if a.inBody {
		a.sum.Write(line)
		if v, ok := bytes.CutPrefix(line, []byte("X-Number: ")); ok && a.number == "" {
			a.number = string(bytes.TrimSpace(v))
		}
		return
	}
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" {
		a.inBody = true
		return
	}
	if text[0] != ' ' && text[0] != '\t' {
		a.inReceived = strings.HasPrefix(text, "Received:")
		if v, ok := strings.CutPrefix(text, "X-Number: "); ok {
			a.number = v
		}
		if v, ok := strings.CutPrefix(text, "Message-ID: <"); ok {
			a.messageID = v
		}
	}
	if _, rest, ok := strings.Cut(text, " id "); ok && a.inReceived && a.queueID == "" {
		a.queueID, _, _ = strings.Cut(rest, ";")
		a.queueID, _, _ = strings.Cut(a.queueID, " ")
	}
}

func (a *arrival) digest() string { return hex.EncodeToString(a.sum.Sum(nil)[:8]) }
