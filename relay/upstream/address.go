package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"postern/config"
	"postern/spool"
)

const (
	// raceDelay is how long one address is waited for before the next is tried
	// beside it: RFC 8305 §5.
	raceDelay = 250 * time.Millisecond
	// addressLimit bounds each step of opening a session, while the host has
	// another address.
	addressLimit = 5 * time.Second
	// sickLifetime is how long an address that failed is tried last.
	sickLifetime = 10 * time.Minute
	// maxAddresses bounds how many addresses of a host are tried, maxSick how
	// many are remembered to have failed.
	maxAddresses = 8
	maxSick      = 1000
)

// errOvertaken is an address that another one beside it was faster than. What
// is dead must not cost each session its head start.
var errOvertaken = fmt.Errorf("no answer within %s, and another address was faster", raceDelay)

// sick names an address of an upstream that failed.
type sick struct {
	upstream string
	address  netip.AddrPort
}

// addresses are those of a host, in the order in which they are to be tried:
// RFC 5321 §5.1 wants all of them. Families take turns (RFC 8305 §4), and what
// failed lately comes last. A host that only Dial can find has none.
func (d *Dialer) addresses(ctx context.Context, upstream, host string, port int) ([]netip.AddrPort, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a, uint16(port))}, nil
	}
	if d.Dial != nil && d.LookUp == nil {
		return nil, nil
	}
	found, err := d.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	var families [2][]netip.AddrPort
	first := 0
	for i, a := range found {
		a = a.Unmap()
		family := 0
		if a.Is6() {
			family = 1
		}
		if i == 0 {
			first = family
		}
		families[family] = append(families[family], netip.AddrPortFrom(a, uint16(port)))
	}
	var well, ill []netip.AddrPort
	for i := 0; i < max(len(families[0]), len(families[1])); i++ {
		for _, family := range [...]int{first, 1 - first} {
			if i >= len(families[family]) {
				continue
			}
			if a := families[family][i]; d.isSick(upstream, a) {
				ill = append(ill, a)
			} else {
				well = append(well, a)
			}
		}
	}
	all := append(well, ill...)
	return all[:min(len(all), maxAddresses)], nil
}

func (d *Dialer) isSick(upstream string, a netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.sick[sick{upstream, a}])
}

// sicken notes that an address failed; news: it did not lately.
func (d *Dialer) sicken(upstream string, a netip.AddrPort) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.sick == nil {
		d.sick = map[sick]time.Time{}
	}
	k := sick{upstream, a}
	until, known := d.sick[k]
	if !known && len(d.sick) >= maxSick {
		d.forgetOldest()
	}
	news = !now.Before(until)
	d.sick[k] = now.Add(sickLifetime)
	return news
}

// forgetOldest makes room for another address that failed. d.mu is held.
func (d *Dialer) forgetOldest() {
	var oldest sick
	var when time.Time
	for k, until := range d.sick {
		if when.IsZero() || until.Before(when) {
			oldest, when = k, until
		}
	}
	delete(d.sick, oldest)
}

func (d *Dialer) heal(upstream string, a netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sick, sick{upstream, a})
}

// race connects to the first of several addresses that takes connections: each
// is given a head start over the next, which begins at once where it fails.
// failed are those that were found not to connect, with the reason; one that
// has used up its head start when another is connected is among them.
func (d *Dialer) race(ctx context.Context, addresses []netip.AddrPort) (conn net.Conn, at netip.AddrPort, failed map[netip.AddrPort]error) {
	type result struct {
		conn net.Conn
		at   netip.AddrPort
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result)
	failed = map[netip.AddrPort]error{}
	began := map[netip.AddrPort]time.Time{}
	next, running := 0, 0
	begin := func() {
		a := addresses[next]
		began[a] = time.Now()
		next++
		running++
		go func() {
			conn, err := d.dialSafely(ctx, a.String())
			results <- result{conn, a, err}
		}()
	}
	defer func() {
		cancel()
		go func(n int) { // those that lost
			for range n {
				if r := <-results; r.conn != nil {
					_ = r.conn.Close()
				}
			}
		}(running)
	}()
	timer := time.NewTimer(raceDelay)
	defer timer.Stop()
	begin()
	for {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				delete(began, r.at)
				for a, since := range began {
					if time.Since(since) >= raceDelay {
						failed[a] = errOvertaken
					}
				}
				return r.conn, r.at, failed
			}
			delete(began, r.at)
			failed[r.at] = r.err
			if next == len(addresses) && running == 0 {
				return nil, netip.AddrPort{}, failed
			}
			if next < len(addresses) {
				begin()
				timer.Reset(raceDelay)
			}
		case <-timer.C:
			if next < len(addresses) {
				begin()
				timer.Reset(raceDelay)
			}
		}
	}
}

