// Package storm faces programs that run away: it counts messages that are alike
// (sender, subject without its digits, recipients), says which are to be put on
// hold because they are too many, and keeps a record of each such storm.
//
// It owns the counts and the records, under bounds, and what a digest says. It
// keeps no message and sends none: submission asks it about each message, and
// whoever runs the relay asks it for storms of which somebody is to be told.
//
// To read first: [Guard.Take], [Guard.Look].
package storm

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/route"
	"postern/spool"
)

const (
	// maxShapes is how many shapes are counted. Beyond it the one that was seen
	// least recently goes. Each takes about 200 bytes.
	maxShapes = 10_000
	// maxStorms is how many records are kept.
	maxStorms = 200
	// parts is into how many the time of a count is divided: a message counts for
	// at least seven eighths of it, and for no longer than it.
	parts = 8
	// maxText bounds each text of a record, in bytes.
	maxText = 200
	// firstDigest is how long a storm lasts until its recipients are told, where it
	// has not ended; nextDigest is how long until they are told again.
	firstDigest, nextDigest = time.Hour, 24 * time.Hour
)

// Policy is what a configuration says. It is never changed.
type Policy struct {
	config.Storm
	except *route.Addresses
}

// NewPolicy compiles a policy. It fails on what config.Load would refuse.
func NewPolicy(c config.Storm) (*Policy, error) {
	except, err := route.NewAddresses(c.Except)
	return &Policy{c, except}, err
}

// Watches tells whether messages of a sender are counted: those from <> are
// answers, which have a guard of their own against going round.
func (p *Policy) Watches(from string) bool {
	return p != nil && p.Messages > 0 && from != "" && !p.except.Has(from)
}

// Guard counts. The zero value is not used: see New. Its methods may be called
// concurrently.
type Guard struct {
	policy atomic.Pointer[Policy] // changed under mu; nil: none yet
	begun  time.Time              // what parts are counted from, by a clock that nobody sets
	events func(Event)

	mu     sync.Mutex // guards what follows
	shapes map[Shape]*list.Element
	order  *list.List // of *count; the one seen last is first
	storms []*Storm   // in the order in which they began
	dirty  bool       // what Save would keep has changed
}

// count is what is known of a shape.
type count struct {
	shape  Shape
	parts  [parts]uint32
	newest int64  // number of the newest part, since begun
	storm  *Storm // that goes on; nil: none does
}

// Storm is a record: messages alike that were too many.
type Storm struct {
	ID spool.ID `json:"id"` // its name: that of the first message that was held
	// From, Subject and To are of the first message that was held: To is the first
	// recipient, of so many. They are words of strangers, made harmless and short.
	From       string    `json:"from"`
	Subject    string    `json:"subject"`
	To         string    `json:"to"`
	Recipients int       `json:"recipients"`
	Shape      Shape     `json:"shape"`
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended,omitzero"` // zero: it goes on
	Held       int       `json:"held"`           // messages that were put on hold
	First      spool.ID  `json:"first"`          // the one of them with the least ID; 0: none yet
	Last       spool.ID  `json:"last"`           // the one with the greatest
	Latest     time.Time `json:"latest"`         // when that came
	Told       time.Time `json:"told,omitzero"`  // when the last digest was sent; zero: none was
	Counted    int       `json:"counted"`        // by that
}

// Over tells whether the storm has ended.
func (s *Storm) Over() bool { return !s.Ended.IsZero() }

// New makes a guard that watches nothing before Use. events is told of storms,
// under a lock, and must be quick; nil: nobody is.
func New(events func(Event)) *Guard {
	if events == nil {
		events = func(Event) {}
	}
	return &Guard{begun: time.Now(), shapes: map[Shape]*list.Element{}, order: list.New(), events: events}
}

// Use puts a policy in force. Counts begin anew where what is counted has
// changed, and storms end where nothing is counted any more.
func (g *Guard) Use(p *Policy, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.policy.Swap(p)
	if old == nil || old.Messages == p.Messages && old.Per == p.Per {
		return
	}
	for e := g.order.Front(); e != nil; e = e.Next() {
		c := e.Value.(*count)
		if p.Messages == 0 {
			g.endLocked(c, now)
		}
		g.renewLocked(c, now)
	}
	if p.Messages == 0 {
		clear(g.shapes)
		g.order.Init()
	}
}

