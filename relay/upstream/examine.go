package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/spool"
)

// Rehearsal is an envelope that is tried as far as RCPT. Both addresses are in
// wire form; an empty From is the null reverse-path.
type Rehearsal struct {
	From, To string
}

// Rehearsed is what an upstream said to it.
type Rehearsed struct {
	Rehearsal
	Took time.Duration
	// Refusal is what kept the envelope from going, at MAIL or at RCPT, by an
	// answer of the upstream or by what it does not offer; nil: nothing.
	Refusal *spool.Outcome
}

// Examine opens a session as Deliver does, tries the envelopes without
// sending a message, and reports everything that it saw on the way. It also
// looks up the host and connects to each of its addresses, where there are
// several. When ctx is done, the report ends where it is.
func (d *Dialer) Examine(ctx context.Context, up *config.Upstream, envelopes []Rehearsal) *Report {
	return d.ExamineSeen(ctx, up, envelopes, nil)
}

// ExamineSeen is Examine for somebody who looks on: seen is told of each step as it
// begins and ends, with a report as far as it has come, which is theirs. The
// examination waits for seen meanwhile. Lookup and Addresses come last.
func (d *Dialer) ExamineSeen(ctx context.Context, up *config.Upstream, envelopes []Rehearsal, seen func(*Report)) *Report {
	began := time.Now()
	r := &Report{}
	s := d.newSession(up)
	s.notes = r
	if seen != nil {
		r.seen = func() {
			c := r.sofar()
			c.Remote, c.Verified = s.remote, s.verified
			seen(c)
		}
	}
	r.Fault = s.open(ctx)
	if r.Fault != nil && ctx.Err() != nil {
		r.Fault.Outcome = spool.Outcome{
			Stage: r.Fault.Outcome.Stage, Remote: s.target, Text: "no answer", Cause: "the examination was ended before one came",
		}
	}
	r.choose()
	r.Remote, r.Verified = s.remote, s.verified
	if r.Fault == nil {
		stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
		s.rehearseAll(envelopes)
		stop()
	}
	s.close()
	r.begin(StepAddresses)
	d.reach(ctx, up, r)
	r.Took, r.Doing, r.seen = time.Since(began), "", nil
	return r
}

// reach looks up the host of the way that was taken and tries each of several
// addresses, as many of them as a delivery would, and waits no longer for
// either than that does for a connection.
func (d *Dialer) reach(ctx context.Context, up *config.Upstream, r *Report) {
	if d.within(up) {
		r.Lookup.Literal = true
		return
	}
	host := up.Host
	if at, _, err := net.SplitHostPort(r.Target); err == nil {
		host = at
	}
	if address, err := netip.ParseAddr(host); err == nil {
		r.Lookup.Literal, r.Addresses = true, []Reach{{Address: address}}
		return
	}
	r.Lookup.Host = host
	if r.Lookup.Skipped = ctx.Err() != nil; r.Lookup.Skipped {
		return
	}
	began, limit := time.Now(), limitsOf(up).connect
	resolving, cancel := context.WithTimeout(ctx, limit)
	found, err := d.lookUp(resolving, host)
	cancel()
	r.Lookup.Took, r.Lookup.Err = time.Since(began), err
	found = found[:min(len(found), maxAddresses)]
	for _, address := range found {
		r.Addresses = append(r.Addresses, Reach{Address: address.Unmap()})
	}
	if len(found) < 2 || r.Port == 0 {
		return
	}
	var all sync.WaitGroup
	for i := range r.Addresses {
		all.Go(func() { d.try(ctx, limit, r.Port, &r.Addresses[i]) })
	}
	all.Wait()
}

// try connects to one address and hangs up.
func (d *Dialer) try(ctx context.Context, limit time.Duration, port int, at *Reach) {
	trying, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	conn, err := d.dialSafely(trying, net.JoinHostPort(at.Address.String(), strconv.Itoa(port)))
	at.Tried, at.Took = true, time.Since(began)
	if err != nil {
		at.Err = describe(err)
		return
	}
	_ = conn.Close()
}

// rehearseAll tries envelopes as far as the session lasts.
func (s *session) rehearseAll(envelopes []Rehearsal) {
	for _, e := range envelopes {
		if s.exhausted() {
			break
		}
		s.notes.begin(StepRehearse)
		began := time.Now()
		refusal, b := s.rehearse(e)
		s.notes.Rehearsed = append(s.notes.Rehearsed, Rehearsed{e, time.Since(began), refusal})
		if b != nil {
			s.unsure = true
			return
		}
	}
	if s.dirty {
		_, _ = s.command("RSET") // QUIT is next: whatever it says changes nothing
	}
}

// rehearse carries one envelope through the code that delivers, up to where
// DATA would follow.
func (s *session) rehearse(e Rehearsal) (*spool.Outcome, *broken) {
	stage := &stage{}
	s.feed = stage
	tx := &transaction{}
	if !s.prepare(tx, stage.delivery(e)) {
		return stage.outcome, nil
	}
	tx.dry = true
	if b := s.converse(tx); b != nil {
		return &b.outcome, b
	}
	if !tx.known[0] {
		return nil, nil
	}
	return &tx.outcomes[0], nil
}

// stage is the feed of a rehearsal: a message that nobody wrote.
type stage struct{ outcome *spool.Outcome }

// stageSize is what a rehearsed message is said to have, in bytes: no upstream
// that takes any mail refuses it.
const stageSize = 1000

func (*stage) delivery(e Rehearsal) *spool.Delivery {
	return &spool.Delivery{Pending: []int{0}, Size: stageSize, Envelope: &spool.Envelope{
		From: e.From, Recipients: []spool.Recipient{{Address: e.To}},
		SMTPUTF8: !wire.IsASCII(e.From) || !wire.IsASCII(e.To),
	}}
}

func (*stage) Next(context.Context) (*spool.Delivery, error)   { return nil, io.EOF }
func (*stage) TryNext() *spool.Delivery                        { return nil }
func (*stage) Content(*spool.Delivery) (spool.Content, error)  { return blank{}, nil }
func (*stage) DotSent(*spool.Delivery) error                   { return errors.New("a rehearsal sends nothing") }
func (*stage) Again(*spool.Delivery) bool                      { return false }
func (*stage) Release(*spool.Delivery)                         {}
func (*stage) Leave()                                          {}
func (f *stage) Settle(_ *spool.Delivery, out []spool.Outcome) { f.outcome = &out[0] }

// blank is content that is never sent.
type blank struct{}

func (blank) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (blank) Close() error                      { return nil }
func (blank) Size() int64                       { return stageSize }