// travel goes one way, to whichever address of its host lets a session be
// opened: a host is all of its addresses. limit bounds each connection, and
// again its TLS handshake. After the upstream's connect_timeout no other
// address is tried: the next session begins with those that were left.
func (s *session) travel(ctx context.Context, w way, limit time.Duration) *spool.Fault {
	s.way, s.target, s.connectTime = w, w.String(), limit
	if s.dialer.within(s.up) {
		return s.attempt(ctx, w, nil, limit, nil)
	}
	resolving, cancel := context.WithTimeout(ctx, limit)
	left, err := s.dialer.addresses(resolving, s.up.Name, w.host, w.port)
	cancel()
	if err != nil {
		return s.unresolved(w, err)
	}
	if len(left) < 2 {
		fault := s.attempt(ctx, w, left, limit, nil)
		if fault == nil && len(left) == 1 {
			s.dialer.heal(s.up.Name, left[0])
		}
		return fault
	}
	var faults []*spool.Fault
	until := time.Now().Add(max(s.limits.connect, 2*addressLimit))
	for len(left) > 0 && time.Now().Before(until) {
		tried := netip.AddrPort{}
		fault := s.attempt(ctx, w, left, min(limit, time.Until(until)), &tried)
		if fault == nil {
			s.dialer.heal(s.up.Name, tried)
			return nil
		}
		if isOurs(fault.Err) {
			return fault
		}
		faults = append(faults, fault)
		if !tried.IsValid() || ctx.Err() != nil {
			break // none took a connection, or it is not about any address
		}
		s.failedAt(tried, fault)
		left = without(left, tried)
		s.hangUpWire()
	}
	return worst(faults)
}

// isOurs tells whether err is about this side alone, so that no address can be
// blamed for it.
func isOurs(err error) bool {
	var trouble *Trouble
	return errors.As(err, &trouble) && trouble.ours || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// unresolved is a host that has no address, or of which nobody knows.
func (s *session) unresolved(w way, err error) (fault *spool.Fault) {
	defer s.notes.way(w)(&fault)
	defer s.notes.step(StepConnect)(&fault)
	return s.unconnected(err)
}

// without is addresses less one.
func without(addresses []netip.AddrPort, a netip.AddrPort) []netip.AddrPort {
	var rest []netip.AddrPort
	for _, other := range addresses {
		if other != a {
			rest = append(rest, other)
		}
	}
	return rest
}

// hangUpWire forgets a connection that came to nothing, without waiting for
// its last word.
func (s *session) hangUpWire() {
	if s.connection != nil {
		if s.attentive && !s.unsure {
			s.out = append(s.out[:0], "QUIT\r\n"...)
			_ = s.flush(time.Second)
		}
		_ = s.conn.Close()
	}
	s.connection, s.remote, s.tls, s.verified, s.valid, s.attentive, s.unsure = nil, "", nil, false, false, false, false
}

// failedAt notes that an address failed, and says so once.
func (s *session) failedAt(a netip.AddrPort, fault *spool.Fault) {
	if s.notes == nil && s.dialer.sicken(s.up.Name, a) {
		s.dialer.tell(&AddressFailed{Upstream: s.up.Name, Remote: a.String(), For: sickLifetime, Outcome: fault.Outcome})
	}
}

// attempt connects within limit to one of several addresses, and tells which
// that was; nil: the host has one. What it says of another one of them it has
// tried as well.
func (s *session) attempt(ctx context.Context, w way, addresses []netip.AddrPort, limit time.Duration, tried *netip.AddrPort) (fault *spool.Fault) {
	defer s.notes.way(w)(&fault)
	if fault := s.connect(ctx, addresses, limit, tried); fault != nil {
		return fault
	}
	if tried != nil {
		s.target = tried.String()
		defer func() { s.target = w.String() }()
	}
	if len(addresses) > 1 {
		connectTime, command := s.connectTime, s.limits.command
		s.connectTime, s.limits.command = min(connectTime, addressLimit), min(command, addressLimit)
		defer func() { s.connectTime, s.limits.command = connectTime, command }()
	}
	defer s.endWith(ctx)()
	if s.way.tls == config.TLSImplicit {
		if fault := s.handshake(ctx); fault != nil {
			return fault
		}
	}
	if fault := s.greet(); fault != nil {
		return fault
	}
	return s.secure(ctx)
}

// connect opens the connection to one of addresses; none: to the target, by
// its name.
func (s *session) connect(ctx context.Context, addresses []netip.AddrPort, limit time.Duration, tried *netip.AddrPort) (fault *spool.Fault) {
	defer s.notes.step(StepConnect)(&fault)
	dialing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if len(addresses) == 0 {
		conn, err := s.dialByName(dialing)
		return s.connected(conn, err)
	}
	conn, at, failed := s.dialer.race(dialing, addresses)
	if tried != nil {
		*tried = at
	}
	var faults []*spool.Fault
	for _, a := range addresses {
		if err := failed[a]; err != nil {
			f := s.unconnected(err)
			if isOurs(err) {
				faults = []*spool.Fault{f}
				break
			}
			if tried != nil {
				f.Outcome.Remote = a.String()
				if ctx.Err() == nil {
					s.failedAt(a, f)
				}
			}
			faults = append(faults, f)
		}
	}
	if conn != nil {
		return s.connected(conn, nil)
	}
	return worst(faults)
}

// dialByName connects to what has a name and no addresses.
func (s *session) dialByName(ctx context.Context) (net.Conn, error) {
	if s.dialer.within(s.up) {
		return s.dialer.Capture(ctx)
	}
	return s.dialer.dial(ctx, s.target)
}

func (s *session) connected(conn net.Conn, err error) *spool.Fault {
	if err != nil {
		return s.unconnected(err)
	}
	s.connection = newConnection(conn)
	s.remote = conn.RemoteAddr().String()
	return nil
}

// unconnected is a host that cannot be resolved, or an address that takes no
// connection.
func (s *session) unconnected(err error) *spool.Fault {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return s.fault(spool.StageResolve, "the host name could not be resolved", err)
	}
	return s.fault(spool.StageConnect, "could not connect", err)
}
