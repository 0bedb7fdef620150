package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/peer"
)

// How long browsers are waited for.
const (
	headerTimeout  = 10 * time.Second // from the connection, or the first byte, to the end of the header
	requestTimeout = 30 * time.Second // to the end of a whole request
	idleTimeout    = 2 * time.Minute  // between two requests
	stallTimeout   = 30 * time.Second // while nothing of an answer is taken
	answerTimeout  = 2 * time.Minute  // for whatever a page asks
)

// maxBody is how long a form may be, in bytes. A page of the queue has no more
// IDs than fit in.
const maxBody = 64 << 10

// Server is the console. Make one by New, give it a configuration by Prepare
// and Use, and end it by Shutdown. Its methods may be called concurrently.
type Server struct {
	Options
	http     *http.Server
	pages    *pages
	sessions *sessions
	gate     *gate
	census   *census
	settings atomic.Pointer[Settings]
	cross    *http.CrossOriginProtection
	// searching has an element while the history is searched.
	searching chan struct{}
}

// Settings are those of one configuration. They are never changed.
type Settings struct {
	console  *config.Console
	hostname string
	cert     *tls.Certificate // nil: no TLS
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{
		Options: o, pages: newPages(), sessions: newSessions(), cross: http.NewCrossOriginProtection(),
		gate: &gate{origin.NewTurns(runtime.GOMAXPROCS(0) / 2), origin.NewGuesses(remembered)}, census: &census{}, searching: make(chan struct{}, 1),
	}
	s.settings.Store(&Settings{console: &config.Console{}})
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(failures(o.Events), "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, clientOf(c))
		},
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := s.settings.Load().cert; cert != nil {
				return cert, nil
			}
			return nil, errors.New("no certificate is configured")
		}},
		Protocols: new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	return s
}

// failures tells what net/http would write to standard error.
type failures func(Event)

func (f failures) Write(p []byte) (int, error) {
	f(&Failed{strings.TrimSpace(string(p))})
	return len(p), nil
}

type connKey struct{}

// clientOf is who is at the other end of a connection.
func clientOf(c net.Conn) *Client {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	client := &Client{Peer: c.RemoteAddr().String(), Connection: func() origin.Key { return peer.Origin(c) }}
	if u, ok := c.(*net.UnixConn); ok {
		client.Peer = "unix:"
		if name, err := peer.User(u); err == nil {
			client.Peer += name
		}
	}
	return client
}

// Prepare does all that can fail about a configuration.
func Prepare(cfg *config.Config) (*Settings, error) {
	set := &Settings{console: &cfg.Console, hostname: cfg.Hostname}
	l := &cfg.Console.Listener
	if l.Address == "" || l.TLS != config.ListenerTLSImplicit {
		return set, nil
	}
	cert, err := config.LoadKeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, &peer.Advised{Err: fmt.Errorf("console: certificate: %w", err), Remedy: "check cert_file and key_file"}
	}
	set.cert = &cert
	return set, nil
}

// Use puts settings in force, at once for users and certificates. Sessions of
// users who are gone, or have another password, are over.
func (s *Server) Use(set *Settings) { s.settings.Store(set) }

// Listen opens where the console is to be.
func Listen(l *config.Listener) (net.Listener, error) {
	if l.Network == "unix" {
		socket, err := peer.ListenUnix(l.Target, l.Mode, l.Group, "another console.address")
		if err != nil {
			return nil, err // no typed nil
		}
		return socket, nil
	}
	return peer.ListenTCP(l.Target)
}

// Serve answers browsers until Shutdown; it returns nil then. l has the bounds
// of listener; places is how many connections are open at a time.
func (s *Server) Serve(l net.Listener, places int) error {
	bounded := &allowed{peer.Bound(l, peer.Bounds{Places: places, Stall: stallTimeout}), s}
	var err error
	if lis := &s.settings.Load().console.Listener; lis.TLS == config.ListenerTLSImplicit {
		s.http.TLSConfig.MinVersion = lis.TLSMinVersion.Number()
		err = s.http.ServeTLS(bounded, "", "")
	} else {
		err = s.http.Serve(bounded)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// allowed closes connections of those who may not connect.
type allowed struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *allowed) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.server.allows(c) {
			return c, err
		}
		l.server.Events(&Refused{*clientOf(c), "address not allowed"})
		c.Close()
	}
}

func (s *Server) allows(c net.Conn) bool {
	allow := s.settings.Load().console.Listener.Allow
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if len(allow) == 0 || !ok {
		return true
	}
	for _, p := range allow {
		if p.Contains(a.AddrPort().Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// Shutdown lets requests under way finish until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
