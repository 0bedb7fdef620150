package sendmail

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"postern/cmd/step"
	"postern/config/wire"
)

// Session speaks SMTP on in and out until the client has said QUIT, or in ends.
// Each message is handed in as by Deliver, and answered when it is durable.
//
// The replies tell what became of each, and nil is returned whatever they were,
// as a client that speaks SMTP reads them. One that wrote something else, such as
// a bare message, does not: where it was refused line by line and never got as
// far as HELO, the error is a *Failure.
func (p *Place) Session(ctx context.Context, f *Flags, in io.Reader, out io.Writer) error {
	if in == nil {
		return unreadable(errors.New("there is none"))
	}
	conn := &stdio{in: in, out: out, closed: make(chan struct{})}
	greeted := false
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		greeted = true
		return &session{ctx: ctx, place: p, remark: f.remark()}, nil
	}))
	server.Domain = p.Host
	server.EnableSMTPUTF8 = true
	server.MaxLineLength = 1 << 20
	server.ErrorLog = log.New(io.Discard, "", 0)
	err := server.Serve(&single{conn: conn})
	switch {
	case !errors.Is(err, net.ErrClosed):
		return err
	case conn.refused && !greeted:
		return &Failure{Code: DataErr, Text: "nothing was sent: standard input is no dialogue of SMTP, which -bs takes; leave -bs away to send a message"}
	}
	return nil
}

// session is one SMTP dialogue, which no DSN is announced in: NOTIFY may differ
// from recipient to recipient.
type session struct {
	ctx    context.Context
	place  *Place
	remark string
	from   string
	to     []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.Reset()
	s.from = wire.QuoteAddress(from)
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, wire.QuoteAddress(to))
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := read(r, true, false)
	if m != nil {
		defer m.Close()
	}
	if err == nil {
		err = s.place.handIn(s.ctx, &step.Finished{From: s.from, To: unique(s.to), Remark: s.remark, Size: m.Size(), Body: m})
	}
	return answer(err)
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }

// answer is the reply for an error.
func answer(err error) error {
	var f *Failure
	var r *step.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r) && r.Code > 0:
		return &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.NoEnhancedCode, Message: enhanced(r)}
	case errors.As(err, &f) && f.Code != TempFail && f.Code != NoInput && f.Code != CantCreate:
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 0, 0}, Message: wire.Line(f.Text)}
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: wire.Line(err.Error())}
}

// enhanced is the sentence of a refusal behind its status code.
func enhanced(r *step.Refusal) string {
	if r.Enhanced == "" {
		return wire.Line(r.Text)
	}
	return r.Enhanced + " " + wire.Line(r.Text)
}

// stdio is standard input and output as a connection.
type stdio struct {
	in     io.Reader
	out    io.Writer
	once   sync.Once
	closed chan struct{}

	within  bool // the last byte written does not end a line
	refused bool // a line that was written begins with 5
}

// isClosed: the server goes on with lines that it has read already after it has
// closed a connection for too many errors, when Session may have returned.
func (c *stdio) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *stdio) Read(p []byte) (int, error) {
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	return c.in.Read(p)
}

func (c *stdio) Write(p []byte) (int, error) {
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	for _, b := range p {
		c.refused = c.refused || !c.within && b == '5'
		c.within = b != '\n'
	}
	return c.out.Write(p)
}

func (c *stdio) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *stdio) LocalAddr() net.Addr              { return &net.UnixAddr{Net: "unix"} }
func (c *stdio) RemoteAddr() net.Addr             { return &net.UnixAddr{Net: "unix"} }
func (c *stdio) SetDeadline(time.Time) error      { return nil }
func (c *stdio) SetReadDeadline(time.Time) error  { return nil }
func (c *stdio) SetWriteDeadline(time.Time) error { return nil }

// single is a listener at which one connection comes in, and which ends with it.
type single struct {
	conn  *stdio
	given bool
}

func (l *single) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.conn.closed
	return nil, net.ErrClosed
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }
