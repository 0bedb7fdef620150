//go:build linux

package main

import (
	"net"
	"sync"
	"time"
)

// link is a way between two programs of a run, that can fail. It is a proxy at
// an address of its own. All methods may be called concurrently.
type link struct {
	listener net.Listener
	addr     string
	serving  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	network string
	target  string
	state   linkState
	changed *sync.Cond
	pairs   map[*pair]struct{}
	closed  bool
}

type linkState int

const (
	flows  linkState = iota
	cut              // connections end, and new ones are refused
	stalls           // nothing gets through, and nobody hears of it
	deaf             // what is asked gets through, and the answers are lost
)

// pair is one connection through a link.
type pair struct {
	near, far net.Conn // far: nil as long as there is none
	over      bool
}

func newLink(network, target string) (*link, error) {
	l, err := net.Listen("tcp", ownAddress())
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, addr: l.Addr().String(), network: network, target: target, pairs: map[*pair]struct{}{}}
	k.changed = sync.NewCond(&k.mu)
	k.serving.Go(k.accept)
	return k, nil
}

func (k *link) accept() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		p := &pair{near: c}
		k.mu.Lock()
		if k.closed || k.state == cut {
			k.mu.Unlock()
			abort(c)
			continue
		}
		k.pairs[p] = struct{}{}
		k.mu.Unlock()
		k.serving.Go(func() { k.serve(p) })
	}
}

// serve carries one connection until one of its ends is gone.
func (k *link) serve(p *pair) {
	defer func() {
		k.mu.Lock()
		delete(k.pairs, p)
		k.end(p)
		k.mu.Unlock()
	}()
	if k.wait(p, false) != nil {
		return
	}
	k.mu.Lock()
	network, target := k.network, k.target
	k.mu.Unlock()
	far, err := net.DialTimeout(network, target, 5*time.Second)
	if err != nil {
		return
	}
	k.mu.Lock()
	p.far = far
	if p.over {
		far.Close()
	}
	k.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() { k.carry(p, far, p.near, true) })
	k.carry(p, p.near, far, false)
	back.Wait()
}

// carry copies one direction. What has been read waits while the link stalls.
func (k *link) carry(p *pair, from, to net.Conn, answers bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if failed := k.wait(p, answers); failed == errLostAnswer {
				continue
			} else if failed != nil {
				break
			}
			if _, failed := to.Write(buf[:n]); failed != nil {
				break
			}
		}
		if err != nil {
			_ = k.wait(p, answers) // the end is news, too
			break
		}
	}
	k.mu.Lock()
	k.end(p)
	k.mu.Unlock()
}

var errLostAnswer = net.UnknownNetworkError("the answer is lost")

// wait returns when something may get through. An error: never.
func (k *link) wait(p *pair, answers bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.state == stalls && !p.over {
		k.changed.Wait()
	}
	switch {
	case p.over:
		return net.ErrClosed
	case answers && k.state == deaf:
		return errLostAnswer
	}
	return nil
}

// end ends a connection. mu is held.
func (k *link) end(p *pair) {
	p.over = true
	abort(p.near)
	if p.far != nil {
		p.far.Close()
	}
	k.changed.Broadcast()
}

// set has the link fail in a way, or no more. A link that was deaf loses its
// connections, as nobody could go on with them.
func (k *link) set(state linkState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state == cut || k.state == deaf {
		for p := range k.pairs {
			k.end(p)
		}
	}
	k.state = state
	k.changed.Broadcast()
}

// lead has new connections go elsewhere.
func (k *link) lead(network, target string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.network, k.target = network, target
}

func (k *link) close() {
	k.listener.Close()
	k.mu.Lock()
	k.closed = true
	for p := range k.pairs {
		k.end(p)
	}
	k.mu.Unlock()
	k.serving.Wait()
}

// abort ends a connection by a reset, as one does whose other end is not there.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
