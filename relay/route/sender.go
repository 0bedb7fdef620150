package route

import (
	"strconv"

	"postern/config"
)

// Senders decides who may send as whom. It is immutable and may be used
// concurrently. A nil one allows everything.
type Senders struct {
	rules []senderRule
}

type senderRule struct {
	line                     int
	file                     string
	name                     string
	user, unixUser, listener *nameSet
	from                     *addressSet
	checkFrom                bool
}

// NewSenders compiles senders. It fails on patterns that config.Load would
// refuse.
func NewSenders(list []config.Sender) (*Senders, error) {
	s := &Senders{}
	for i := range list {
		c := &list[i]
		from, err := newAddressSet(c.From)
		if err != nil {
			return nil, err
		}
		s.rules = append(s.rules, senderRule{
			line: c.Line, file: c.File, name: c.Name, user: newNameSet(c.User), unixUser: newNameSet(c.UnixUser), listener: newNameSet(c.Listener),
			from: from, checkFrom: c.CheckFrom,
		})
	}
	return s, nil
}

// about reports whether the rule describes the client of q.
func (r *senderRule) about(q *Query) bool {
	return r.listener.matches(q.Listener) && r.user.matches(q.User) && r.unixUser.matches(q.UnixUser)
}

// Envelope reports whether the client of q may use q.From as its reverse-path:
// every rule about the client has to allow it.
func (s *Senders) Envelope(q Query) bool { return s.allow(&q, q.From, false) }

// ChecksFrom reports whether any rule about the client of q looks at the
// authors of the message.
func (s *Senders) ChecksFrom(q Query) bool {
	if s == nil {
		return false
	}
	for i := range s.rules {
		if r := &s.rules[i]; r.checkFrom && r.about(&q) {
			return true
		}
	}
	return false
}

// Author reports whether the client of q may name address as an author.
func (s *Senders) Author(q Query, address string) bool { return s.allow(&q, address, true) }

func (s *Senders) allow(q *Query, text string, author bool) bool {
	if s == nil || len(s.rules) == 0 {
		return true
	}
	var storage [addressBytes]byte
	a := newAddress(storage[:0], text)
	for i := range s.rules {
		r := &s.rules[i]
		if (!author || r.checkFrom) && r.about(q) && !r.from.matches(&a) {
			return false
		}
	}
	return true
}

// Explain tells of each rule about the client of q whether it allows q.From.
func (s *Senders) Explain(q Query) (trials []Trial) {
	if s == nil {
		return nil
	}
	a := newAddress(nil, q.From)
	for i := range s.rules {
		r := &s.rules[i]
		t := Trial{Route: "sender " + strconv.Itoa(i+1), Line: r.line, File: r.file, Result: Matches}
		if r.name != "" {
			t.Route = r.name
		}
		r2 := rule{listener: r.listener, user: r.user, unixUser: r.unixUser}
		if t.Conditions = r2.try(&q, &a, &a).Conditions; !r.about(&q) {
			t.Result = NotAbout
		} else {
			result, text := r.from.explain(&a, q.From)
			t.Conditions = append(t.Conditions, Condition{"from", result, text})
			t.Result = Forbids
			if result == Matches {
				t.Result = Allows
			}
		}
		trials = append(trials, t)
	}
	return trials
}
