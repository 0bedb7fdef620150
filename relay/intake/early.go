package intake

import (
	"time"

	"postern/relay/peer"
)

// A client has to wait for the greeting, and for the replies to some commands,
// before it goes on (RFC 5321 §3.1, RFC 2920 §3.1). Who can make another
// program connect here and send one piece of text, such as a web application
// that fetches what it is told to, can't make it wait.

// greetable reports whether the client waits for the greeting. Where the port
// is in clear, a TLS handshake is answered by the first read.
func (c *conn) greetable() bool {
	if c.set.cfg.Early != "refuse" {
		return true
	}
	if c.client.TLS == nil {
		if first, any := peer.Pending(c.raw); !any || first == tlsRecord {
			return true
		}
	} else if !c.overheard() {
		return true
	}
	c.tooEarly("data before the greeting")
	return false
}

// alone reports whether nothing follows the command, which the client has to
// wait behind. Otherwise the connection ends, before the command is run.
func (c *conn) alone(cmd *command) bool {
	if c.set.cfg.Early != "refuse" || !cmd.wait && !(c.state == stateFresh && cmd.verb == "MAIL") {
		return true
	}
	in := &c.in
	if in.r == in.w {
		if c.client.TLS == nil && in.w < len(in.buf) {
			return true // the last read took all that was there
		}
		if !c.overheard() {
			return true
		}
	}
	c.tooEarly("data behind " + cmd.verb)
	return false
}

// overheard reports whether the client has sent what was not read yet. It waits
// for nothing. TLS keeps records that came together in a buffer of its own,
// which only a read can look into.
func (c *conn) overheard() bool {
	if _, any := peer.Pending(c.raw); any {
		return true
	}
	if c.client.TLS == nil {
		return false
	}
	c.nc.SetReadDeadline(time.Unix(1, 0)) // each read sets it anew
	c.in.room()
	n, _ := c.nc.Read(c.in.buf[c.in.w:])
	c.in.w += n
	return n > 0
}

func (c *conn) tooEarly(what string) {
	c.in.r, c.in.w = 0, 0
	c.abuse(what, say(554, 5, 5, 0, what+"; wait for the reply (RFC 2920), closing connection"))
}

// tlsRecord is the first byte of a TLS handshake.
const tlsRecord = 0x16
