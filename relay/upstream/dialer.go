package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/config"
	"postern/relay/memory"
	"postern/spool"
)

// Feed is what one session is given to do. A session calls its methods one
// at a time, and gives back every delivery that it takes by exactly one
// Settle or Release.
type Feed interface {
	// Next waits for the next delivery. io.EOF: the session is to end, also
	// because nothing came for the upstream's IdleClose.
	Next(ctx context.Context) (*spool.Delivery, error)
	// TryNext returns a delivery that is due now, or nil.
	TryNext() *spool.Delivery
	// Content opens the content of d. The session closes it.
	Content(d *spool.Delivery) (spool.Content, error)
	// DotSent is called before the final dot of d goes out. After an error
	// the dot is not sent.
	DotSent(d *spool.Delivery) error
	// Again asks whether another transaction of d may begin, for recipients
	// that did not fit into the last. Where not, those are taken out of
	// d.Pending before it is settled, and come again.
	Again(d *spool.Delivery) bool
	// Settle ends d with one outcome for each of d.Pending, in that order.
	Settle(d *spool.Delivery, outcomes []spool.Outcome)
	// Release gives d back untried.
	Release(d *spool.Delivery)
	// Leave is called, at most once, by a session that has nothing more to ask
	// for, and waits for no more than the answer to QUIT.
	Leave()
}

// Tokens gives access tokens.
type Tokens interface {
	// Token returns one for the account, other than refused, which the upstream
	// has just turned down; "": any. Its error holds no secret.
	Token(ctx context.Context, account *config.Account, refused string) (string, error)
}

// Dialer opens sessions. The zero value is ready for use. Its methods may be
// called concurrently; the fields are set before the first use.
type Dialer struct {
	// Hostname gives the argument of EHLO; nil: config.MachineName.
	Hostname func() string
	// Events is told of sessions; nil: nobody is.
	Events func(Event)
	// Form gives each message the form in which it goes to an upstream, before
	// anything of it is sent; nil: all go as they are. An outcome says why there
	// is none. It is called concurrently.
	Form func(*Form) *spool.Outcome
	// Tokens gives what the mechanisms of OAuth 2.0 sign in with; nil: they
	// cannot.
	Tokens Tokens
	// Memory keeps what is learnt about the TLS of upstreams; nil: nothing
	// outlives a session.
	Memory *memory.Store
	// LookupSRV asks for SRV records; nil: net.DefaultResolver.
	LookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	// Dial connects; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Capture connects to the capture server of this process, to which upstreams
	// with that provider lead; nil: there is none.
	Capture func(ctx context.Context) (net.Conn, error)
	// LookUp finds the addresses of a host, all of which are tried; nil: the
	// system's resolver or, where Dial is set, nobody: Dial is given the name.
	LookUp func(ctx context.Context, host string) ([]netip.Addr, error)

	mu       sync.Mutex
	profiles map[string]*profile  // by name of the upstream
	sick     map[sick]time.Time   // addresses that failed, and until when they are tried last
	plain    map[string]time.Time // upstreams that stalled on pipelined commands, and until when they get none
}

// The limits of an upstream that has none of its own (RFC 5321 §4.5.3.2).
const (
	defaultConnect = 30 * time.Second
	defaultCommand = 5 * time.Minute
	defaultData    = 10 * time.Minute
	// quitTimeout bounds QUIT and its answer, on which nothing depends.
	quitTimeout = 5 * time.Second
)

// limits are the waits of one session.
type limits struct {
	connect time.Duration // until a connection stands, and until TLS does
	command time.Duration // for a reply, from its first byte to its last
	data    time.Duration // for a block of content to leave, and for the reply to the final dot
}

func limitsOf(up *config.Upstream) limits {
	or := func(d, fallback time.Duration) time.Duration {
		if d > 0 {
			return d
		}
		return fallback
	}
	return limits{
		connect: or(up.ConnectTimeout, defaultConnect),
		command: or(up.CommandTimeout, defaultCommand),
		data:    or(up.DataTimeout, defaultData),
	}
}

// Deliver connects to up, signs in, and carries out what feed hands out until
// feed has had nothing for the upstream's IdleClose, or ends, or ctx is done.
//
// It returns nil after an orderly end, also where the upstream closed an idle
// connection or wanted no more messages on it. A *spool.Fault says that the
// session could not be opened, in which case nothing was taken from feed, or
// broke off. When ctx is done it finishes the transaction that is under way
// and ends; while the session is being opened it returns the error of ctx.
func (d *Dialer) Deliver(ctx context.Context, up *config.Upstream, feed Feed) error {
	s := d.newSession(up)
	s.feed = feed
	defer func() {
		if v := recover(); v != nil { // nothing more may be said over this connection
			if s.connection != nil {
				_ = s.connection.conn.Close()
			}
			panic(v)
		}
	}()
	if fault := s.open(ctx); fault != nil {
		s.close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault
	}
	s.ran = true
	err := s.run(ctx)
	s.close()
	s.reportEnd()
	if err != nil {
		return err.fault(s.target)
	}
	return nil
}

func (d *Dialer) newSession(up *config.Upstream) *session {
	return &session{
		dialer: d, up: up, limits: limitsOf(up),
		target: Target(up), began: time.Now(),
	}
}

func (d *Dialer) hostname() string {
	if d.Hostname != nil {
		return d.Hostname()
	}
	return config.MachineName()
}

func (d *Dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	if d.Dial != nil {
		return d.Dial(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// dialSafely is dial, of which a defect is an error: for goroutines of its own.
func (d *Dialer) dialSafely(ctx context.Context, address string) (conn net.Conn, err error) {
	defer func() {
		if v := recover(); v != nil {
			conn, err = nil, fmt.Errorf("a defect of this program: %v", v)
		}
	}()
	return d.dial(ctx, address)
}

// within tells whether up is in this process, where there is nothing to look up.
func (d *Dialer) within(up *config.Upstream) bool {
	return up.Provider == config.CaptureProvider && d.Capture != nil
}

func (d *Dialer) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if d.LookUp != nil {
		return d.LookUp(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
