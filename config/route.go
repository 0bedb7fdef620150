package config

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

func (c *Config) routeTables() value {
	return tableList[Route]{
		place: &c.Routes, keys: (*Route).keys, check: (*Route).check,
		fresh: func(i int, t *table) Route {
			return Route{Name: fmt.Sprintf("route %d", i+1), Line: t.doc.source.line(t.path)}
		},
		name:  func(r *Route) (string, bool) { return r.Name, true },
		apart: "names tell routes apart in postern explain",
	}
}

func (r *Route) check(t *table) {
	if t.got["name"] && len(r.Name) > 100 {
		t.problem("name", "is longer than 100 bytes", "")
	}
	r.checkEnd(t)
	if !t.hasAny("from", "to", "user", "unix_user", "listener", "header") {
		t.problem("", "has no condition, so that it would take every message", `if that is meant, set from = ["*"]`)
	}
}

// maxReject keeps the reply line within RFC 5321 §4.5.3.1.5.
const maxReject = 400

// checkEnd looks at what the route ends in: upstreams, or a refusal.
func (r *Route) checkEnd(t *table) {
	if !t.got["reject"] {
		if !t.has("upstream") && !t.has("reject") {
			t.problem("", "names no upstream", `set upstream = ["NAME"]`)
		}
		return
	}
	switch {
	case strings.TrimSpace(r.Reject) == "":
		t.problem("reject", "is empty", `write what the client is told, such as reject = "not your address"`)
	case len(r.Reject) > maxReject || !wire.Printable(r.Reject):
		t.problem("reject", fmt.Sprintf("has to be up to %d characters of ASCII", maxReject), "it is the text of an SMTP reply")
	}
	t.refuse("has no effect beside reject", "a route leads to upstreams or refuses; remove one of them", "upstream", "priority")
}

func showHeader(header map[string][]string) any {
	if len(header) == 0 {
		return nil
	}
	return header
}

// readHeader reads { "Field" = ["pattern"] }.
func readHeader(f field, v any) (map[string][]string, bool) {
	fields, header := f.table(v), map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(fields.values)) {
		if !fieldName(name) {
			fields.problem(name, "is not the name of a header field", "letters, digits and hyphens, without the colon")
		}
		if values, ok := readList(fields.field(name), fields.values[name]); ok {
			canonical := textproto.CanonicalMIMEHeaderKey(name)
			if _, twice := header[canonical]; twice {
				fields.problem(name, "is given twice", "field names do not distinguish capitals")
			}
			header[canonical] = values
		}
	}
	if fields.values != nil && len(fields.values) == 0 {
		f.problem("is empty", "remove the key or name a field")
	}
	return header, true
}

// fieldName checks the name of a header field (RFC 5322 §2.2).
func fieldName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
}

// checkRoutes compares the routes with the upstreams, listeners and users
// that they name, and with each other.
func (d *document) checkRoutes(cfg *Config) {
	listeners, users := cfg.waysIn()
	used := map[string]bool{}
	taken := takenSenders{}
	for i, r := range cfg.Routes {
		path := joinIndex("route", i)
		d.checkRouteUpstreams(cfg, path, r.Upstream, used)
		d.checkOwnRecipients(cfg, path, &r)
		for j, name := range r.Listener {
			if name != "" && name != InternalListener && !slices.Contains(listeners, name) {
				d.unknownName(joinIndex(path+".listener", j), "listener", name, listeners)
			}
		}
		for j, name := range r.User {
			if name != "" && name != "*" && !slices.Contains(users, name) {
				d.warn(joinIndex(path+".user", j), "no listener has a user "+strconv.Quote(name), "this never matches")
			}
		}
		if by := taken.by(&r); by != nil {
			d.warn(path, fmt.Sprintf("%q can never match: %q on line %d takes all its mail before", r.Name, by.Name, by.Line),
				"move it up, or remove it")
		}
		taken.add(&cfg.Routes[i])
	}
	if len(cfg.Routes) > 0 && !slices.ContainsFunc(cfg.Routes, takesNull) {
		d.warn("route", "no route takes the null sender: bounces of applications are refused, and our own leave by the upstream of the message that they are about", `add a [[route]] with from = ["<>"], or "<>" to the from of one`)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		if len(cfg.Routes) > 0 && !used[name] {
			d.warn(joinKey("upstream", name), "no route leads to this upstream", "")
		}
	}
}

