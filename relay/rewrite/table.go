package rewrite

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/route"
)

// Table is the rules of a configuration. It is immutable and may be used
// concurrently. A nil one changes nothing.
type Table struct {
	upstreams map[string]*rules // those where something may change
}

// rules are those of one upstream.
type rules struct {
	table   *route.Table
	changes map[string]*Change // by name of the rule
	// otherwise is what the sender of the upstream says alone; nil: nothing.
	otherwise *Change
}

// Change is what becomes of a message. It is immutable.
type Change struct {
	Rule     string // "rewrite 2", or "sender of office"
	Line     int    // of the rule in the configuration file; 0: not known
	File     string // of conf.d that has the rule; empty: the main one
	Envelope string // reverse-path; empty: as it is
	From     string // address of From; empty: as it is
	ReplyTo  string // an address, config.ReplyToOriginal or config.ReplyToNone
	add      []byte // whole fields
	remove   []string
}

// New compiles the rules of cfg. It fails on patterns that config.Load would
// refuse.
func New(cfg *config.Config) (*Table, error) {
	t := &Table{upstreams: map[string]*rules{}}
	for name, up := range cfg.Upstreams {
		r := &rules{changes: map[string]*Change{}}
		if up.Sender != "" {
			r.otherwise = &Change{Rule: "sender of " + name, Envelope: up.Sender, From: up.Sender, ReplyTo: config.ReplyToOriginal}
		}
		var routes []config.Route
		for i := range cfg.Rewrites {
			c := &cfg.Rewrites[i]
			if len(c.Upstream) > 0 && !slices.Contains(c.Upstream, name) {
				continue
			}
			rule := config.RewriteName(i)
			routes = append(routes, config.Route{
				Name: rule, From: c.From, User: c.User, UnixUser: c.UnixUser, Listener: c.Listener, Header: c.Header, Line: c.Line, File: c.File,
			})
			r.changes[rule] = newChange(rule, c, up.Sender)
		}
		if r.otherwise == nil && len(routes) == 0 {
			continue
		}
		var err error
		if r.table, err = route.New(routes); err != nil {
			return nil, err
		}
		t.upstreams[name] = r
	}
	return t, nil
}

// newChange is what a rule comes to at an upstream with this sender.
func newChange(name string, c *config.Rewrite, sender string) *Change {
	or := func(address string) string {
		switch address {
		case "":
			return sender
		case config.RewriteKeep:
			return ""
		}
		return address
	}
	out := &Change{Rule: name, Line: c.Line, File: c.File, Envelope: or(c.EnvelopeFrom), From: or(c.HeaderFrom), ReplyTo: c.ReplyTo, remove: c.RemoveHeader}
	for _, field := range slices.Sorted(maps.Keys(c.AddHeader)) {
		out.add = append(out.add, wire.Field(field, c.AddHeader[field])...)
	}
	return out
}

// Any tells whether anything may change on the way to an upstream.
func (t *Table) Any(upstream string) bool { return t != nil && t.upstreams[upstream] != nil }

// Find is the change for a message; nil: there is none. needsHeader: the answer
// depends on q.Header, which is not known. q.To is not looked at.
func (t *Table) Find(upstream string, q route.Query) (c *Change, needsHeader bool) {
	if t == nil || t.upstreams[upstream] == nil {
		return nil, false
	}
	r := t.upstreams[upstream]
	switch d := r.table.Recipient(q); {
	case d.NeedsHeader:
		return nil, true
	case d.Matched:
		return r.changes[d.Route], false
	}
	return r.otherwise, false
}

// Fields are the canonical names of the header fields that the rules of an
// upstream ask for.
func (t *Table) Fields(upstream string) []string {
	if t == nil || t.upstreams[upstream] == nil {
		return nil
	}
	return t.upstreams[upstream].table.Fields()
}

// Explain tries each rule of an upstream; see route.Table.Explain.
func (t *Table) Explain(upstream string, q route.Query) []route.Trial {
	if t == nil || t.upstreams[upstream] == nil {
		return nil
	}
	return t.upstreams[upstream].table.Explain(q).Tried
}

// ReversePath is what becomes of one. The null reverse-path stays: nobody is to
// answer what has it (RFC 5321 §4.5.5).
func (c *Change) ReversePath(from string) string {
	if c.Envelope == "" || from == "" {
		return from
	}
	return c.Envelope
}

// String says what is done, for people.
func (c *Change) String() string {
	var parts []string
	if c.Envelope != "" {
		parts = append(parts, "envelope from <"+c.Envelope+">")
	}
	if c.From != "" {
		parts = append(parts, "From: its name with <"+c.From+">")
	}
	switch c.ReplyTo {
	case config.ReplyToOriginal:
		if c.From != "" {
			parts = append(parts, "Reply-To: who stood in From, unless it has one")
		}
	case config.ReplyToNone:
		parts = append(parts, "no Reply-To")
	default:
		parts = append(parts, "Reply-To: <"+c.ReplyTo+">")
	}
	if n := strings.Count(string(c.add), "\r\n"); n > 0 {
		parts = append(parts, strconv.Itoa(n)+" added to the header")
	}
	if len(c.remove) > 0 {
		parts = append(parts, "without "+strings.Join(c.remove, ", "))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}
