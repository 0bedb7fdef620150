package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/queue"
	"postern/relay/submission"
	"postern/spool"
)

// recall remembers what has become of messages that came by HTTP after the
// spool has let them go, so that whoever sent one can ask. It is bounded, and
// ends with the process. Where nothing comes by HTTP it costs one look at a
// number for each attempt.
type recall struct {
	used atomic.Bool // something is remembered

	mu       sync.Mutex // guards what follows
	new, old map[spool.ID]*remembered
	size     int // of new, in recipients
}

// recalled is how many recipients are remembered at most.
const recalled = 50_000

// remembered is one message.
type remembered struct {
	env      spool.Envelope // without its recipients
	at       map[string]int // index in the following
	to       []string
	states   []spool.RecipientState
	accepted bool // env is filled in: who may ask is known
	finished bool
}

func newRecall() *recall { return &recall{new: map[spool.ID]*remembered{}} }

// byHTTP reports whether a message came by HTTP.
func byHTTP(listener string) bool {
	return listener == config.HTTPListener || listener == config.SubmitListener
}

// submission notes whose the messages are that came by HTTP. One may have been
// delivered before that is told.
func (m *recall) submission(tell func(submission.Event)) func(submission.Event) {
	return func(e submission.Event) {
		tell(e)
		a, ok := e.(*submission.Accepted)
		if !ok || a.Repeated || !byHTTP(a.Client.Listener) {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		r := m.findOrAdd(a.ID)
		r.accepted = true
		r.env = spool.Envelope{From: a.From, Accepted: time.Now(),
			Listener: a.Client.Listener, User: a.Client.User, UnixUser: a.Client.UnixUser}
	}
}

// findOrAdd is called with mu held.
func (m *recall) findOrAdd(id spool.ID) *remembered {
	r := m.find(id)
	if r == nil {
		if m.size >= recalled/2 {
			m.old, m.new, m.size = m.new, map[spool.ID]*remembered{}, 0
		}
		r = &remembered{at: map[string]int{}}
		m.new[id] = r
		m.size++
		m.used.Store(true)
	}
	return r
}

// find is called with mu held.
func (m *recall) find(id spool.ID) *remembered {
	if r := m.new[id]; r != nil {
		return r
	}
	return m.old[id]
}

// queue notes what the queue tells of messages that are remembered.
func (m *recall) queue(tell func(queue.Event)) func(queue.Event) {
	return func(e queue.Event) {
		tell(e)
		switch e := e.(type) {
		case *queue.Attempted:
			if byHTTP(e.Listener) && !e.Copy {
				m.attempted(e)
			}
		case *queue.Finished:
			if !m.used.Load() {
				return
			}
			m.mu.Lock()
			if r := m.find(e.ID); r != nil {
				r.finished = true
			}
			m.mu.Unlock()
		}
	}
}

func (m *recall) attempted(e *queue.Attempted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.findOrAdd(e.ID)
	i, known := r.at[e.To]
	if !known {
		i = len(r.to)
		r.at[e.To] = i
		r.to, r.states = append(r.to, e.To), append(r.states, spool.RecipientState{})
		m.size++
	}
	last := e.Outcome
	r.states[i] = spool.RecipientState{Status: last.Verdict, Upstream: e.Upstream, Attempts: e.Number, Last: &last, LastAt: time.Now()}
}

// cancelled notes that a message was taken back.
func (m *recall) cancelled(d *spool.Detail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(d.ID)
	if r == nil {
		return
	}
	r.to, r.states, r.finished = nil, nil, true
	for i := range d.Recipients {
		if d.Envelope.Recipients[i].Copy {
			continue
		}
		one := d.Recipients[i]
		one.Status = spool.Removed
		r.to, r.states = append(r.to, d.Envelope.Recipients[i].Address), append(r.states, one)
	}
	m.size += len(r.to)
}

// detail is a message that has ended. Who was neither delivered to nor removed
// has failed.
func (m *recall) detail(_ context.Context, id spool.ID) (*spool.Detail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(id)
	if r == nil || !r.accepted || !r.finished || len(r.to) == 0 {
		return nil, spool.ErrNotFound
	}
	env := r.env
	d := &spool.Detail{ID: id, Envelope: &env}
	for i, to := range r.to {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: to})
		one := r.states[i]
		if one.Status == spool.Pending {
			one.Status = spool.Bounced
		}
		d.Recipients = append(d.Recipients, one)
	}
	return d, nil
}
