package intake

import "postern/relay/peer"

// A client has to wait for the greeting, and for the replies to some commands,
// before it goes on (RFC 5321 §3.1, RFC 2920 §3.1). Who can make another
// program connect here and send one piece of text, such as a web application
// that fetches what it is told to, can't make it wait.

// greetable reports whether the client waits for the greeting. A TLS handshake
// is answered by the first read.
func (c *conn) greetable() bool {
	if c.set.cfg.Early != "refuse" || c.set.cfg.TLS == tlsImplicit {
		return true
	}
	if first, any := peer.Pending(c.raw); !any || first == tlsRecord {
		return true
	}
	c.tooEarly("data before the greeting")
	return false
}

// waits reports whether nothing follows the command, which the client has to
// wait behind. Otherwise the connection ends, before the command is run.
func (c *conn) waits(cmd *command) bool {
	if c.set.cfg.Early != "refuse" || !cmd.wait && !(c.state == stateFresh && cmd.verb == "MAIL") {
		return true
	}
	in := &c.in
	if in.r == in.w && in.w < len(in.buf) {
		return true // the last read took all that was there
	}
	if _, any := peer.Pending(c.raw); in.r == in.w && !any {
		return true
	}
	c.tooEarly("data behind " + cmd.verb)
	return false
}

func (c *conn) tooEarly(what string) {
	c.in.r, c.in.w = 0, 0
	c.abuse(what, say(554, 5, 5, 0, what+"; wait for the reply (RFC 2920), closing connection"))
}

// tlsRecord is the first byte of a TLS handshake.
const tlsRecord = 0x16
