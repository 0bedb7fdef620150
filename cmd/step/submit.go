package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// envelope is a message on its way to the relay.
type envelope struct {
	from string
	to   []string
	utf8 bool     // needs SMTPUTF8
	bit8 bool     // has bytes beyond ASCII
	dsn  []string // as in a message file
	key  string   // of idempotency; empty: none
	size int64    // in bytes; -1: not known
	body io.WriterTo
}

// answer is what the relay says to a message.
type answer struct {
	id       string
	repeated bool // it was there already, by its key
	err      *Refusal
}

// Refusal says why a message was not taken.
type Refusal struct {
	Temporary bool
	Code      int    // of SMTP; 0: the relay did not answer
	Enhanced  string // "5.7.1"; may be empty
	Text      string
	Away      bool  // the relay cannot be reached, so that the next message need not be tried
	Cause     error // of the system; may be nil
}

// Unwrap is the cause, which may be nil: fs.ErrPermission where a socket is not
// for this user.
func (r *Refusal) Unwrap() error { return r.Cause }

func (r *Refusal) Error() string {
	text := r.Text
	if r.Enhanced != "" {
		text = r.Enhanced + " " + text
	}
	if r.Code > 0 {
		text = fmt.Sprintf("%d %s", r.Code, text)
	}
	return text
}

// away is the refusal where the relay cannot be reached.
func away(err error) *Refusal { return &Refusal{Temporary: true, Away: true, Text: err.Error()} }

// submitter hands messages to one relay. It may be used concurrently.
type submitter interface {
	// open finds out whether the relay is there, and how large a message may
	// be, in bytes; 0: not known.
	open(ctx context.Context) (maxSize int64, err error)
	submit(ctx context.Context, m *envelope) answer
	// who tells, after open, whether the relay is Postern, and its name.
	who() (ours bool, hostname string)
	close()
}

// sessions keeps connections for the next message.
type sessions struct {
	address string
	hello   string

	mu       sync.Mutex
	idle     []*session
	closed   bool
	ours     bool // as the last greeting says
	hostname string
}

func (s *sessions) who() (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ours, s.hostname
}

// messageTimeout is how long a message may take.
const messageTimeout = 15 * time.Minute

func newSessions(address, hello string) *sessions { return &sessions{address: address, hello: hello} }

func (s *sessions) open(ctx context.Context) (int64, error) {
	c, err := s.take(ctx)
	if err != nil {
		return 0, err
	}
	s.put(c)
	return c.maxSize, nil
}

func (s *sessions) take(ctx context.Context) (*session, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	c, err := dial(ctx, s.address, s.hello)
	if err == nil {
		s.mu.Lock()
		s.ours, s.hostname = c.ours, c.hostname
		s.mu.Unlock()
	}
	return c, err
}

func (s *sessions) put(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.conn.Close()
		return
	}
	s.idle = append(s.idle, c)
}

func (s *sessions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		c.quit()
	}
	s.idle = nil
}

// submit uses a connection that is open. Where that turns out to be gone before
// it took any command, the message gets a new one.
func (s *sessions) submit(ctx context.Context, m *envelope) answer {
	for fresh := false; ; fresh = true {
		c, err := s.take(ctx)
		if err != nil {
			return answer{err: asRefusal(err)}
		}
		used := c.used
		a, err := c.send(ctx, m)
		if err == nil {
			s.put(c)
			return a
		}
		c.conn.Close()
		var refused *Refusal
		if !fresh && used && !c.begun && !errors.As(err, &refused) && ctx.Err() == nil {
			continue
		}
		return answer{err: asRefusal(err)}
	}
}

// asRefusal makes whatever is no answer of the relay a temporary refusal.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return away(err)
}
