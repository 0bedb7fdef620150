package intake

import (
	"context"
	"crypto/tls"
)

// handshake makes the connection a TLS one. A failure is final: going back to
// clear text is what an attacker wants.
func (c *conn) handshake() bool {
	ctx, cancel := context.WithTimeout(c.client.ctx, tlsTimeout)
	defer cancel()
	hs := c.srv.shared.handshakes.Handshake(c.nc, func() error { return c.takeTurn(ctx) })
	defer hs.End() // also where TLS panics over what the client has sent
	tc := tls.Server(hs, c.set.tls)
	c.wait()
	c.watch.at(phaseHandshake)
	err := tc.HandshakeContext(ctx)
	hs.End()
	c.watch.at(phaseBusy)
	if err != nil && c.watch.woken() == wokenEvict {
		c.end("evicted")
		return false
	}
	if err != nil {
		c.srv.events(&TLSFailed{&c.client.Client, err})
		c.end("TLS failed")
		return false
	}
	c.secured(tc)
	return true
}

// takeTurn waits for a turn. Only here it is asked who the client is.
func (c *conn) takeTurn(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.watch.asking.Store(&cancel)
	defer c.watch.asking.Store(nil)
	if c.watch.leaving() {
		cancel()
	}
	return c.srv.shared.handshakes.Take(ctx, c.client.Connection())
}