func (d *document) checkRouteUpstreams(cfg *Config, path string, names []string, used map[string]bool) {
	for j, name := range names {
		key := joinIndex(path+".upstream", j)
		used[name] = true
		if name == "" {
			continue
		}
		if _, ok := cfg.Upstreams[name]; !ok {
			d.unknownName(key, "upstream", name, slices.Sorted(maps.Keys(cfg.Upstreams)))
		}
		if slices.Index(names, name) < j {
			d.problem(key, strconv.Quote(name)+" stands in this list twice", "each upstream is tried once in turn")
		}
	}
}

// checkOwnRecipients warns where anybody's mail goes to an upstream that takes
// an organisation's own recipients only.
func (d *document) checkOwnRecipients(cfg *Config, path string, r *Route) {
	anybody := len(r.To) == 0 || slices.Contains(r.To, "*")
	for j, name := range r.Upstream {
		up := cfg.Upstreams[name]
		if up == nil || !anybody {
			continue
		}
		if p := knownProviders().Provider[up.Provider]; p != nil && p.OwnRecipients {
			d.warn(joinIndex(path+".upstream", j), strconv.Quote(name)+" takes recipients of your organisation only",
				`name its domains in the route, as in to = ["*@example.com"]`)
		}
	}
}

func (d *document) unknownName(key, what, name string, known []string) {
	hint := "known: " + strings.Join(known, ", ")
	if len(known) == 0 {
		hint = "none is configured"
	} else if near := Nearest(name, known); near != "" {
		hint = "did you mean " + strconv.Quote(near) + "?"
	}
	d.problem(key, "there is no "+what+" "+strconv.Quote(name), hint)
}

// waysIn lists the names of listeners and of the users that any of them has.
func (c *Config) waysIn() (listeners, users []string) {
	for _, l := range c.AllListeners() {
		listeners = append(listeners, l.Name)
		users = slices.AppendSeq(users, maps.Keys(l.Users))
	}
	slices.Sort(users)
	return listeners, users
}

// takesNull reports whether a route is sure to match our own notifications:
// the null sender, at no listener of ours, without users, no field asked for.
func takesNull(r Route) bool {
	return r.Reject == "" && (len(r.From) == 0 || slices.Contains(r.From, "*") || slices.Contains(r.From, "<>")) &&
		(len(r.Listener) == 0 || slices.Contains(r.Listener, InternalListener)) &&
		len(r.User) == 0 && len(r.UnixUser) == 0 && len(r.Header) == 0
}

func (c *Config) senderTables() value {
	return tableList[Sender]{
		place: &c.Senders, keys: (*Sender).keys, check: (*Sender).check,
		fresh: func(_ int, t *table) Sender { return Sender{Line: t.doc.source.line(t.path)} },
	}
}

func (s *Sender) check(t *table) {
	if !t.hasAny("user", "unix_user", "listener") {
		t.problem("", "does not say whom it is about", `set user, unix_user or listener, such as user = ["*"]`)
	}
	if !t.has("from") {
		t.problem("", "names no address", `set from = ["a@example.com"], the addresses that these clients may use`)
	}
}

// checkSenders compares senders with the listeners and users that they name,
// and looks for guarded addresses that are open to others.
func (d *document) checkSenders(cfg *Config) {
	listeners, users := cfg.waysIn()
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

// held reports whether every listener that r may take mail from holds its
// clients to other addresses, or lets in those alone whom a sender does.
func (c *Config) held(r *Route, g guard) bool {
	for _, l := range c.AllListeners() {
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
		if t := c.HTTP.Tokens[user]; l.Name == HTTPListener && len(t.From) > 0 && !meets(senders(&Route{From: t.From}), g.pattern) {
			continue
		}
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
