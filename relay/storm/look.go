package storm

import (
	"encoding/json"
	"slices"
	"time"

	"postern/spool"
)

// Look ends the storms that are over: no more than half of what a storm takes
// came of late. It is to be called every second or so.
func (g *Guard) Look(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.policy.Load()
	if p == nil {
		return
	}
	for _, s := range g.storms {
		e := g.shapes[s.Shape]
		if s.Over() || e == nil {
			continue
		}
		c := e.Value.(*count)
		if g.passLocked(c, now); c.storm == s && c.sum() <= p.Messages/2 {
			g.endLocked(c, now)
		}
	}
}

// List is every storm of which there is a record, in the order in which they
// began.
func (g *Guard) List() []Storm {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Storm, len(g.storms))
	for i, s := range g.storms {
		all[i] = *s
	}
	return all
}

// Due are the storms whose recipients are to be told now: those that have ended,
// and those that go on and of which nothing was told for long.
func (g *Guard) Due(now time.Time) []Storm {
	return slices.DeleteFunc(g.List(), func(s Storm) bool {
		switch {
		case s.Held <= s.Counted:
			return true
		case s.Over():
			return false
		case s.Told.IsZero():
			return now.Sub(s.Began) < firstDigest
		}
		return now.Sub(s.Told) < nextDigest
	})
}

// Tell notes that the recipients of a storm know of so many messages.
func (g *Guard) Tell(storm spool.ID, held int, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.storms {
		if s.ID == storm {
			s.Told, s.Counted = now.Round(0), max(s.Counted, held)
			g.dirty = true
		}
	}
}

// Forget drops the record of a storm that has ended.
func (g *Guard) Forget(storm spool.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.storms = slices.DeleteFunc(g.storms, func(s *Storm) bool { return s.ID == storm && s.Over() })
	g.dirty = true
}

// saved is what Save writes.
type saved struct {
	At     time.Time `json:"at"`
	Storms []*Storm  `json:"storms"`
}

// Save is what a restart is to know, as Load reads it; nil: it has not changed
// since it was asked for last.
func (g *Guard) Save(now time.Time) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dirty {
		return nil
	}
	g.dirty = false
	text, _ := json.Marshal(&saved{now.Round(0), g.storms}) // of text, numbers and times
	return text
}

// Unsaved makes the next Save write again.
func (g *Guard) Unsaved() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirty = true
}

// Load reads what Save made, before the first message, and says when that was.
// Storms that went on go on, for as long as if their last messages had come now.
func (g *Guard) Load(text []byte, now time.Time) (at time.Time, err error) {
	var was saved
	if err := json.Unmarshal(text, &was); err != nil {
		return at, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range was.Storms {
		if s == nil || s.ID == 0 || len(g.storms) >= maxStorms {
			continue
		}
		for _, at := range []*time.Time{&s.Began, &s.Latest, &s.Told} {
			if at.After(now) { // the clock was set back
				*at = now.Round(0)
			}
		}
		g.storms = append(g.storms, s)
		if !s.Over() {
			g.resumeLocked(s, now)
		}
	}
	return was.At, nil
}

// resumeLocked lets a storm go on that is known from before a restart.
func (g *Guard) resumeLocked(s *Storm, now time.Time) {
	c := g.count(s.Shape)
	c.storm = s
	if p := g.policy.Load(); p == nil || p.Messages == 0 {
		g.endLocked(c, now)
		return
	}
	g.renewLocked(c, now)
}

// Recover notes a message that is on hold for a storm, and that a crash may have
// kept Save from. m is asked for what it is where the storm is not known.
func (g *Guard) Recover(storm, id spool.ID, accepted time.Time, m func() *Mail) {
	g.recover(storm, id, accepted, m, false)
}

// Inherit is Recover for a storm of another relay that is gone: it is over.
func (g *Guard) Inherit(storm, id spool.ID, accepted time.Time, m func() *Mail) {
	g.recover(storm, id, accepted, m, true)
}

func (g *Guard) recover(storm, id spool.ID, accepted time.Time, m func() *Mail, over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.storms, func(s *Storm) bool { return s.ID == storm })
	if i < 0 {
		if len(g.storms) >= maxStorms {
			return
		}
		s := m().record(storm, accepted)
		i = len(g.storms)
		g.storms = append(g.storms, s)
		if over {
			s.Ended = time.Now().Round(0)
		} else {
			g.resumeLocked(s, time.Now())
		}
	}
	if s := g.storms[i]; id > s.Last {
		s.keep(id, accepted)
		g.dirty = true
	}
}

// keep counts a message that is on hold.
func (s *Storm) keep(id spool.ID, at time.Time) {
	s.Held++
	s.Last, s.Latest = max(s.Last, id), at.Round(0)
	if s.First == 0 || id < s.First {
		s.First = id
	}
}
