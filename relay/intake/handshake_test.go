package intake

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// hello is what a client sends first: all that it costs to begin a handshake.
func hello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go tls.Client(client, insecureClient()).Handshake()
	b := make([]byte, 4<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// TestHandshakesTakeTurns: a thousand handshakes that one origin begins at once
// keep no client of another from its own, with TLS at once or by STARTTLS. The
// processor is a token here, which each has for 10 ms.
func TestHandshakesTakeTurns(t *testing.T) {
	cert, key := testCert(t)
	begin := hello(t)
	for mode, first := range map[config.ListenerTLS]string{config.ListenerTLSImplicit: "", config.ListenerTLSStart: "EHLO a\r\nSTARTTLS\r\n"} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(l *config.Listener) { l.TLS, l.CertFile, l.KeyFile, l.MaxConnections = mode, cert, key, 2000 })
				defer r.server.Close()
				processor := make(chan struct{}, 1)
				r.listener.settings.Load().tls.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
					processor <- struct{}{}
					time.Sleep(10 * time.Millisecond)
					<-processor
					return nil, nil
				}
				prepare := func(nc net.Conn) {
					io.WriteString(nc, first)
					io.ReadFull(nc, make([]byte, len(said(nc))))
				}
				for i := range 1000 {
					nc := r.dial(fmt.Sprintf("192.0.2.2:%d", i+1))
					prepare(nc)
					nc.Write(begin)
				}
				ordinary := r.dial("192.0.2.3:1")
				prepare(ordinary)
				began := time.Now()
				tc := tls.Client(ordinary, insecureClient())
				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 200*time.Millisecond {
					t.Errorf("the client of the other origin waited %s", took)
				}
			})
		})
	}
}

// TestHandshakesBefore: of a thousand handshakes that one origin begins at once,
// on one processor, next to none comes before that of another origin behind
// them, however fast or slow anything is.
func TestHandshakesBefore(t *testing.T) {
	cert, key := testCert(t)
	begin := hello(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) {
			l.TLS, l.CertFile, l.KeyFile, l.MaxConnections = config.ListenerTLSImplicit, cert, key, 2000
		})
		defer r.server.Close()
		var begun atomic.Int32
		turn := make(chan int32, 1)
		r.listener.settings.Load().tls.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if n := begun.Add(1); h.Conn.RemoteAddr().String() == "192.0.2.3:1" {
				turn <- n
			}
			return nil, nil
		}
		var all []net.Conn
		for i := range 1000 {
			all = append(all, r.dial(fmt.Sprintf("192.0.2.2:%d", i+1)))
		}
		// The last that becomes ready is the first that runs: it is not this one.
		all = append(all, r.dial("192.0.2.3:1"), r.dial("192.0.2.2:2000"))
		synctest.Wait()
		for _, nc := range all {
			nc.Write(begin)
		}
		before := begun.Load()
		if n := <-turn - before; n > 8 {
			t.Errorf("%d handshakes of the other origin came before", n-1)
		}
	})
}

// TestHandshakeWaitEnds: who waits for a turn can be evicted, and is sent away
// by a shutdown.
func TestHandshakeWaitEnds(t *testing.T) {
	cert, key := testCert(t)
	begin := hello(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) { l.TLS, l.CertFile, l.KeyFile = config.ListenerTLSImplicit, cert, key })
		for r.server.shared.handshakes.Try() {
		}
		r.dial("192.0.2.2:1").Write(begin)
		evicted := r.dial("192.0.2.2:2")
		evicted.Write(begin)
		synctest.Wait()
		began := time.Now()
		for c := range r.listener.conns {
			if c.raw.RemoteAddr().String() == "192.0.2.2:2" {
				c.interrupt(wokenEvict)
			}
		}
		said(evicted)
		if err := r.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestHandshakeDefect: a panic in TLS costs its own connection, and not the turn
// that it held.
func TestHandshakeDefect(t *testing.T) {
	cert, key := testCert(t)
	begin := hello(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(l *config.Listener) { l.TLS, l.CertFile, l.KeyFile = config.ListenerTLSImplicit, cert, key })
		defer r.server.Close()
		conf := r.listener.settings.Load().tls
		conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("index out of range") }
		n := 2*runtime.GOMAXPROCS(0) + 1
		for i := range n {
			nc := r.dial(fmt.Sprintf("192.0.2.2:%d", i+1))
			nc.Write(begin)
			said(nc)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(r.events.panics) != n || len(r.listener.conns) != 0 {
			t.Errorf("%d of %d panics were told, %d connections are left", len(r.events.panics), n, len(r.listener.conns))
		}
		conf.GetConfigForClient = nil
		if err := tls.Client(r.dial("192.0.2.3:1"), insecureClient()).Handshake(); err != nil {
			t.Error(err)
		}
	})
}
