package intake

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// pipe is a connection in memory with a buffer, as a socket has, deadlines,
// and a peer address of choice. It blocks on a condition, which
// testing/synctest understands.
type pipe struct {
	in, out *half
	remote  net.Addr
}

type half struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      []byte
	max      int  // of buf; 0: no bound
	closed   bool // by the writer
	gone     bool // by the reader
	deadline time.Time
	timer    *time.Timer
	wdead    time.Time
	wtimer   *time.Timer
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

// newPipe makes both ends; the server sees the client at addr.
func newPipe(addr string) (client, server net.Conn) {
	up, down := newHalf(), newHalf()
	return &pipe{in: down, out: up, remote: &net.TCPAddr{}}, &pipe{in: up, out: down, remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}
}

func (p *pipe) Read(b []byte) (int, error) {
	h := p.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(b, h.buf)
			h.buf = h.buf[:copy(h.buf, h.buf[n:])]
			h.cond.Broadcast()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (p *pipe) Write(b []byte) (int, error) {
	h := p.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := 0; ; h.cond.Wait() {
		switch {
		case h.gone || h.closed:
			return n, io.ErrClosedPipe
		case !h.wdead.IsZero() && !time.Now().Before(h.wdead):
			return n, os.ErrDeadlineExceeded
		}
		take := len(b) - n
		if h.max > 0 {
			take = min(take, h.max-len(h.buf))
		}
		h.buf = append(h.buf, b[n:n+take]...)
		n += take
		h.cond.Broadcast()
		if n == len(b) {
			return n, nil
		}
	}
}

func (p *pipe) CloseWrite() error {
	p.out.set(func(h *half) { h.closed = true })
	return nil
}

func (p *pipe) Close() error {
	p.out.set(func(h *half) { h.closed = true })
	p.in.set(func(h *half) { h.gone = true; h.buf = nil })
	return nil
}

func (h *half) set(f func(*half)) {
	h.mu.Lock()
	f(h)
	h.cond.Broadcast()
	h.mu.Unlock()
}

func (h *half) arm(old *time.Timer, t time.Time) *time.Timer {
	if t.IsZero() {
		if old != nil {
			old.Stop()
		}
		return nil
	}
	if old != nil {
		old.Reset(time.Until(t))
		return old
	}
	return time.AfterFunc(time.Until(t), func() { h.set(func(*half) {}) })
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.set(func(h *half) { h.deadline = t; h.timer = h.arm(h.timer, t) })
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.out.set(func(h *half) { h.wdead = t; h.wtimer = h.arm(h.wtimer, t) })
	return nil
}

func (p *pipe) SetDeadline(t time.Time) error {
	p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}
func (p *pipe) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (p *pipe) RemoteAddr() net.Addr { return p.remote }
