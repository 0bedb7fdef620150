package config

import (
	"fmt"
	"slices"
	"strconv"
)

func (c *Config) senderTables() value {
	return tableList[Sender]{
		Place: &c.Senders, keys: (*Sender).keys, check: (*Sender).check,
		fresh: func(_ int, t *table) Sender { return Sender{Line: t.doc.source.line(t.path)} },
	}
}

func (s *Sender) check(t *table) {
	if !slices.ContainsFunc([]string{"user", "unix_user", "listener"}, t.has) {
		t.problem("", "does not say whom it is about", `set user, unix_user or listener, such as user = ["*"]`)
	}
	if !t.has("from") {
		t.problem("", "names no address", `set from = ["a@example.com"], the addresses that these clients may use`)
	}
}

// checkSenders compares senders with the listeners and users that they name,
// and looks for guarded addresses that are open to others.
func (d *document) checkSenders(cfg *Config) {
	listeners, users := cfg.doors()
	for i, s := range cfg.Senders {
		path := joinIndex("sender", i)
		for j, name := range s.Listener {
			if name != "" && !slices.Contains(listeners, name) {
				d.unknownName(joinIndex(path+".listener", j), "listener", name, listeners)
			}
		}
		for j, name := range s.User {
			if name != "" && name != "*" && !slices.Contains(users, name) {
				d.warn(joinIndex(path+".user", j), "no listener has a user "+strconv.Quote(name), "this never matches")
			}
		}
	}
	d.checkGuards(cfg)
}

// guard is an address pattern that some clients alone are meant to use.
type guard struct {
	pattern Pattern
	path    string // of the route or sender that says so
	what    string
	route   int // where to look on from
	who     *Sender
}

// checkGuards warns of an address that a route gives to some users, or that a
// sender gives to them, and that a later route takes from everybody. A wide
// pattern ("*", a whole domain for any user) guards nothing in particular.
func (d *document) checkGuards(cfg *Config) {
	var guards []guard
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		if len(r.User)+len(r.UnixUser) == 0 || len(r.From) == 0 || r.Reject != "" || len(r.To)+len(r.Header) > 0 {
			continue // one with to or header is about the way, not about who
		}
		for _, p := range senders(r) {
			guards = append(guards, guard{p, joinIndex("route", i), fmt.Sprintf("%q", r.Name), i + 1, &Sender{User: r.User, UnixUser: r.UnixUser}})
		}
	}
	for i := range cfg.Senders {
		s := &cfg.Senders[i]
		if len(s.User)+len(s.UnixUser) == 0 || slices.Contains(s.User, "*") || slices.Contains(s.UnixUser, "*") {
			continue
		}
		for _, p := range senders(&Route{From: s.From}) {
			guards = append(guards, guard{p, joinIndex("sender", i), "this sender", 0, s})
		}
	}
	told := map[string]bool{}
	for _, g := range guards {
		if g.pattern.Kind == PatternAny || g.pattern.Kind == PatternNull || told[g.path] {
			continue
		}
		if open := cfg.openFor(g); open != nil {
			told[g.path] = true
			d.warn(g.path, fmt.Sprintf("%s is meant for some users, and anybody may send as it: %q on line %d takes it from every client", g.pattern, open.Name, open.Line),
				fmt.Sprintf(`behind the routes of those users add a [[route]] with from = [%q] and reject = "not your address"`, g.pattern))
		}
	}
}

// openFor is the first route that takes mail from the guarded address and asks
// nothing about who the client is, nil where there is none.
func (c *Config) openFor(g guard) *Route {
	shut := takenSenders{}
	for i := g.route; i < len(c.Routes); i++ {
		r := &c.Routes[i]
		if len(r.User)+len(r.UnixUser) > 0 || shut.covers(g.pattern) != nil {
			continue
		}
		if r.Reject != "" {
			shut.add(r)
			continue
		}
		if meets(senders(r), g.pattern) && !c.held(r, g) {
			return r
		}
	}
	return nil
}

// meets reports whether one of list and p have an address in common.
func meets(list []Pattern, p Pattern) bool {
	for _, q := range list {
		one, other := takenSenders{q: &Route{}}, takenSenders{p: &Route{}}
		if one.covers(p) != nil || other.covers(q) != nil {
			return true
		}
	}
	return false
}

// held reports whether every listener that r may take mail from holds its
// clients to other addresses, or lets in those alone whom a sender does.
func (c *Config) held(r *Route, g guard) bool {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if len(r.Listener) > 0 && !slices.Contains(r.Listener, l.Name) {
			continue
		}
		if !c.listenerHeld(l, g) {
			return false
		}
	}
	return true
}

// listenerHeld reports whether senders keep the clients of a listener, other
// than those who are meant, from the guarded address.
func (c *Config) listenerHeld(l *Listener, g guard) bool {
	everybody := []string{""}
	if l.RequireAuth {
		everybody = nil
	}
	for user := range l.Users {
		if !slices.Contains(g.who.User, user) && !slices.Contains(g.who.User, "*") {
			everybody = append(everybody, user)
		}
	}
	for _, user := range everybody {
		if !slices.ContainsFunc(c.Senders, func(s Sender) bool {
			return (len(s.Listener) == 0 || slices.Contains(s.Listener, l.Name)) &&
				(len(s.User) == 0 || user != "" && (slices.Contains(s.User, user) || slices.Contains(s.User, "*"))) &&
				(len(s.UnixUser) == 0 || l.Network == "unix" && slices.Contains(s.UnixUser, "*")) &&
				(slices.Contains(s.User, user) || !meets(senders(&Route{From: s.From}), g.pattern))
		}) {
			return false
		}
	}
	return true
}

// AsksUnixUser reports whether any route or sender asks who, on this machine,
// the client is. Finding that for TCP costs a question to the kernel for each
// connection.
func (c *Config) AsksUnixUser() bool {
	return slices.ContainsFunc(c.Routes, func(r Route) bool { return len(r.UnixUser) > 0 }) ||
		slices.ContainsFunc(c.Senders, func(s Sender) bool { return len(s.UnixUser) > 0 })
}
