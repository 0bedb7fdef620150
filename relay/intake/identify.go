package intake

import "postern/relay/peer"

// identify finds out who, on this machine, the TCP client is, once something
// in the configuration asks for it. Where that can't be known, the client is
// nobody, and no condition on a unix user holds.
func (c *conn) identify() {
	if c.identified || !c.peer.Addr.IsLoopback() || !c.srv.house.Load().askUser {
		return
	}
	c.identified = true
	user, err := peer.LocalUser(c.raw)
	if err != nil {
		c.srv.events.Unidentified(c.peer.info(), err)
		return
	}
	c.peer.UnixUser = user
}
