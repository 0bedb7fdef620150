package step

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"postern/config/wire"
)

// session is one SMTP connection to the relay.
type session struct {
	conn net.Conn
	in   *textproto.Reader
	out  *bufio.Writer

	maxSize                         int64 // SIZE; 0: not announced
	pipelining, chunking, dsn, utf8 bool
	bit8                            bool
	used                            bool // a message went over it before
	ours                            bool // the relay is Postern
	hostname                        string
	begun                           bool // the relay answered to a command of this message
	broken                          bool // it is in no state for another message
	chunk                           bytes.Buffer
}

const (
	// chunk is the most of a message that is held at a time, in bytes.
	chunk = 256 << 10
	// keyField hands an idempotency key to the relay, which takes it out.
	keyField = "Postern-Idempotency-Key"
)

// dial connects and says hello. Only this machine and its network are meant, so
// there is neither TLS nor sign-in.
func dial(ctx context.Context, address, hello string) (*session, error) {
	d := net.Dialer{Timeout: 30 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("no relay answers at %s: %w", address, cause(err))
	}
	s := &session{conn: conn, in: textproto.NewReader(bufio.NewReader(conn)), out: bufio.NewWriterSize(conn, 64<<10)}
	if err := s.greet(ctx, hello); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// cause is the system's part of an error of package net.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (s *session) greet(ctx context.Context, hello string) error {
	defer s.watch(ctx)()
	text, err := s.reply(220)
	if err != nil {
		return err
	}
	s.hostname, s.ours = strings.CutSuffix(text, " ESMTP Postern")
	text, err = s.command(250, "EHLO %s", hello)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(text, "\n")[1:] {
		word, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(word) {
		case "SIZE": // RFC 1870 §4: 0 is no fixed limit
			s.maxSize, _ = strconv.ParseInt(rest, 10, 64)
		case "PIPELINING":
			s.pipelining = true
		case "CHUNKING":
			s.chunking = true
		case "DSN":
			s.dsn = true
		case "SMTPUTF8":
			s.utf8 = true
		case "8BITMIME":
			s.bit8 = true
		}
	}
	return nil
}

// watch ends what waits for the relay when ctx ends, or after messageTimeout.
func (s *session) watch(ctx context.Context) (stop func()) {
	_ = s.conn.SetDeadline(time.Now().Add(messageTimeout))
	cut := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	return func() { cut() }
}

func (s *session) command(expect int, format string, args ...any) (string, error) {
	fmt.Fprintf(s.out, format+"\r\n", args...)
	if err := s.out.Flush(); err != nil {
		return "", err
	}
	return s.reply(expect)
}

// reply reads one answer. Any other code than expect is a *Refusal.
func (s *session) reply(expect int) (string, error) {
	code, text, err := s.in.ReadResponse(expect)
	var other *textproto.Error
	switch {
	case err == nil:
		s.begun = true
		return text, nil
	case errors.As(err, &other):
		s.begun = true
		return "", refusal(code, text)
	}
	return "", fmt.Errorf("the relay did not answer: %w", cause(err))
}

// refusal takes an answer apart (RFC 2034 §4).
func refusal(code int, text string) *Refusal {
	r := &Refusal{Code: code, Temporary: code < 500, Away: code == 421}
	text = strings.ReplaceAll(text, "\n", " ")
	if word, rest, ok := strings.Cut(text, " "); ok && strings.Count(word, ".") == 2 && strings.Trim(word, ".0123456789") == "" {
		r.Enhanced, text = word, rest
	}
	r.Text = wire.Line(text)
	return r
}

// send hands over one message. Only an error of the connection, or one after
// which it can't be used, comes back as an error.
func (s *session) send(ctx context.Context, m *envelope) (answer, error) {
	defer s.watch(ctx)()
	s.begun, s.broken = false, false
	if m.utf8 && !s.utf8 {
		return answer{err: &Refusal{Code: 553, Enhanced: "5.6.7", Text: "the relay does not take addresses beyond ASCII"}}, nil
	}
	defer func() { s.used = true }()
	text, err := s.transaction(m)
	var r *Refusal
	switch {
	case err == nil:
		return taken(text), nil
	case !errors.As(err, &r):
		return answer{}, err
	case s.broken || r.Away:
		return answer{}, r
	}
	if _, err := s.command(250, "RSET"); err != nil {
		return answer{}, r
	}
	return answer{err: r}, nil
}

// taken reads "2.0.0 queued as ID", or "queued before as ID" for a message that
// the relay knew by its key.
func taken(text string) answer {
	before, id, ok := strings.Cut(text, " as ")
	if !ok {
		return answer{}
	}
	id, _, _ = strings.Cut(id, " ")
	return answer{id: id, repeated: strings.HasSuffix(before, "queued before")}
}

