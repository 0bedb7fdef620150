package config

import (
	"fmt"
	"maps"
	"slices"
)

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
	open := cfg.comparison()
	told := map[string]bool{}
	for _, g := range cfg.guards() {
		if g.pattern.Kind == PatternAny || g.pattern.Kind == PatternNull || told[g.path] {
			continue
		}
		if r := open.to(g); r != nil {
			told[g.path] = true
			d.warn(g.path, fmt.Sprintf("%s is meant for some users, and anybody may send as it: %q on %s takes it from every client", g.pattern, r.Name, r.place()),
				fmt.Sprintf(`behind the routes of those users add a [[route]] with from = [%q] and reject = "not your address"`, g.pattern))
		}
		if open.steps < 0 {
			d.warn("", "has too many routes, users and senders to compare all of them: whether anybody may send as "+g.pattern.String()+" and what is guarded further down was not looked at",
				"postern explain shows it for one address")
			return
		}
	}
}

// guards are the addresses that routes and senders keep for some clients.
func (c *Config) guards() (guards []guard) {
	for i := range c.Routes {
		r := &c.Routes[i]
		if len(r.User)+len(r.UnixUser) == 0 || len(r.From) == 0 || r.Reject != "" || len(r.To)+len(r.Header) > 0 {
			continue // one with to or header is about the way, not about who
		}
		for _, p := range senders(r) {
			guards = append(guards, guard{p, joinIndex("route", i), fmt.Sprintf("%q", r.Name), i + 1, &Sender{User: r.User, UnixUser: r.UnixUser}})
		}
	}
	for i := range c.Senders {
		s := &c.Senders[i]
		if len(s.User)+len(s.UnixUser) == 0 || slices.Contains(s.User, "*") || slices.Contains(s.UnixUser, "*") {
			continue
		}
		for _, p := range senders(&Route{From: s.From}) {
			guards = append(guards, guard{p, joinIndex("sender", i), "this sender", 0, s})
		}
	}
	return guards
}

// comparison looks for routes by which others may send as a guarded address.
type comparison struct {
	*Config
	listeners []*Listener
	users     map[*Listener][]string // of each listener, "" for whoever need not sign in
	routes    [][]Pattern            // the senders of each route
	senders   [][]Pattern            // of each sender
	about     map[string][]int       // user, or "*" or "" for a sender without users: index of each sender that names it
	// steps is how much may still be compared, below 0 when it was not enough:
	// a file may have routes times routes and users times senders.
	steps int
}

// maxSteps takes a second at most.
const maxSteps = 5_000_000

func (c *Config) comparison() *comparison {
	cmp := &comparison{Config: c, listeners: c.AllListeners(), users: map[*Listener][]string{}, about: map[string][]int{}, steps: maxSteps}
	for _, l := range cmp.listeners {
		if !l.RequireAuth {
			cmp.users[l] = []string{""}
		}
		cmp.users[l] = slices.AppendSeq(cmp.users[l], maps.Keys(l.Users))
	}
	for i := range c.Routes {
		cmp.routes = append(cmp.routes, senders(&c.Routes[i]))
	}
	for i := range c.Senders {
		s := &c.Senders[i]
		cmp.senders = append(cmp.senders, senders(&Route{From: s.From}))
		for _, user := range s.User {
			cmp.about[user] = append(cmp.about[user], i)
		}
		if len(s.User) == 0 {
			cmp.about[""] = append(cmp.about[""], i)
		}
	}
	return cmp
}

// meets is meets, as long as there are steps.
func (c *comparison) meets(list []Pattern, p Pattern) bool {
	c.steps -= len(list)
	return c.steps >= 0 && meets(list, p)
}

// to is the first route that takes mail from the guarded address and asks
// nothing about who the client is; nil: there is none, or the steps have ended.
func (c *comparison) to(g guard) *Route {
	shut := takenSenders{}
	for i := g.route; i < len(c.Routes); i++ {
		r := &c.Routes[i]
		if len(r.User)+len(r.UnixUser) > 0 {
			continue
		}
		if r.Reject != "" {
			c.steps -= len(r.From)
			shut.addAll(r, c.routes[i])
			continue
		}
		if !c.meets(c.routes[i], g.pattern) || c.held(r, g) {
			continue
		}
		if c.steps < 0 || shut.covers(g.pattern) != nil {
			return nil
		}
		return r
	}
	return nil
}

// held reports whether every listener that r may take mail from holds its
// clients to other addresses, or lets in those alone whom a sender does.
func (c *comparison) held(r *Route, g guard) bool {
	for _, l := range c.listeners {
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
func (c *comparison) listenerHeld(l *Listener, g guard) bool {
	for _, user := range c.users[l] {
		if user != "" && (slices.Contains(g.who.User, user) || slices.Contains(g.who.User, "*")) {
			continue
		}
		if t := c.HTTP.Tokens[user]; l.Name == HTTPListener && len(t.From) > 0 && !c.meets(senders(&Route{From: t.From}), g.pattern) {
			continue
		}
		if !c.userHeld(l, user, g) {
			return false
		}
	}
	return true
}

// userHeld reports whether a sender keeps a user, or whoever has not signed in,
// from the guarded address.
func (c *comparison) userHeld(l *Listener, user string, g guard) bool {
	holds := func(about string) bool {
		return slices.ContainsFunc(c.about[about], func(i int) bool {
			s := &c.Senders[i]
			c.steps -= 1 + len(s.Listener) + len(s.UnixUser)
			return c.steps >= 0 &&
				(len(s.Listener) == 0 || slices.Contains(s.Listener, l.Name)) &&
				(len(s.UnixUser) == 0 || l.Network == "unix" && slices.Contains(s.UnixUser, "*")) &&
				(about == user && user != "" || !c.meets(c.senders[i], g.pattern))
		})
	}
	return holds("") || user != "" && (holds(user) || holds("*"))
}
