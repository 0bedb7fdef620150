package intake

import (
	"net"
	"net/netip"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/relay/ack"
	"postern/relay/peer"
)

// A connection that waited this long for its client may have to make room for
// a new one. Within a transaction more is waited for.
const (
	evictIdle = time.Second
	evictMail = 10 * time.Second
)

// admit begins a connection, or sends the client away at once. It runs on the
// accept loop, so nothing in it waits for the client.
func (s *Server) admit(d *door, nc net.Conn) {
	set := d.settings.Load()
	c := &conn{srv: s, set: set, raw: nc, nc: nc, ack: ack.Of(nc), started: time.Now()}
	c.out = c.outSmall[:0]
	c.peer.settings, c.peer.ctx = set, s.ctx
	c.peer.Addr, c.peer.Name = address(nc)
	if r, why := s.screen(c); r != nil {
		s.turnAway(c, r, why)
		return
	}
	c.origin = originOf(&c.peer)
	if !d.seat(c) {
		s.turnAway(c, say(421, 4, 3, 2, "too many connections, try again later"), "too many connections")
		return
	}
	if d.shut.Load() { // whoever closed the door may not have seen it
		c.interrupt(wokenShutdown)
	}
	if now := d.settings.Load(); now != set { // a reload may not have seen c
		c.review(now)
	}
	s.events.ConnectionOpened(c.peer.info())
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer d.leave(c)
		c.serve()
	}()
}

// screen tells whether the peer may talk here.
func (s *Server) screen(c *conn) (*smtp.SMTPError, string) {
	if uc, ok := c.raw.(*net.UnixConn); ok {
		user, err := peer.User(uc)
		if err != nil {
			return say(421, 4, 3, 0, "cannot tell who you are, try again later"), "peer credentials: " + err.Error()
		}
		c.peer.UnixUser = user
		c.peer.Name = "unix:" + user
		return nil, ""
	}
	if !c.set.allows(c.peer.Addr) {
		// RFC 5321 §3.1: 554 in place of the greeting.
		return say(554, 5, 7, 1, "your address may not use this server"), "address not allowed"
	}
	return nil, ""
}

// turnAway answers with one line and closes. A fresh socket takes a line
// without waiting.
func (s *Server) turnAway(c *conn, r *smtp.SMTPError, why string) {
	s.events.ConnectionRefused(c.peer.info(), why)
	if c.set.cfg.TLS != tlsImplicit {
		c.reply(r)
		c.raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		c.raw.Write(c.out)
	}
	c.raw.Close()
}

// seat gives c one of the listener's places. When all are taken, the
// connection that has waited longest for its client makes room, from the peer
// that holds most places, so that neither a program that forgot to close its
// connections nor a flood keeps an ordinary client out. One that is being
// served never has to go.
func (d *door) seat(c *conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := c.set.cfg.MaxConnections
	if limit > 0 && len(d.conns) >= limit {
		victim := d.longestWaiting(time.Now())
		if victim == nil || len(d.conns) >= limit+limit/4+8 {
			return false
		}
		victim.interrupt(wokenEvict)
	}
	d.conns[c] = struct{}{}
	d.places[c.origin]++
	return true
}

// longestWaiting chooses who has to go, or nobody.
func (d *door) longestWaiting(now time.Time) (victim *conn) {
	most, oldest := 0, int64(0)
	for c := range d.conns {
		limit := evictIdle
		switch phase(c.phase.Load()) {
		case phaseBusy:
			continue
		case phaseMail, phaseContent:
			limit = evictMail
		}
		since := c.waiting.Load()
		if c.woken() != wokenNot || now.Sub(time.Unix(0, since)) < limit {
			continue
		}
		n := d.places[c.origin]
		if n > most || n == most && since < oldest {
			victim, most, oldest = c, n, since
		}
	}
	return victim
}

// origin is what places are counted by: an address (of IPv6 the /64, which is
// one customer's), or a unix user.
type origin struct {
	addr netip.Addr
	user string
}

func originOf(p *Peer) origin {
	if !p.Addr.IsValid() {
		return origin{user: p.Name}
	}
	if p.Addr.Is6() {
		if net, err := p.Addr.Prefix(64); err == nil {
			return origin{addr: net.Addr()}
		}
	}
	return origin{addr: p.Addr}
}

func (d *door) leave(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
	if d.places[c.origin]--; d.places[c.origin] == 0 {
		delete(d.places, c.origin)
	}
}