// transaction gives the envelope and the content. The message is taken for all
// recipients or for none.
func (s *session) transaction(m *envelope) (string, error) {
	if err := s.addressed(s.commands(m)); err != nil {
		return "", err
	}
	if s.chunking {
		return s.chunks(m)
	}
	if _, err := s.command(354, "DATA"); err != nil {
		return "", err
	}
	s.broken = true // until the final dot is answered
	d := &dots{w: s.out, start: true}
	if err := s.content(d, m); err != nil {
		return "", err
	}
	if err := d.end(); err != nil {
		return "", err
	}
	text, err := s.reply(250)
	s.broken = false
	return text, err
}

// addressed gives commands, together where the relay takes that (RFC 2920
// §3.1), and returns the first refusal.
func (s *session) addressed(commands []string) error {
	if !s.pipelining {
		for _, c := range commands {
			if _, err := s.command(250, "%s", c); err != nil {
				return err
			}
		}
		return nil
	}
	_, _ = s.out.WriteString(strings.Join(commands, "\r\n") + "\r\n")
	if err := s.out.Flush(); err != nil {
		return err
	}
	var first error
	for range commands {
		_, err := s.reply(250)
		var r *Refusal
		if err != nil && !errors.As(err, &r) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// commands are MAIL and each RCPT.
func (s *session) commands(m *envelope) []string {
	from := "MAIL FROM:<" + m.from + ">"
	if m.size > 0 && s.maxSize > 0 {
		from += " SIZE=" + strconv.FormatInt(m.size, 10)
	}
	if m.utf8 {
		from += " SMTPUTF8"
	}
	if m.bit8 && s.bit8 {
		from += " BODY=8BITMIME"
	}
	commands := []string{from}
	notify := ""
	if len(m.dsn) > 0 && s.dsn {
		notify = " NOTIFY=" + strings.ToUpper(strings.Join(m.dsn, ","))
	}
	for _, to := range m.to {
		commands = append(commands, "RCPT TO:<"+to+">"+notify)
	}
	return commands
}

// content writes the key and the message. Another relay would hand the key on
// to the recipients.
func (s *session) content(w io.Writer, m *envelope) error {
	if m.key != "" && s.ours {
		if _, err := io.WriteString(w, keyField+": "+m.key+"\r\n"); err != nil {
			return err
		}
	}
	remote := &remembers{w: w}
	_, err := m.body.WriteTo(remote)
	if err != nil && remote.err == nil { // not the relay's fault: a file has changed
		return &Refusal{Text: err.Error()}
	}
	return err
}

// remembers tells an error of w from one of whoever writes.
type remembers struct {
	w   io.Writer
	err error
}

func (r *remembers) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}

// chunks sends the content by BDAT (RFC 3030 §2), which needs no dots.
func (s *session) chunks(m *envelope) (string, error) {
	s.broken = true // until the last chunk is answered
	s.chunk.Reset()
	c := &chunker{s: s, b: &s.chunk}
	if err := s.content(c, m); err != nil {
		return "", err
	}
	if err := c.give(true); err != nil {
		return "", err
	}
	for ; c.open > 1; c.open-- {
		if _, err := s.reply(250); err != nil {
			return "", err
		}
	}
	text, err := s.reply(250)
	s.broken = false
	return text, err
}

// chunker cuts what is written into chunks. It waits for no answer before the
// end, but for one where that is needed to notice a refusal.
type chunker struct {
	s    *session
	b    *bytes.Buffer
	open int // chunks without an answer
}

func (c *chunker) Write(p []byte) (int, error) {
	if c.b.Len()+len(p) > chunk && c.b.Len() > 0 {
		if err := c.give(false); err != nil {
			return 0, err
		}
	}
	return c.b.Write(p)
}

func (c *chunker) give(last bool) error {
	if c.open > 0 { // the answer to the chunk before is there by now
		c.open--
		if _, err := c.s.reply(250); err != nil {
			return err
		}
	}
	end := ""
	if last {
		end = " LAST"
	}
	fmt.Fprintf(c.s.out, "BDAT %d%s\r\n", c.b.Len(), end)
	_, _ = c.s.out.Write(c.b.Bytes())
	c.b.Reset()
	c.open++
	return c.s.out.Flush()
}

// dots doubles the dots at the beginning of lines (RFC 5321 §4.5.2).
type dots struct {
	w     *bufio.Writer
	start bool // of a line
}

func (d *dots) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if d.start && rest[0] == '.' {
			_ = d.w.WriteByte('.')
		}
		n := bytes.IndexByte(rest, '\n') + 1
		d.start = n > 0
		if n == 0 {
			n = len(rest)
		}
		if _, err := d.w.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func (d *dots) end() error {
	if !d.start {
		_, _ = d.w.WriteString("\r\n")
	}
	_, _ = d.w.WriteString(".\r\n")
	return d.w.Flush()
}

func (s *session) quit() {
	_ = s.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(s.conn, "QUIT\r\n")
	s.conn.Close()
}
