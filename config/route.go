package config

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"postern/config/visible"
)

func (c *Config) routeTables() value {
	return tableList[Route]{
		Place: &c.Routes, keys: (*Route).keys, check: (*Route).check,
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
	if !slices.ContainsFunc([]string{"from", "to", "user", "unix_user", "listener", "header"}, t.has) {
		t.problem("", "has no condition, so that it would take every message", `if that is meant, set from = ["*"]`)
	}
}

func (r *Route) readPriority(t *table, name string, v any) bool {
	priority := 0
	if !(numberAt{&priority, -9, 9}).read(t, name, v) {
		return false
	}
	r.Priority = &priority
	return true
}

func (r *Route) showPriority() any {
	if r.Priority == nil {
		return nil
	}
	return *r.Priority
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
	case len(r.Reject) > maxReject || !visible.ASCII(r.Reject):
		t.problem("reject", fmt.Sprintf("has to be up to %d characters of ASCII", maxReject), "it is the text of an SMTP reply")
	}
	for _, name := range []string{"upstream", "priority"} {
		if t.has(name) {
			t.problem(name, "has no effect beside reject", "a route leads to upstreams or refuses; remove one of them")
		}
	}
}

// patternsAt is a list of address patterns.
type patternsAt struct{ Place *[]string }

func (p patternsAt) show() any { return listAt(p).show() }

func (p patternsAt) read(t *table, name string, v any) bool {
	if !t.list(name, v, p.Place) {
		return false
	}
	for i, s := range *p.Place {
		if s == "" {
			continue
		}
		pattern, err := ParsePattern(s)
		switch {
		case err != nil:
			t.doc.problem(joinIndex(t.key(name), i), strconv.QuoteToASCII(s)+" "+err.Error(), "")
		case pattern.Kind == PatternNull && name == "to":
			t.doc.problem(joinIndex(t.key(name), i), `"<>" is no recipient`, "the null address only ever sends")
		}
	}
	return true
}

// readHeader reads { "Field" = ["pattern"] }.
func (r *Route) readHeader(t *table, key string, _ any) bool {
	fields := t.sub(key)
	r.Header = map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(fields.values)) {
		var values []string
		if !fieldName(name) {
			fields.problem(name, "is not the name of a header field", "letters, digits and hyphens, without the colon")
		}
		if fields.list(name, fields.values[name], &values) {
			canonical := textproto.CanonicalMIMEHeaderKey(name)
			if _, twice := r.Header[canonical]; twice {
				fields.problem(name, "is given twice", "field names do not distinguish capitals")
			}
			r.Header[canonical] = values
		}
	}
	if fields.values != nil && len(fields.values) == 0 {
		t.problem(key, "is empty", "remove the key or name a field")
	}
	return true
}

func (r *Route) showHeader() any {
	if len(r.Header) == 0 {
		return nil
	}
	return r.Header
}

// fieldName checks the name of a header field (RFC 5322 §2.2).
func fieldName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
}

// checkRoutes compares the routes with the upstreams, listeners and users
// that they name, and with each other.
func (d *document) checkRoutes(cfg *Config) {
	listeners, users := cfg.doors()
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
	} else if near := nearest(name, known); near != "" {
		hint = "did you mean " + strconv.Quote(near) + "?"
	}
	d.problem(key, "there is no "+what+" "+strconv.Quote(name), hint)
}

// doors lists the names of listeners and of the users that any of them has.
func (c *Config) doors() (listeners, users []string) {
	for _, l := range c.Listeners {
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

// takenSenders holds the patterns of routes that ask for the sender alone:
// mail that one of them matches reaches no later route.
type takenSenders map[Pattern]*Route

// add enters a route, if it is one of those.
func (t takenSenders) add(r *Route) {
	if len(r.User)+len(r.UnixUser)+len(r.Listener)+len(r.Header) > 0 || len(r.To) > 0 && !slices.Contains(r.To, "*") {
		return
	}
	for _, p := range senders(r) {
		if _, earlier := t[p]; !earlier {
			t[p] = r
		}
	}
}

// by is the route that takes everything that r could match, or the last one
// of several that do so together; nil: there is something left.
func (t takenSenders) by(r *Route) *Route {
	var by *Route
	for _, p := range senders(r) {
		first := t.covers(p)
		if first == nil {
			return nil
		}
		by = first
	}
	return by
}

// covers finds an entered pattern that matches every address that p does.
func (t takenSenders) covers(p Pattern) *Route {
	wider := []Pattern{p, {Kind: PatternAny}}
	switch p.Kind {
	case PatternAddress:
		wider = append(wider, Pattern{Kind: PatternDomain, Domain: p.Domain}, Pattern{Kind: PatternLocal, Local: p.Local})
		fallthrough
	case PatternDomain, PatternSubdomains:
		for _, up, more := strings.Cut(p.Domain, "."); more; _, up, more = strings.Cut(up, ".") {
			wider = append(wider, Pattern{Kind: PatternSubdomains, Domain: up})
		}
	}
	for _, w := range wider {
		if r := t[w]; r != nil {
			return r
		}
	}
	return nil
}

// senders are the patterns of r's from, or the one that stands for a missing
// condition. Patterns that are wrong were reported and count for nothing.
func senders(r *Route) []Pattern {
	if len(r.From) == 0 {
		return []Pattern{{Kind: PatternAny}}
	}
	var list []Pattern
	for _, s := range r.From {
		if p, err := ParsePattern(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}
