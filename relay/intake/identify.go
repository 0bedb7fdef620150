package intake

import (
	"errors"

	"postern/relay/peer"
)

// identify finds out who, on this machine, the TCP client is, once something
// in the configuration asks for it, and ends the connection of one who hides it
// by closing the socket early. Where the system can't tell, the client is
// nobody, and no condition on a unix user holds. It reports whether c goes on.
func (c *conn) identify() bool {
	if c.identified || !c.client.Addr.IsLoopback() || !c.srv.site.Load().askUser {
		return true
	}
	c.identified = true
	user, err := peer.LocalUser(c.raw)
	if err != nil {
		c.srv.events(&Unidentified{&c.client.Client, err})
		if errors.Is(err, peer.ErrClosed) {
			c.reply(say(421, 4, 3, 0, "cannot tell who you are, try again later"))
			c.end("unidentified")
			return false
		}
	}
	c.client.UnixUser = user
	return true
}
