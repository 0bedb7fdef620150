// Package memory keeps what was learnt about the TLS of upstreams, so that it
// outlives the process: that one has offered STARTTLS, that it has shown a
// valid certificate, and by which way it was reached.
//
// It owns the facts of spool.KindTLS. It never decides what follows from a
// fact, never takes a file that it cannot read for one that says nothing, and
// never writes over such a file.
package memory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"
	"time"

	"postern/spool"
)

// Facts are what is known about one upstream. The zero value: nothing.
type Facts struct {
	Offered time.Time // when STARTTLS was first offered; zero: never
	Valid   time.Time // when a valid certificate was first shown; zero: never
	Way     *Way      // that worked last; nil: none was looked for
	// Unsaved facts are not on disk: the last Learn failed.
	Unsaved bool
}

// Way is how an upstream was reached of which only the host is configured.
type Way struct {
	Host     string    `json:"host"`
	Port     int       `json:"port"`
	Implicit bool      `json:"implicit"` // TLS from the first byte; false: STARTTLS
	Found    time.Time `json:"found"`    // when it was looked for
}

func (w *Way) String() string { return net.JoinHostPort(w.Host, strconv.Itoa(w.Port)) }

// Store is the memory of all upstreams, which daemon and command line share.
// Its methods may be called concurrently.
type Store struct {
	state spool.State

	mu      sync.Mutex
	unsaved map[string]*record // by name of the upstream: what could not be written
}

// lockTimeout bounds the wait for another process, which has only a small
// file to write.
const lockTimeout = 5 * time.Second

// New opens nothing yet.
func New(state spool.State) *Store {
	return &Store{state: state, unsaved: map[string]*record{}}
}

func fact(upstream string) spool.Fact { return spool.Fact{Kind: spool.KindTLS, Name: upstream} }

// Recall returns what is known about an upstream at peer, its host and port:
// what was learnt about it elsewhere does not count. After an error, which
// names the file, nobody can tell what is known.
func (s *Store) Recall(upstream, peer string) (Facts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.current(upstream, peer)
	if err != nil {
		return Facts{}, err
	}
	return r.facts(), nil
}

// current is the record of an upstream at peer. s.mu is held.
func (s *Store) current(upstream, peer string) (*record, error) {
	if r := s.unsaved[upstream]; r != nil && r.Peer == peer {
		return r, nil
	}
	r, err := s.read(upstream)
	if err != nil {
		return nil, err
	}
	if r == nil || r.Peer != peer {
		r = &record{Peer: peer}
	}
	return r, nil
}

// read reads the file of an upstream; nil: there is none.
func (s *Store) read(upstream string) (*record, error) {
	content, err := s.state.Read(context.Background(), fact(upstream))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.state.Where(fact(upstream)), err)
	}
	return r, nil
}

// Learn changes what is known about an upstream at peer. When it returns nil,
// that is durable. When not, this process knows it nevertheless, and the next
// Learn about the upstream writes it too.
func (s *Store) Learn(ctx context.Context, upstream, peer string, change func(*Facts)) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, locking := s.state.Lock(ctx, fact(upstream))
	if locking == nil {
		defer unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.current(upstream, peer)
	if err != nil {
		return err
	}
	next := r.changed(change)
	if err = locking; err == nil {
		err = s.state.Write(ctx, fact(upstream), next.encode())
	}
	if err != nil {
		next.unsaved = true
		s.unsaved[upstream] = next
		return err
	}
	delete(s.unsaved, upstream)
	return nil
}

// Forget forgets an upstream, also what cannot be read about it, and reports
// whether there was anything.
func (s *Store) Forget(ctx context.Context, upstream string) (had bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, err := s.state.Lock(ctx, fact(upstream))
	if err != nil {
		return false, err
	}
	defer unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	had = s.unsaved[upstream] != nil
	err = s.state.Remove(ctx, fact(upstream))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return had, err
	default:
		had = true
	}
	delete(s.unsaved, upstream)
	return had, nil
}
