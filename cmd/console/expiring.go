package console

import (
	"crypto/rand"
	"sync"
	"time"
)

// expiring is what sessions have that is kept for a while, each under an ID that
// nobody can guess. Its methods may be called concurrently. An owner is the secret
// of a session.
type expiring[T any] struct {
	most   int           // of all sessions; the oldest goes
	age    time.Duration // what is older goes
	end    func(*T)      // of one that goes; it is called with mu held
	single bool          // a session has one at a time: the next takes its place

	mu  sync.Mutex // guards all
	all map[string]expires[T]
}

type expires[T any] struct {
	owner string
	begun time.Time
	one   *T
}

func newExpiring[T any](most int, age time.Duration, end func(*T)) *expiring[T] {
	return &expiring[T]{most: most, age: age, end: end, all: map[string]expires[T]{}}
}

// add keeps one, and returns its ID.
func (s *expiring[T]) add(owner string, one *T) (id string) {
	id = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.all {
		if s.single && e.owner == owner {
			s.forget(id)
		}
	}
	for len(s.all) >= s.most {
		oldest := ""
		for id, other := range s.all {
			if oldest == "" || other.begun.Before(s.all[oldest].begun) {
				oldest = id
			}
		}
		s.forget(oldest)
	}
	s.all[id] = expires[T]{owner, time.Now(), one}
	time.AfterFunc(s.age, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget(id)
	})
	return id
}

// find is one of a session; nil: there is none any more.
func (s *expiring[T]) find(id, owner string) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.all[id]; e.owner == owner {
		return e.one
	}
	return nil
}

// take is find, for the last time; what goes on for it does not end.
func (s *expiring[T]) take(id, owner string) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[id]
	if e.owner != owner {
		return nil
	}
	delete(s.all, id)
	return e.one
}

// forgetOf forgets those of a session that are meant.
func (s *expiring[T]) forgetOf(owner string, meant func(*T) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.all {
		if e.owner == owner && meant(e.one) {
			s.forget(id)
		}
	}
}

// forget is called with mu held.
func (s *expiring[T]) forget(id string) {
	if e, there := s.all[id]; there {
		s.end(e.one)
		delete(s.all, id)
	}
}
