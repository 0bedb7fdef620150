package capture

import (
	"context"
	"net"
	"sync"
)

// listener is what the protocol engine accepts connections from. It remembers
// those that are open: go-smtp cannot close them once its Shutdown has run out
// of time.
type listener struct {
	arrived chan net.Conn
	over    chan struct{} // closed with the listener
	once    sync.Once
	served  sync.WaitGroup // one for each of open

	mu   sync.Mutex
	open map[*served]struct{} // nil: cut off
}

func newListener() *listener {
	return &listener{arrived: make(chan net.Conn), over: make(chan struct{}), open: map[*served]struct{}{}}
}

// connect opens a connection, and returns the client's end.
func (l *listener) connect(ctx context.Context) (net.Conn, error) {
	client, server := pipe()
	select {
	case l.arrived <- server:
		return client, nil
	case <-l.over:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.arrived:
		s := &served{Conn: conn, by: l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open == nil {
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		l.open[s] = struct{}{}
		l.served.Add(1)
		return s, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return here{} }

// cutOff closes every connection and waits until nobody serves them any more.
func (l *listener) cutOff() {
	l.mu.Lock()
	for s := range l.open {
		_ = s.Conn.Close() // what reads it ends, and strikes it off
	}
	l.open = nil
	l.mu.Unlock()
	l.served.Wait()
}

// served is a connection that is struck off when it is closed.
type served struct {
	net.Conn
	by   *listener
	once sync.Once
}

// Close implements net.Conn.
func (s *served) Close() error {
	err := s.Conn.Close()
	s.once.Do(func() {
		s.by.mu.Lock()
		defer s.by.mu.Unlock()
		delete(s.by.open, s)
		s.by.served.Done()
	})
	return err
}