// renewLocked begins to count anew. A storm goes on as if enough had just come.
func (g *Guard) renewLocked(c *count, now time.Time) {
	c.parts, c.newest = [parts]uint32{}, g.part(now)
	if c.storm != nil {
		c.parts[slot(c.newest)] = uint32(g.policy.Load().Messages)
	}
}

// Watches tells whether messages of a sender are counted at present. A nil guard
// counts none.
func (g *Guard) Watches(from string) bool { return g != nil && g.policy.Load().Watches(from) }

// Policy is what is in force; nil: nothing yet.
func (g *Guard) Policy() *Policy { return g.policy.Load() }

// Take counts a message that is about to be kept as id. It returns the name of
// the storm that it is part of, and then it is to be put on hold; 0: it goes on.
// Whoever does not keep it in the end calls Drop.
func (g *Guard) Take(m *Mail, id spool.ID, now time.Time) spool.ID {
	shape := m.Shape()
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.policy.Load()
	if !p.Watches(m.From) {
		return 0
	}
	c := g.count(shape)
	g.passLocked(c, now)
	c.parts[slot(c.newest)]++
	if c.storm == nil && c.sum() > p.Messages {
		c.storm = g.begin(m, id, now)
	}
	if c.storm == nil {
		return 0
	}
	return c.storm.ID
}

// Drop takes back a message that Take counted and that was not kept.
func (g *Guard) Drop(m *Mail, now time.Time) {
	shape := m.Shape()
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.shapes[shape]; e != nil {
		c := e.Value.(*count)
		if n := &c.parts[slot(c.newest)]; *n > 0 {
			*n--
		}
		if p, s := g.policy.Load(), c.storm; s != nil && s.Held == 0 && c.sum() <= p.Messages {
			c.storm = nil // that it would have begun
			g.storms = slices.DeleteFunc(g.storms, func(one *Storm) bool { return one == s })
		}
	}
}

// Keep notes that a message of a storm is on hold as id.
func (g *Guard) Keep(storm, id spool.ID, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.storms {
		if s.ID == storm {
			s.keep(id, now)
			if s.Held == 1 {
				p := g.policy.Load()
				g.events(&Began{Storm: *s, Messages: p.Messages, Per: p.Per})
			}
			g.dirty = true
		}
	}
}

// count is that of a shape, which becomes the one seen last.
func (g *Guard) count(shape Shape) *count {
	if e := g.shapes[shape]; e != nil {
		g.order.MoveToFront(e)
		return e.Value.(*count)
	}
	if g.order.Len() >= maxShapes {
		last := g.order.Back()
		c := last.Value.(*count)
		g.endLocked(c, time.Now())
		delete(g.shapes, c.shape)
		g.order.Remove(last)
	}
	c := &count{shape: shape}
	g.shapes[shape] = g.order.PushFront(c)
	return c
}

// part is the number of the part that now is in.
func (g *Guard) part(now time.Time) int64 {
	p := g.policy.Load()
	if p == nil || p.Per <= 0 {
		return 0
	}
	return int64(max(now.Sub(g.begun), 0) / max(p.Per/parts, 1))
}

func slot(part int64) int { return int(part % parts) }

// passLocked forgets the parts of a count that are over.
func (g *Guard) passLocked(c *count, now time.Time) {
	at := g.part(now)
	if at-c.newest >= parts {
		c.parts = [parts]uint32{}
		c.newest = at
	}
	for ; c.newest < at; c.newest++ {
		c.parts[slot(c.newest+1)] = 0
	}
}

func (c *count) sum() (n int) {
	for _, k := range c.parts {
		n += int(k)
	}
	return n
}

// begin makes a record; nil: there are too many, and none of them may go.
func (g *Guard) begin(m *Mail, id spool.ID, now time.Time) *Storm {
	if len(g.storms) >= maxStorms && !g.makeRoom() {
		g.events(&Overflow{From: m.From, Storms: len(g.storms)})
		return nil
	}
	s := m.record(id, now)
	g.storms = append(g.storms, s)
	g.dirty = true
	return s
}

// makeRoom drops the oldest record that has ended and of which its recipients
// know.
func (g *Guard) makeRoom() bool {
	for i, s := range g.storms {
		if s.Over() && s.Counted >= s.Held {
			g.storms = append(g.storms[:i], g.storms[i+1:]...)
			return true
		}
	}
	return false
}

// endLocked ends the storm of a count, if there is one.
func (g *Guard) endLocked(c *count, now time.Time) {
	s := c.storm
	if s == nil {
		return
	}
	c.storm = nil
	s.Ended = now.Round(0)
	g.dirty = true
	g.events(&Ended{*s})
}
