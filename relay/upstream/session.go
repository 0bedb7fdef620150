package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/memory"
	"postern/spool"
)

// session is one connection and what was agreed on it. It belongs to one
// goroutine.
type session struct {
	opened Opened // they are here so that telling of them allocates nothing
	closed Closed

	dialer *Dialer
	up     *config.Upstream
	feed   Feed
	limits limits
	target string // host and port as configured, or as found
	remote string // address that was connected to
	began  time.Time
	notes  *Report // of an examination; nil: a delivery

	way         way
	connectTime time.Duration // for the connection of this way, and again for its handshake
	facts       memory.Facts  // what is remembered about the upstream
	blind       error         // why nobody can tell; nil: facts it is
	valid       bool          // "opportunistic" was shown a valid certificate
	shaken      shaken        // what was seen of the last handshake

	*connection
	attentive bool                 // while it is being opened: the upstream waits for a command
	tls       *tls.ConnectionState // nil: in clear
	verified  bool
	mechanism string
	ext       extensions

	block    []byte // content on its way from the spool; as large as was needed
	ran      bool   // it was open, and has asked for work
	dirty    bool   // a transaction is open at the upstream: RSET comes first
	mails    int    // transactions begun
	messages int    // transactions that came to an end
	reason   string // why the session ended
	unsure   bool   // inside content, or confused: no QUIT, close the socket

	hangUp  context.CancelFunc // ends a wait for work
	watched chan bool          // how a watch ended: the upstream hung up
}

// run carries out transactions until there are no more, or until the session
// breaks. Every delivery that it took is settled or released when it returns.
func (s *session) run(ctx context.Context) *broken {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	s.hangUp, s.watched = cancel, make(chan bool, 1)
	now, then := new(transaction), new(transaction)
	chained := false // now has begun already, behind the last final dot
	for {
		if !chained && !s.take(waiting, now) {
			return nil
		}
		next := then
		if !s.ext.pipelining || ctx.Err() != nil {
			next = nil // no chain: RFC 2920 §3.1, or a shutdown
		}
		var b *broken
		if chained, b = s.carry(ctx, now, next); b != nil {
			return s.end(b)
		}
		if chained {
			now, then = then, now
		}
	}
}

// exhausted: RFC 9422 §4.1 lets an upstream limit the transactions of a session.
func (s *session) exhausted() bool { return s.ext.maxMail > 0 && s.mails >= s.ext.maxMail }

// end remembers why. A connection that ends between messages is nobody's
// fault: servers limit how much they take over one.
func (s *session) end(b *broken) *broken {
	s.unsure = true
	switch {
	case b.outcome.Cause != "":
		s.reason = b.outcome.Text + ": " + b.outcome.Cause
	case b.ours:
		s.reason = b.outcome.Text
	default:
		s.reason = fmt.Sprintf("the upstream answered %d %s", b.outcome.Code, b.outcome.Text)
	}
	if b.ours || errors.Is(b.err, errBetween) {
		return nil
	}
	return b
}

// errBetween marks the end of a session that burned no message.
var errBetween = errors.New("between messages")

// take waits for the next message that can be begun. False: the session ends
// in order.
func (s *session) take(ctx context.Context, tx *transaction) bool {
	for {
		switch {
		case ctx.Err() != nil:
			s.reason = "shutdown"
			return false
		case s.exhausted():
			s.reason = "as many messages as the upstream takes over one connection"
			return false
		case !s.quiet():
			s.reason, s.unsure = "the upstream sent more than it was asked for"+s.overheard(), true
			return false
		}
		d := s.feed.TryNext()
		if d == nil {
			if d = s.idle(ctx); d == nil {
				return false
			}
		}
		if s.prepare(tx, d) {
			return true
		}
	}
}

// idle waits for work, and for the upstream to hang up meanwhile.
func (s *session) idle(ctx context.Context) *spool.Delivery {
	_ = s.conn.SetReadDeadline(time.Time{})
	go s.watch()
	d, err := s.feed.Next(ctx)
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	switch hungUp := <-s.watched; {
	case hungUp:
		if d != nil {
			s.feed.Release(d)
		}
		s.reason, s.unsure = "the upstream closed the idle connection"+s.overheard(), true
		return nil
	case errors.Is(err, io.EOF):
		s.reason = "no more work"
	case err != nil:
		s.reason = "shutdown"
	}
	if err != nil {
		return nil
	}
	return d
}

// overheard is what the upstream said before it closed, for people.
func (s *session) overheard() string {
	words, _ := s.in.Peek(s.in.Buffered())
	if text := wire.Text(string(trimEnd(words)), 300); text != "" {
		return ", and said: " + text
	}
	return ""
}

// watch waits for the upstream to say or do something, which it is not asked
// for, or for the deadline that ends the waiting.
func (s *session) watch() {
	defer func() {
		if recover() != nil { // in what reads TLS: the connection is of no use any more
			s.hangUp()
			s.watched <- true
		}
	}()
	_, err := s.in.Peek(1)
	closed := !errors.Is(err, os.ErrDeadlineExceeded) // a 421 is as much of an end as a FIN
	if closed {
		s.hangUp()
	}
	s.watched <- closed
}

// close sends QUIT where the upstream can understand it, and never lets a
// half-written message look like a whole one.
func (s *session) close() {
	if s.connection == nil {
		return
	}
	if s.attentive && !s.unsure { // RFC 5321 §4.1.1.10
		s.out = append(s.out[:0], "QUIT\r\n"...)
		if s.flush(quitTimeout) == nil {
			if s.ran {
				s.feed.Leave()
			}
			_, _ = s.read(quitTimeout) // errors after the last answer mean nothing
		}
	}
	_ = s.conn.Close()
}

func (s *session) reportOpen() {
	e := &s.opened
	*e = Opened{
		Upstream: s.up.Name, Remote: s.remote, Verified: s.verified, Mechanism: s.mechanism,
		Pipelining: s.ext.pipelining, Duration: time.Since(s.began),
	}
	if s.tls != nil {
		e.TLSVersion = tls.VersionName(s.tls.Version)
		e.TLSCipher = tls.CipherSuiteName(s.tls.CipherSuite)
		if shown := s.tls.PeerCertificates; len(shown) > 0 {
			e.CertificateEnds = shown[0].NotAfter
		}
		e.Resumed = s.tls.DidResume
	}
	s.dialer.tell(e)
}

func (s *session) reportEnd() {
	s.closed = Closed{
		Upstream: s.up.Name, Remote: s.remote, Messages: s.messages,
		Reason: s.reason, Duration: time.Since(s.began),
	}
	s.dialer.tell(&s.closed)
}
