package intake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"

	"postern/relay/origin"
)

// A proxy of the networks of proxy_protocol tells in front of everything else,
// also of TLS, who its client is: the PROXY protocol of HAProxy, version 1 (a
// line) or 2 (bytes). Nobody else may, and such a proxy has to.
const (
	proxyTimeout = 10 * time.Second // for the whole header, which comes with the first bytes
	proxyLine    = 107              // bytes of version 1 at most
	proxyMore    = 2048             // bytes of version 2 behind its first 16, at most
)

var errNoProxyHeader = errors.New("no header of the PROXY protocol")

// isProxy tells whether a peer speaks for others.
func (s *settings) isProxy(a netip.Addr) bool {
	for _, p := range s.cfg.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// introduced puts the client that a proxy names in the place of the proxy, and
// reports whether it may talk here. A proxy that speaks for itself, as it does
// to see whether this server lives, is a client like others.
func (c *conn) introduced(l *listener) bool {
	c.watch.at(phaseHandshake)
	told, err := c.proxyHeader()
	c.watch.at(phaseBusy)
	switch {
	case c.watch.leaving():
		c.end("no longer waited for")
		return false
	case err != nil:
		c.srv.events(&Refused{&c.client.Client, "proxy: " + err.Error()})
		c.end("proxy")
		return false
	case told.IsValid():
		c.client.Addr, c.client.Peer = told.Addr(), told.String()
		l.place(c, origin.Address(told.Addr()))
	}
	if r, why := c.srv.screen(c); r != nil {
		c.srv.events(&Refused{&c.client.Client, why})
		if c.set.cfg.TLS != tlsImplicit {
			c.reply(r)
			c.flush()
		}
		c.end(why)
		return false
	}
	c.opened.Client = &c.client.Client
	c.srv.events(&c.opened)
	return true
}

// proxyHeader reads who the client is, and not a byte more; zero: the proxy
// itself.
func (c *conn) proxyHeader() (client netip.AddrPort, err error) {
	c.raw.SetReadDeadline(time.Now().Add(proxyTimeout))
	if c.watch.leaving() { // whoever wakes us sets the mark first
		return client, errNoProxyHeader
	}
	b, err := readProxyHeader(c.raw)
	if err != nil {
		return client, err
	}
	c.raw.SetReadDeadline(time.Time{})
	return parseProxyHeader(b, c.client.Addr)
}

// readProxyHeader reads the bytes of a header.
func readProxyHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, 12, proxyLine) // the signature of version 2; the shortest of version 1 has 15
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoProxyHeader, err)
	}
	switch {
	case bytes.Equal(b, proxyproto.SIGV2):
		b = append(b, 0, 0, 0, 0)
		if _, err := io.ReadFull(r, b[12:]); err != nil {
			return nil, fmt.Errorf("half a header: %w", err)
		}
		n := int(b[14])<<8 | int(b[15])
		if n > proxyMore {
			return nil, fmt.Errorf("a header of %d bytes", 16+n)
		}
		b = append(b, make([]byte, n)...)
		if _, err := io.ReadFull(r, b[16:]); err != nil {
			return nil, fmt.Errorf("half a header: %w", err)
		}
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		for b[len(b)-1] != '\n' {
			if len(b) == proxyLine {
				return nil, errors.New("a line that is too long")
			}
			b = b[:len(b)+1]
			if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
				return nil, fmt.Errorf("half a header: %w", err)
			}
		}
	default:
		return nil, errNoProxyHeader
	}
	return b, nil
}

// parseProxyHeader reads a whole header that came from proxy.
func parseProxyHeader(b []byte, proxy netip.Addr) (client netip.AddrPort, err error) {
	r := bufio.NewReader(bytes.NewReader(b))
	h, err := proxyproto.Read(r)
	switch {
	case err != nil:
		return client, err
	case r.Buffered() > 0:
		return client, errors.New("bytes within the header that mean nothing")
	case h.Command == proxyproto.LOCAL || h.TransportProtocol == proxyproto.UNSPEC:
		return client, nil // version 1 has UNKNOWN for it
	}
	from, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return client, errors.New("a client that is none of TCP")
	}
	client = from.AddrPort()
	client = netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port())
	// What stands for a program of this machine is believed of none but one.
	if a := client.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() && !proxy.IsLoopback() {
		return netip.AddrPort{}, fmt.Errorf("a client that cannot be at %s", a)
	}
	return client, nil
}

// place counts the place of c for somebody else from now on.
func (l *listener) place(c *conn, k origin.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, seated := l.conns[c]
	if seated && l.places != nil {
		l.places.Add(c.client.Connection(), -1)
		l.places.Add(k, 1)
	}
	c.client.Connection = func() origin.Key { return k }
}
