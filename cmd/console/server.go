package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
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
	// explaining has an element for each question about routes.
	explaining chan struct{}
	// reading has an element for each question to address books.
	reading chan struct{}
	// telling has an element while receivers of alerts are told of a test.
	telling chan struct{}
	// filling has an element while messages are made.
	filling chan struct{}
	made    *expiring[made]
	// walking has an element for each walk to an upstream; walks ends with them,
	// and ctx ends them.
	walking chan struct{}
	walks   sync.WaitGroup
	ctx     context.Context // of the server itself
	cancel  context.CancelFunc
	// loggingIn has an element for each login that waits for a code to be typed.
	loggingIn chan struct{}
	drafts    *expiring[draft]
	streams   streams
}

// Settings are those of one configuration. They are never changed.
type Settings struct {
	console  *config.Console
	hostname string
	tls      *tls.Config // nil: none
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{
		Options: o, pages: newPages(), sessions: newSessions(), cross: http.NewCrossOriginProtection(),
		gate: newGate(), census: &census{}, searching: make(chan struct{}, 1), explaining: make(chan struct{}, explainers),
		filling: make(chan struct{}, fillers), telling: make(chan struct{}, 1), made: newMadeAll(), reading: make(chan struct{}, askers), walking: make(chan struct{}, walkers), drafts: newDrafts(), loggingIn: make(chan struct{}, logins),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.settings.Store(&Settings{console: &config.Console{}})
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(failures(o.Events), "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c.(*conn).client)
		},
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
	set.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: l.TLSMinVersion.Number(), NextProtos: []string{"http/1.1"}}
	if set.tls.MinVersion < tls.VersionTLS12 {
		set.tls.CipherSuites = config.OldCipherSuites()
	}
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
	s.streams.limit(places)
	err := s.http.Serve(&listener{peer.Bound(l, peer.Bounds{Places: places, Stall: stallTimeout}), s, s.settings.Load().tls})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown lets requests under way finish until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	defer s.walks.Wait()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
