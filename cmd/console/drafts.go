package console

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"postern/cmd/definition"
)

// Bounds of drafts.
const (
	maxDrafts = 20               // of all users; the oldest goes
	draftAge  = 15 * time.Minute // a typed password is forgotten then
)

// draft is a definition that was tried and not kept yet, or the test of an
// upstream, without one. Its secrets stand here
// alone: no page has them.
type draft struct {
	owner  string // the secret of a session
	begun  time.Time
	store  *definition.Store
	seen   string
	order  int // definition.Change.Order
	def    definition.Definition
	result *definition.Result
	walk   *walk              // nil: there is no way to walk
	login  *login             // nil: it is none
	cancel context.CancelFunc // of login
	test   string             // the upstream that is tested, or logged in to; empty: it is a definition
}

// drafts are those that there are. Its methods may be called concurrently.
type drafts struct {
	mu  sync.Mutex // guards all
	all map[string]*draft
}

func newDrafts() *drafts { return &drafts{all: map[string]*draft{}} }

// add keeps a draft for a while, and returns its ID.
func (s *drafts) add(d *draft) (id string) {
	id, d.begun = rand.Text(), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.all) >= maxDrafts {
		oldest := ""
		for id, one := range s.all {
			if oldest == "" || one.begun.Before(s.all[oldest].begun) {
				oldest = id
			}
		}
		s.drop(oldest)
	}
	s.all[id] = d
	time.AfterFunc(draftAge, func() { s.forget(id) })
	return id
}

// find is a draft of a session; nil: there is none any more.
func (s *drafts) find(id, owner string) *draft {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.all[id]; d != nil && d.owner == owner {
		return d
	}
	return nil
}

// take is find, for the last time.
func (s *drafts) take(id, owner string) *draft {
	d := s.find(id, owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == nil || s.all[id] != d { // another request took it
		return nil
	}
	delete(s.all, id)
	return d
}

func (s *drafts) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
}

// forgetOf forgets the definitions that a session has tried: it has one at a
// time.
func (s *drafts) forgetOf(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, d := range s.all {
		if d.owner == owner && d.test == "" {
			s.drop(id)
		}
	}
}

// drop is called with mu held.
func (s *drafts) drop(id string) {
	if d := s.all[id]; d != nil && d.walk != nil {
		d.walk.cancel()
	}
	if d := s.all[id]; d != nil && d.cancel != nil {
		d.cancel()
	}
	delete(s.all, id)
}
