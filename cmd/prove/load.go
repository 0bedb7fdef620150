//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// sender is one client that sends one message after another until ctx ends,
// and starts over whenever the daemon goes away under it.
type sender struct {
	name  string
	addr  string
	books *books
	big   float64 // share of messages with a body that the spool keeps in a file of its own
	pause time.Duration
	count int

	domain   string  // of the recipient; empty: sink.example
	returned float64 // share of messages to somebody whom the upstream refuses for good
	burst    int     // messages before a rest; 0: none
	rest     time.Duration
}

func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.connection(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// connection sends until the connection fails. What was not acknowledged by
// then was not promised.
func (s *sender) connection(ctx context.Context) {
	raw, c, err := s.open(ctx)
	if err != nil {
		return
	}
	defer raw.Close()
	for ctx.Err() == nil {
		raw.SetDeadline(time.Now().Add(time.Minute))
		if s.message(c) != nil {
			return
		}
		pause(ctx, s.pause)
		if s.burst > 0 && s.count%s.burst == 0 {
			pause(ctx, s.rest)
		}
	}
	c.PrintfLine("QUIT")
}

// one sends one message over a connection of its own.
func (s *sender) one(ctx context.Context) error {
	raw, c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	return s.message(c)
}

// open connects and says hello.
func (s *sender) open(ctx context.Context) (net.Conn, *textproto.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	raw, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, nil, err
	}
	raw.SetDeadline(time.Now().Add(time.Minute))
	c := textproto.NewConn(raw)
	if _, _, err = c.ReadResponse(220); err == nil {
		if err = c.PrintfLine("EHLO %s.client.example", s.name); err == nil {
			_, _, err = c.ReadResponse(250)
		}
	}
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	return raw, c, nil
}

func (s *sender) message(c *textproto.Conn) error {
	s.count++
	number := fmt.Sprintf("%s-%d", s.name, s.count)
	_, err := s.hand(c, number, "", makeBody(s.big))
	return err
}

// hand hands one message in, with these fields besides those that all have,
// and returns what stands before the ID in the answer: "queued as". A message
// that is refused for now is no error, and the text is empty.
func (s *sender) hand(c *textproto.Conn, number, header string, body []byte) (string, error) {
	s.books.sent(number, digest(body))
	to := "to@" + cmp.Or(s.domain, "sink.example")
	if s.returned > 0 && rand.Float64() < s.returned {
		s.books.willReturn(number)
		to = nobody
	}
	for _, step := range []struct {
		line string
		code int
	}{{"MAIL FROM:<" + s.name + "@client.example>", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354}} {
		if err := c.PrintfLine("%s", step.line); err != nil {
			return "", err
		}
		if _, _, err := c.ReadResponse(step.code); err != nil {
			if step.code == 354 {
				return "", err
			}
			return "", reset(c, err)
		}
	}
	w := c.DotWriter()
	fmt.Fprintf(w, "From: <%s@client.example>\r\nTo: <to@sink.example>\r\nSubject: proof\r\nX-Number: %s\r\n%s\r\n", s.name, number, header)
	w.Write(body)
	if err := w.Close(); err != nil {
		return "", err
	}
	_, text, err := c.ReadResponse(250)
	if err != nil {
		return "", err
	}
	text, id, _ := strings.Cut(text, " as ")
	s.books.promised(number, id)
	_, text, _ = strings.Cut(text, " ") // the enhanced status code
	return text, nil
}

// reset goes on after a refusal for now; any other failure ends the connection.
func reset(c *textproto.Conn, cause error) error {
	if e, ok := cause.(*textproto.Error); !ok || e.Code/100 != 4 || e.Code == 421 {
		return cause
	}
	if err := c.PrintfLine("RSET"); err != nil {
		return err
	}
	_, _, err := c.ReadResponse(250)
	return err
}

// makeBody makes text lines of random content: about 1 KB, sometimes up to
// 16 KB, and with the given chance 300 to 600 KB.
func makeBody(big float64) []byte {
	size := 200 + rand.IntN(1200)
	switch p := rand.Float64(); {
	case p < big:
		size = 300_000 + rand.IntN(300_000)
	case p < big+0.1:
		size = 1 + rand.IntN(16_000) // an empty text ends a line when it is composed
	}
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x %016x %016x.\r\n", rand.Uint64(), rand.Uint64(), rand.Uint64())
	}
	return b.Bytes()
}
