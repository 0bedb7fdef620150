package upstreamtest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script is what an upstream of the tests says and expects, line by line:
//
//	S: 250 ok          send a line; lines in a row go out in one write
//	S> 250 ok\r\n      send exactly these bytes; Go escapes
//	C: QUIT            the client has to send this line
//	C? AUTH CRAM-MD5   the client has to send a line that begins so
//	* hello A|B C      banner, EHLO relay.example, and these keywords; none: 250 alone
//	* mail             the test's ordinary transaction up to its final dot
//	* accept           the same, and its acceptance
//	* quit             QUIT and its answer
//	* tls NAME         take a TLS handshake with the certificate NAME
//	* flush            let the next line be a packet of its own
//	* sleep 10s        say nothing for a while
//	* drip 1s TEXT     send TEXT and CRLF, one byte at a time
//	* repeat 1000 TEXT send TEXT and CRLF many times
//	* long 20000 TEXT  send TEXT, so many x, and CRLF
//	* body 100000      take so many bytes of whatever
//	* cut 100000       close the connection when so many more bytes have arrived
//	* stall            stop reading, for ever
//	* still            nothing may arrive for a second
//	* ignore           take everything until the client closes the connection
//	* eof              the client has to close the connection now
//	* close, * reset   end the connection
//
// After its last line the upstream closes the connection, unless the client
// has something to say, which is then an error.
type Script []string

// Expand replaces the macros.
func (s Script) Expand() Script {
	var out Script
	for _, line := range s {
		verb, rest, _ := strings.Cut(line, " ")
		name, args, _ := strings.Cut(rest, " ")
		if verb != "*" {
			out = append(out, line)
			continue
		}
		switch name {
		case "hello":
			out = append(out, "S: 220 mx.example ESMTP", "C: EHLO relay.example")
			out = append(out, ehlo(args)...)
		case "mail", "accept":
			out = append(out, "C: MAIL FROM:<from@a.example>", "C: RCPT TO:<to@b.example>", "C: DATA",
				"S: 250 2.1.0 ok", "S: 250 2.1.5 ok", "S: 354 go", "C: Subject: test", "C: ", "C: Hello", "C: .")
			if name == "accept" {
				out = append(out, "S: 250 2.0.0 kept")
			}
		case "quit":
			out = append(out, "C: QUIT", "S: 221 bye")
		default:
			out = append(out, line)
		}
	}
	return out
}

func ehlo(keywords string) Script {
	if keywords == "" {
		return Script{"S: 250 mx.example"}
	}
	lines := append([]string{"mx.example"}, strings.Split(keywords, "|")...)
	for i := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "S: 250" + sep + lines[i]
	}
	return lines
}

// player carries out a script on one connection.
type player struct {
	raw   *ServerEnd
	conn  net.Conn
	in    *bufio.Reader
	out   strings.Builder
	certs map[string]tls.Certificate
	sent  int
	cut   int // close after so many sent bytes; negative: never
}

var errGone = errors.New("the client is gone")

// Play carries out the script on a connection and returns what the client did
// against it.
func (s Script) Play(conn *ServerEnd, certs map[string]tls.Certificate) []string {
	problems, _ := s.PlayCut(conn, certs, -1)
	return problems
}

// PlayCut is Play, and closes the connection when cut bytes were sent. It
// returns how many were.
func (s Script) PlayCut(conn *ServerEnd, certs map[string]tls.Certificate, cut int) (problems []string, sent int) {
	p := &player{raw: conn, conn: conn, in: bufio.NewReader(conn), certs: certs, cut: cut}
	defer conn.Close()
	steps := s.Expand()
	for i, step := range steps {
		err := p.step(step)
		if i == len(steps)-1 && err == nil {
			err = p.flush()
		}
		switch {
		case errors.Is(err, errGone):
			if cut < 0 && slices.ContainsFunc(steps[i:], func(s string) bool { return strings.HasPrefix(s, "C") }) {
				return []string{fmt.Sprintf("the client left before %q", step)}, p.sent
			}
			return nil, p.sent
		case errors.Is(err, io.EOF):
			return nil, p.sent
		case err != nil:
			return []string{fmt.Sprintf("at %q: %v", step, err)}, p.sent
		}
	}
	if line, _ := p.in.ReadString('\n'); line != "" {
		return []string{fmt.Sprintf("after the end: the client sent %q", line)}, p.sent
	}
	return nil, p.sent
}

