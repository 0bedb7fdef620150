// Package route decides which upstreams a message takes: it turns the routes
// of a configuration into a Table and asks it, per recipient, for the first
// route that matches. It also tells why (Explain).
//
// It faces nobody: every answer is a function of the table and the question.
// It opens no connection, keeps no state, and never invents an upstream.
//
// Reading order: New, Table.Recipient, rule.admits, index.candidates.
package route

import (
	"fmt"
	"net/textproto"
	"slices"

	"postern/config"
)

// Query is what is known of a message, as far as routes can ask about it.
// Addresses are in wire form, without angle brackets.
type Query struct {
	From     string // reverse-path; empty is the null reverse-path <>
	To       string // forward-path; empty: not known yet
	Listener string // name of the listener
	User     string // authenticated user, or empty
	UnixUser string // user name of a unix socket's peer, or empty
	// Header is the header of the message, unfolded, under canonical field
	// names; nil means that it is not known yet, an empty one that the message
	// has none of the fields.
	Header textproto.MIMEHeader
}

// Decision is the answer for one recipient.
type Decision struct {
	// Upstreams is the failover list of the route that matched; it belongs to
	// the table and must not be changed. Empty unless Matched.
	Upstreams []string `json:"upstreams,omitempty"`
	Route     string   `json:"route,omitempty"` // name of the route that matched
	Matched   bool     `json:"matched"`
	// Priority is what the route sets (RFC 6710); nil: it leaves it to the
	// client. It belongs to the table.
	Priority *int `json:"priority,omitempty"`
	// Archive is who gets a copy by the route that matched; it belongs to the
	// table.
	Archive []string `json:"archive,omitempty"`
	// Watched: somebody is told when the route takes no mail for long.
	Watched bool `json:"watched,omitempty"`
	// Reject is the text of the refusal that the first matching route ends
	// in; Route names it, and nothing else is set.
	Reject string `json:"reject,omitempty"`
	// Instead is what becomes of mail that the route does not let go to q.To;
	// empty: it may go. Where it is redirected, Redirect are the addresses that
	// get it, by Upstreams. What is dropped has no Upstreams. Both belong to the
	// table.
	Instead  config.Otherwise `json:"instead,omitempty"`
	Redirect []string         `json:"redirect,omitempty"`
	// NeedsHeader means that the answer depends on the header and that
	// Query.Header was nil: ask again with it. Nothing else is set then; no
	// route may match in the end.
	NeedsHeader bool `json:"needs_header,omitempty"`
}

// Table is a compiled list of routes. It is immutable and may be used
// concurrently; a reload makes another one.
type Table struct {
	rules  []rule
	fields []string // of the header, that rules ask for; canonical

	// Each rule stands in exactly one of these, by the first of its
	// conditions that few messages meet. All lists ascend, so that merging
	// those that a message selects visits its candidates in the order of the
	// file.
	from index
	to   index
	user map[string][]int
	rest []int
	// toList has the rules of the index to, for questions without a
	// recipient.
	toList []int
}

// New compiles routes. It fails on patterns that config.Load would refuse.
func New(routes []config.Route) (*Table, error) {
	t := &Table{user: map[string][]int{}}
	for i := range routes {
		r, err := compile(&routes[i], i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", routes[i].Name, err)
		}
		t.rules = append(t.rules, r)
		for _, f := range r.header {
			if !slices.Contains(t.fields, f.name) {
				t.fields = append(t.fields, f.name)
			}
		}
		t.insert(i)
	}
	return t, nil
}

// insert adds rule i to the index that narrows it best.
func (t *Table) insert(i int) {
	r := &t.rules[i]
	switch {
	case r.from.narrow():
		t.from.add(r.from.patterns, i)
	case r.to.narrow():
		t.to.add(r.to.patterns, i)
		t.toList = append(t.toList, i)
	case r.user.narrow():
		for name := range r.user.names {
			t.user[name] = append(t.user[name], i)
		}
	default:
		t.rest = append(t.rest, i)
	}
}

// Fields are the canonical names of the header fields that routes ask for; the
// caller must not change them.
func (t *Table) Fields() []string { return t.fields }

// Sender reports whether a route could match mail from q.From: one whose
// conditions on sender, listener and users hold, whatever it asks of the
// recipient and the header, and before which no route refuses all of q.From. q.To and q.Header are not looked at.
func (t *Table) Sender(q Query) bool {
	var storage [addressBytes]byte
	from := newAddress(storage[:0], q.From)
	var lists [listsAtHand][]int
	m := merge{append(lists[:0], t.rest, t.toList, t.user[q.User])}
	m.lists = t.from.candidates(m.lists, &from)
	for i, ok := m.next(); ok; i, ok = m.next() {
		if r := &t.rules[i]; r.admits(&q, &from) {
			if r.reject == "" {
				return true
			}
			if r.to == nil && len(r.header) == 0 {
				return false
			}
		}
	}
	return false
}

// Refusal is the text with which a route refuses a sender that Sender is false
// for; empty: no route does, it only lacks one.
func (t *Table) Refusal(q Query) string {
	var storage [addressBytes]byte
	from := newAddress(storage[:0], q.From)
	for i := range t.rules {
		if r := &t.rules[i]; r.reject != "" && r.to == nil && len(r.header) == 0 && r.admits(&q, &from) {
			return r.reject
		}
	}
	return ""
}

// Recipient finds the first route that matches q.
func (t *Table) Recipient(q Query) Decision {
	var fromStorage, toStorage [addressBytes]byte
	from, to := newAddress(fromStorage[:0], q.From), newAddress(toStorage[:0], q.To)
	to.unknown = q.To == ""
	var lists [listsAtHand][]int
	m := merge{append(lists[:0], t.rest, t.user[q.User])}
	m.lists = t.from.candidates(m.lists, &from)
	m.lists = t.to.candidates(m.lists, &to)
	for i, ok := m.next(); ok; i, ok = m.next() {
		r := &t.rules[i]
		if !r.admits(&q, &from) || !r.to.matches(&to) {
			continue
		}
		if len(r.header) > 0 && q.Header == nil {
			return Decision{NeedsHeader: true}
		}
		if r.headerHolds(q.Header) {
			if r.reject != "" {
				return Decision{Route: r.name, Reject: r.reject}
			}
			d := Decision{Upstreams: r.upstream, Route: r.name, Matched: true, Priority: r.priority, Archive: r.archive, Watched: r.watched}
			if !r.staging.allows(&to) {
				return r.divert(d)
			}
			return d
		}
	}
	return Decision{}
}

// listsAtHand is how many lists a question can select without an allocation:
// only domains of many labels, each with routes of its own, select more.
const listsAtHand = 24

// merge walks several ascending lists as one, each value once.
type merge struct {
	lists [][]int
}

// next is the smallest value that was not returned yet; false at the end.
func (m *merge) next() (int, bool) {
	least := -1
	for _, list := range m.lists {
		if len(list) > 0 && (least < 0 || list[0] < least) {
			least = list[0]
		}
	}
	if least < 0 {
		return 0, false
	}
	for k, list := range m.lists {
		if len(list) > 0 && list[0] == least {
			m.lists[k] = list[1:]
		}
	}
	return least, true
}
