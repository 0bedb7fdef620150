package intake

import (
	"bytes"
	"time"

	"postern/config"
)

// review lets c find out whether new settings still let it in: at its next
// command, or at once where it waits for one. Anybody may call it.
func (c *conn) review(now *settings) {
	c.next.Store(now)
	if !c.watch.wake.CompareAndSwap(wokenNot, wokenReview) {
		return // it ends in any case, or looks already
	}
	// A handshake has no second try; and one who doesn't wait sees the mark
	// before he does.
	switch phase(c.watch.phase.Load()) {
	case phaseCommand, phaseMail:
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// revoked reports whether a reload took away what c was let in by: its
// address, its user or that user's password, the certificate that it was
// shown, or, where signing in is required now, that it did not.
func (c *conn) revoked() bool {
	if c.watch.woken() != wokenReview || !c.watch.wake.CompareAndSwap(wokenReview, wokenNot) {
		return false
	}
	was, now := c.set, c.next.Load()
	user := c.client.User
	switch {
	case c.client.Addr.IsValid() && !now.allows(c.client.Addr):
		return true
	case user != "" && c.removed(user):
		return true
	case user == "" && now.cfg.RequireAuth && !was.cfg.RequireAuth:
		return true
	}
	return c.client.TLS != nil && !bytes.Equal(was.certificate(), now.certificate())
}

// removed reports whether a reload took the user away, whom the settings of c
// still have.
func (c *conn) removed(user string) bool {
	now := c.next.Load()
	return now != nil && now.cfg.Users[user] != c.set.cfg.Users[user]
}

// certificate is the one that clients are shown; nil: none.
func (s *settings) certificate() []byte {
	if s.tls == nil || s.cfg.TLS == config.ListenerTLSOff {
		return nil
	}
	return s.tls.Certificates[0].Certificate[0]
}

// review looks at every connection after a reload.
func (l *listener) review(now *settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.review(now)
	}
}