// step carries out one line. io.EOF: the script wants the end.
func (p *player) step(step string) error {
	verb, text, _ := strings.Cut(step, " ")
	if verb == "S:" {
		p.out.WriteString(unescape(text) + "\r\n")
		return nil
	}
	if verb == "S>" {
		p.out.WriteString(unescape(text))
		return nil
	}
	if step == "* stall" {
		p.raw.Stall() // before the client is told to go on
	}
	if err := p.flush(); err != nil {
		return err
	}
	switch verb {
	case "C:", "C?":
		return p.expect(unescape(text), verb == "C?")
	case "*":
		return p.act(text)
	}
	return fmt.Errorf("no such line in a script")
}

func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		panic("script: " + text + ": " + err.Error())
	}
	return out
}

func (p *player) expect(want string, prefix bool) error {
	got, err := p.in.ReadString('\n')
	if err != nil {
		if got != "" {
			return fmt.Errorf("the client left after %q", got)
		}
		return errGone
	}
	line, ok := strings.CutSuffix(got, "\r\n")
	if !ok || line != want && !(prefix && strings.HasPrefix(line, want)) {
		return fmt.Errorf("the client sent %q", got)
	}
	return nil
}

func (p *player) flush() error {
	text := p.out.String()
	p.out.Reset()
	return p.send(text)
}

func (p *player) send(text string) error {
	if text == "" {
		return nil
	}
	cut := p.cut >= 0 && p.sent+len(text) >= p.cut
	if cut {
		text = text[:p.cut-p.sent]
	}
	p.sent += len(text)
	if text != "" {
		if _, err := io.WriteString(p.conn, text); err != nil {
			return errGone
		}
	}
	if cut {
		return errGone
	}
	return nil
}

func (p *player) act(text string) error {
	name, args, _ := strings.Cut(text, " ")
	first, rest, _ := strings.Cut(args, " ")
	switch name {
	case "flush":
	case "sleep":
		time.Sleep(duration(first))
	case "drip":
		for _, c := range []byte(unescape(rest) + "\r\n") {
			time.Sleep(duration(first))
			if err := p.send(string(c)); err != nil {
				return err
			}
		}
	case "repeat":
		n, _ := strconv.Atoi(first)
		return p.send(strings.Repeat(unescape(rest)+"\r\n", n))
	case "long":
		n, _ := strconv.Atoi(first)
		return p.send(unescape(rest) + strings.Repeat("x", n) + "\r\n")
	case "body":
		n, _ := strconv.Atoi(first)
		if _, err := io.CopyN(io.Discard, p.in, int64(n)); err != nil {
			return errGone
		}
	case "cut":
		n, _ := strconv.Atoi(first)
		p.raw.CloseAfter(p.raw.Received() + n)
	case "tls":
		return p.handshake(first)
	default:
		return p.end(name)
	}
	return nil
}

func (p *player) end(name string) error {
	switch name {
	case "stall": // since step
		<-p.raw.resume
		return errGone
	case "still":
		before := p.raw.Received()
		time.Sleep(time.Second)
		if after := p.raw.Received(); after != before || p.in.Buffered() > 0 {
			return fmt.Errorf("the client sent more")
		}
	case "eof":
		if line, _ := p.in.ReadString('\n'); line != "" {
			return fmt.Errorf("the client sent %q", line)
		}
		return io.EOF
	case "ignore":
		_, _ = io.Copy(io.Discard, p.in)
		return io.EOF
	case "close":
		return io.EOF
	case "reset":
		p.raw.Reset()
		return io.EOF
	default:
		return fmt.Errorf("no such action in a script")
	}
	return nil
}

// handshake takes TLS from here on. A client that refuses it is gone.
func (p *player) handshake(name string) error {
	cert, ok := p.certs[name]
	if !ok {
		return fmt.Errorf("no such certificate")
	}
	conn := tls.Server(p.raw, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := conn.Handshake(); err != nil {
		return errGone
	}
	p.conn, p.in = conn, bufio.NewReader(conn)
	return nil
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic("script: " + err.Error())
	}
	return d
}
