package intake

import (
	"net"
	"sync"
	"time"

	smtp "github.com/emersion/go-smtp"

	"postern/relay/ack"
	"postern/relay/origin"
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
func (s *Server) admit(l *listener, nc net.Conn) {
	set := l.settings.Load()
	c := &conn{srv: s, set: set, raw: nc, nc: nc, started: time.Now()}
	c.out.ack = ack.Of(nc)
	c.client = client{settings: set, events: s.events, ctx: s.ctx}
	c.client.Listener, c.client.Settings = set.cfg.Name, set.message
	c.client.Addr, c.client.Peer = address(nc)
	c.client.Connection = sync.OnceValue(func() origin.Key { return peer.Origin(nc) })
	c.proxied = set.isProxy(c.client.Addr)
	if !c.proxied { // otherwise its client is not known yet
		if r, why := s.screen(c); r != nil {
			s.turnAway(c, r, why)
			return
		}
	}
	if !l.seat(c) {
		s.turnAway(c, say(421, 4, 3, 2, "too many connections, try again later"), "too many connections")
		return
	}
	if l.shut.Load() { // whoever closed the listener may not have seen it
		c.interrupt(wokenShutdown)
	}
	if now := l.settings.Load(); now != set { // a reload may not have seen c
		c.review(now)
	}
	if !c.proxied {
		c.opened.Client = &c.client.Client
		s.events(&c.opened)
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer l.leave(c)
		c.serve(l)
	}()
}

// screen tells whether the peer may talk here.
func (s *Server) screen(c *conn) (*smtp.SMTPError, string) {
	if uc, ok := c.raw.(*net.UnixConn); ok {
		user, err := peer.User(uc)
		if err != nil {
			return say(421, 4, 3, 0, "cannot tell who you are, try again later"), "peer credentials: " + err.Error()
		}
		c.client.UnixUser = user
		c.client.Peer = "unix:" + user
		return nil, ""
	}
	if !c.set.allows(c.client.Addr) {
		// RFC 5321 §3.1: 554 in place of the greeting.
		return say(554, 5, 7, 1, "your address may not use this server"), "address not allowed"
	}
	return nil, ""
}

// turnAway answers with one line and closes. A fresh socket takes a line
// without waiting.
func (s *Server) turnAway(c *conn, r *smtp.SMTPError, why string) {
	s.events(&Refused{&c.client.Client, why})
	if c.set.cfg.TLS != tlsImplicit {
		c.reply(r)
		c.raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		c.raw.Write(c.out.held)
	}
	c.raw.Close()
}

// seat gives c one of the listener's places. When all are taken, the origin
// that holds most loses one of its own, if that is more than c's would hold;
// otherwise a connection that has waited long for its client makes room. So
// neither a program that forgot to close its connections nor a flood keeps an
// ordinary client out. One that is being served never has to go.
func (l *listener) seat(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit := c.set.cfg.MaxConnections; limit > 0 && len(l.conns) >= limit {
		l.countPlaces()
		victim := l.victim(c.client.Connection(), time.Now())
		if victim == nil {
			return false
		}
		l.evict(victim, Leavers(limit))
	}
	l.conns[c] = struct{}{}
	if l.places != nil {
		l.places.Add(c.client.Connection(), 1)
	}
	return true
}

// Leavers is how many connections that have lost their place may be on their
// way out of a listener with so many places: beyond them nobody is told why.
func Leavers(places int) int { return (places + 3) / 4 }

// countPlaces begins to count by origin. An ordinary day has no need of it: to
// know the user behind an address of this machine takes a question to the
// kernel for each connection.
func (l *listener) countPlaces() {
	if l.places != nil {
		return
	}
	l.places = origin.NewCounts()
	for c := range l.conns {
		l.places.Add(c.client.Connection(), 1)
	}
}

// victim chooses who has to go for a newcomer, or nobody: of the origin with
// most places one outside a transaction, if there is one, and of those the one
// that has waited longest.
func (l *listener) victim(newcomer origin.Key, now time.Time) (victim *conn) {
	var most, own int
	var oldest int64
	idlest := false
	for c := range l.conns {
		ph := phase(c.watch.phase.Load())
		if ph == phaseBusy {
			continue
		}
		k, since := c.client.Connection(), c.watch.since.Load()
		n := l.places.Beside(k, newcomer)
		idle, limit := true, evictIdle
		if ph == phaseMail || ph == phaseContent {
			idle, limit = false, evictMail
		}
		if n <= l.places.Beside(newcomer, k)+1 && now.Sub(time.Unix(0, since)) < limit {
			continue
		}
		mine := l.places.Own(k)
		if n > most || n == most && (mine > own || mine == own && (idle && !idlest || idle == idlest && since < oldest)) {
			victim, most, own, oldest, idlest = c, n, mine, since, idle
		}
	}
	return victim
}

// evict takes c's place from it at once. It is told why, unless more than
// enough others are being told already.
func (l *listener) evict(c *conn, enough int) {
	l.give(c)
	if len(l.leaving) >= enough {
		c.watch.wake.Store(wokenEvict)
		c.raw.Close()
	} else {
		c.interrupt(wokenEvict)
	}
	l.leaving[c] = struct{}{}
}

// give gives the place of c back. With half of all free the count ends.
func (l *listener) give(c *conn) {
	delete(l.conns, c)
	if l.places == nil {
		return
	}
	if len(l.conns) < l.settings.Load().cfg.MaxConnections/2 {
		l.places = nil
		return
	}
	l.places.Add(c.client.Connection(), -1)
}

// leave is the end of a connection.
func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, evicted := l.leaving[c]; evicted {
		delete(l.leaving, c)
		return
	}
	l.give(c)
}
