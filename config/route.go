package config

import (
	"fmt"
	"iter"
	"maps"
	"net/textproto"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

func (c *Config) routeTables() value {
	return tableList[Route]{
		place: &c.Routes, keys: (*Route).keys, check: (*Route).check,
		fresh: func(i int, t *table) Route {
			r := Route{Name: fmt.Sprintf("route %d", i+1)}
			r.File, r.Line = t.doc.place(t.path)
			return r
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
	r.Staging.check(t)
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
	t.refuse("has no effect beside reject", "a route leads to upstreams or refuses; remove one of them", "upstream", "priority", "archive", "expect", "redirect", "allow_to", "otherwise")
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
	upstreams := namesOf(maps.Keys(cfg.Upstreams))
	used := map[string]bool{}
	taken := takenSenders{}
	for i, r := range cfg.Routes {
		path := joinIndex("route", i)
		d.checkRouteUpstreams(upstreams, path, r.Upstream, used)
		if r.Otherwise == OtherwiseCapture {
			used[captureName] = true
		}
		d.checkOwnRecipients(cfg, path, &r)
		for j, name := range r.Listener {
			if name != "" && name != InternalListener && !listeners.has(name) {
				d.unknownName(joinIndex(path+".listener", j), "listener", name, listeners)
			}
		}
		for j, name := range r.User {
			if name != "" && name != "*" && !users.has(name) {
				d.warn(joinIndex(path+".user", j), "no listener has a user "+strconv.Quote(name), "this never matches")
			}
		}
		if by := taken.by(&r); by != nil && !(i == len(cfg.Routes)-1 && cfg.isNet(&r, by)) {
			place := by.place()
			if by.File == "" && r.File != "" {
				place += " of " + filepath.Base(d.file)
			}
			d.warn(path, fmt.Sprintf("%q can never match: %q on %s takes all its mail before", r.Name, by.Name, place),
				"move it up, or remove it")
		}
		taken.add(&cfg.Routes[i])
	}
	if len(cfg.Routes) > 0 && !slices.ContainsFunc(cfg.Routes, takesNull) {
		d.warn("route", "no route takes the null sender: bounces of applications are refused, and our own leave by the upstream of the message that they are about", `add a [[route]] with from = ["<>"], or "<>" to the from of one`)
	}
	d.checkAlerts(cfg, upstreams, used)
	for _, name := range upstreams {
		if len(cfg.Routes) > 0 && !used[name] {
			d.warn(joinKey("upstream", name), "no route leads to this upstream", "")
		}
	}
}

// isNet reports whether the last route captures what no other one takes, in a
// file of its own, as that of the package does. Nothing is wrong with it where
// the others take everything.
func (c *Config) isNet(r, by *Route) bool {
	return r.File != by.File && slices.Contains(r.From, "*") && len(r.To)+len(r.User)+len(r.UnixUser)+len(r.Listener)+len(r.Header) == 0 &&
		r.Reject == "" && !slices.ContainsFunc(r.Upstream, func(name string) bool {
		up := c.Upstreams[name]
		return up == nil || up.Provider != CaptureProvider
	})
}

func (d *document) checkRouteUpstreams(upstreams names, path string, list []string, used map[string]bool) {
	before := map[string]bool{}
	for j, name := range list {
		key := joinIndex(path+".upstream", j)
		used[name] = true
		if name == "" {
			continue
		}
		if !upstreams.has(name) {
			d.unknownName(key, "upstream", name, upstreams)
		}
		if before[name] {
			d.problem(key, strconv.Quote(name)+" stands in this list twice", "each upstream is tried once in turn")
		}
		before[name] = true
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

func (d *document) unknownName(key, what, name string, known names) {
	hint := ""
	switch {
	case d.problems.full(): // is counted
	case len(known) == 0:
		hint = "none is configured"
	default:
		hint = "known: " + known.String()
		if near := Nearest(name, known); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "?"
		}
	}
	d.problem(key, "there is no "+what+" "+strconv.Quote(name), hint)
}

// names are what tables are called, sorted.
type names []string

func namesOf(all iter.Seq[string]) names { return slices.Compact(slices.Sorted(all)) }

func (n names) has(name string) bool {
	_, found := slices.BinarySearch(n, name)
	return found
}

// maxNames is how many names stand in a hint.
const maxNames = 20

func (n names) String() string {
	if len(n) > maxNames {
		return strings.Join(n[:maxNames], ", ") + fmt.Sprintf(" and %d more", len(n)-maxNames)
	}
	return strings.Join(n, ", ")
}

// waysIn are the names of listeners and of the users that any of them has.
func (c *Config) waysIn() (listeners, users names) {
	for _, l := range c.AllListeners() {
		listeners = append(listeners, l.Name)
		users = slices.AppendSeq(users, maps.Keys(l.Users))
	}
	listeners = append(listeners, PickupListener)
	if c.Console.Listener.Address != "" {
		listeners = append(listeners, ConsoleListener)
		for name := range c.Console.Users {
			users = append(users, ConsoleListener+":"+name)
		}
	}
	return namesOf(slices.Values(listeners)), namesOf(slices.Values(users))
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
		fresh: func(_ int, t *table) (s Sender) {
			s.File, s.Line = t.doc.place(t.path)
			return s
		},
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
			if name != "" && !listeners.has(name) {
				d.unknownName(joinIndex(path+".listener", j), "listener", name, listeners)
			}
		}
		for j, name := range s.User {
			if name != "" && name != "*" && !users.has(name) {
				d.warn(joinIndex(path+".user", j), "no listener has a user "+strconv.Quote(name), "this never matches")
			}
		}
	}
	d.checkGuards(cfg)
	d.checkStorm(cfg)
}

// readPatternsOf reads { user = ["pattern"] }.
func readPatternsOf(f field, v any) (map[string][]string, bool) {
	users, of := f.table(v), map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(users.values)) {
		list, ok := listOf(readPattern)(users.field(name), users.values[name])
		if ok && len(list) == 0 {
			users.problem(name, "has no pattern, so that the user could send nothing", `name addresses, such as ["*@shop.example.com"]`)
		}
		of[name] = list
	}
	return of, true
}

// SenderRules are all rules about who may send as whom: each [[sender]], then
// those of submission.from_of.
func (c *Config) SenderRules() []Sender {
	rules := slices.Clone(c.Senders)
	for _, user := range slices.Sorted(maps.Keys(c.Submission.FromOf)) {
		rules = append(rules, Sender{UnixUser: []string{user}, From: c.Submission.FromOf[user], Name: "submission.from_of." + user})
	}
	return rules
}

// AsksUnixUser reports whether any route, rewrite or sender asks who, on this machine,
// the client is. Finding that for TCP costs a question to the kernel for each
// connection.
func (c *Config) AsksUnixUser() bool {
	return len(c.Submission.FromOf) > 0 || slices.ContainsFunc(c.Routes, func(r Route) bool { return len(r.UnixUser) > 0 }) ||
		slices.ContainsFunc(c.Rewrites, func(r Rewrite) bool { return len(r.UnixUser) > 0 }) ||
		slices.ContainsFunc(c.Senders, func(s Sender) bool { return len(s.UnixUser) > 0 }) ||
		slices.ContainsFunc(c.Books, func(b Book) bool { return len(b.UnixUser) > 0 })
}
