package control

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"postern/relay/peer"
)

// Places is how many connections each of the three has where descriptors are
// not scarce.
const Places = 64

// How long clients are waited for. A long answer, such as a list of the whole
// queue, goes on for as long as it is taken: whoever reads it may be a person
// with a pager.
const (
	headerTimeout  = 10 * time.Second // from the connection, or the first byte, to the end of the header
	requestTimeout = 30 * time.Second // to the end of a whole request
	idleTimeout    = 30 * time.Second // between two requests
	stallTimeout   = 5 * time.Minute  // while nothing of an answer is taken
	scrapeTimeout  = 30 * time.Second // for a whole answer to a scrape
)

func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ConnContext:       keepConn,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(failures(s.Events), "", 0),
	}
}

// failures tells what net/http would write to standard error.
type failures func(Event)

func (f failures) Write(p []byte) (int, error) {
	f(Failed{strings.TrimSpace(string(p))})
	return len(p), nil
}

// ServeControl answers on the control socket until Shutdown; it returns nil
// then. places is how many connections are open at a time, here and below.
func (s *Server) ServeControl(l net.Listener, places int) error {
	return ended(s.control.Serve(peer.Bound(l, peer.Bounds{Places: places, Stall: s.stall})))
}

// ServeRead answers what is asked on a socket for those who may look, and
// neither read contents nor change anything, until Shutdown.
func (s *Server) ServeRead(l net.Listener, places int) error {
	return ended(s.reading.Serve(peer.Bound(l, peer.Bounds{Places: places, Stall: s.stall})))
}

// ServeMetrics answers /metrics and /healthz alone, and nothing that changes
// anything, until Shutdown.
func (s *Server) ServeMetrics(l net.Listener, places int) error {
	return ended(s.metrics.Serve(peer.Bound(l, peer.Bounds{Places: places})))
}

func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown lets requests under way finish until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	err := errors.Join(s.control.Shutdown(ctx), s.metrics.Shutdown(ctx), s.reading.Shutdown(ctx))
	if err != nil {
		err = errors.Join(s.control.Close(), s.metrics.Close(), s.reading.Close())
	}
	return err
}

// ErrTaken means that a daemon already answers at the control socket.
var ErrTaken = errors.New("another daemon answers there")

// Listen opens the control socket at path; see peer.ListenUnix. ErrTaken:
// somebody answers there. Whoever may be alive there is left alone, too.
func Listen(path string, mode fs.FileMode, group string) (net.Listener, error) {
	l, err := peer.ListenUnix(path, mode, group, "another control.socket")
	switch {
	case errors.Is(err, peer.ErrTaken) && errors.Unwrap(err) == nil:
		return nil, ErrTaken
	case err != nil:
		return nil, err // no typed nil
	}
	return l, nil
}
