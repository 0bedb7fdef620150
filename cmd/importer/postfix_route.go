package importer

import (
	"slices"
	"strings"

	"postern/config/wire"
)

// byRecipient makes the routes of transport_maps.
func (p *postfix) byRecipient() {
	table := p.lookup(p.main, "transport_maps")
	for _, e := range narrowFirst(table.list) {
		to := []string{recipientPattern(e.key)}
		r, ok := p.transport(e)
		if !ok {
			continue
		}
		if r.To = to; to[0] == "*" {
			r.From, r.To = []string{"*"}, nil
		}
		p.route(r)
	}
}

// narrowFirst are the entries as Postfix finds them: an address, a domain, what
// is below one, everything.
func narrowFirst(table []entry) []entry {
	rank := func(e entry) int {
		switch {
		case e.key == "*":
			return 3
		case e.key[0] == '.':
			return 2
		case strings.Contains(e.key, "@") && e.key[0] != '@':
			return 0
		}
		return 1
	}
	sorted := slices.DeleteFunc(slices.Clone(table), func(e entry) bool { return e.key == "" })
	slices.SortStableFunc(sorted, func(a, b entry) int { return rank(a) - rank(b) })
	return sorted
}

// recipientPattern is a key of transport_maps as a pattern.
func recipientPattern(key string) string {
	switch {
	case key == "*" || strings.Contains(key, "@") && key[0] != '@':
		return key
	case key[0] == '@':
		return "*" + key
	case key[0] == '.':
		return "*@*" + key
	}
	return "*@" + key
}

// transport is where "smtp:[mail.example.com]:587" leads; ok is false where
// that has no counterpart, which is told.
func (p *postfix) transport(e entry) (r Route, ok bool) {
	r.Place = e.Place
	name, hop, _ := strings.Cut(e.value, ":")
	name, hop = strings.TrimSpace(name), strings.TrimSpace(hop)
	if name == "error" || name == "retry" {
		text := hop
		if code, rest, ok := strings.Cut(hop, " "); ok && strings.Count(code, ".") == 2 {
			text = rest
		}
		if r.Reject = wire.Text(strings.TrimSpace(text), 300); r.Reject == "" || !wire.Printable(r.Reject) {
			r.Reject = "mail is not sent there"
		}
		return r, true
	}
	of := p.main
	if name != "" {
		i := slices.IndexFunc(p.services, func(s service) bool { return s.name == name && s.kind == "unix" })
		switch {
		case i >= 0 && p.services[i].command == "smtp":
			of = p.services[i].params
		case i >= 0 || name != "smtp" && name != "relay":
			p.note(e.Place, shown(e.key)+" goes by the transport "+shown(name)+", which is not SMTP", "Postern delivers by SMTP only: name a server in a [[route]], or leave it to the next one")
			return r, false
		}
	}
	hint := ""
	if name != "smtp" && name != "relay" {
		hint = name
	}
	if hop == "" {
		if relay := p.main.get("relayhost"); relay.Value != "" && (name == "" || hint != "") {
			r.Upstream = p.hops(relay, of, "", hint)
			return r, len(r.Upstream) > 0
		}
		p.note(e.Place, shown(e.key)+" was delivered to the hosts of the domain itself", "name a server that takes it in a [[route]] with to")
		return r, false
	}
	r.Upstream = p.hops(Setting{e.Place, hop}, of, "", hint)
	return r, len(r.Upstream) > 0
}

// bySender makes the routes of senders who have a relay or a password of their
// own.
func (p *postfix) bySender() {
	relays := p.lookup(p.main, "sender_dependent_relayhost_maps")
	transports := p.lookup(p.main, "sender_dependent_default_transport_maps")
	var passwords []entry
	if p.main.is("smtp_sender_dependent_authentication") && p.main.is("smtp_sasl_auth_enable") {
		passwords = slices.DeleteFunc(slices.Clone(p.lookup(p.main, "smtp_sasl_password_maps").list), func(e entry) bool { return !strings.Contains(e.key, "@") })
	}
	seen := map[string]bool{}
	for _, e := range narrowFirst(slices.Concat(relays.list, transports.list, passwords)) {
		if seen[e.key] {
			continue
		}
		seen[e.key] = true
		if r, ok := p.sender(e, relays, transports); ok {
			p.route(r)
		}
	}
}

// sender is the route of one sender, or of a domain of senders.
func (p *postfix) sender(e entry, relays, transports lookup) (r Route, ok bool) {
	pattern := e.key
	if e.key[0] == '@' {
		pattern = "*" + e.key
	}
	relay := p.main.get("relayhost")
	_, domain, _ := strings.Cut(e.key, "@")
	for _, key := range []string{e.key, "@" + domain, "*"} {
		t, found := transports.find(key)
		if found && !strings.EqualFold(t.value, "DUNNO") && t.value != "" {
			if r, ok = p.transport(t); ok {
				r.From = []string{pattern}
			}
			return r, ok
		}
		if s, found := relays.find(key); found {
			if !strings.EqualFold(s.value, "DUNNO") {
				relay = Setting{s.Place, s.value}
			}
			break
		}
	}
	r = Route{Place: e.Place, From: []string{pattern}, Upstream: p.hops(relay, p.main, e.key, "")}
	return r, len(r.Upstream) > 0
}

// rewriting reads what senders are replaced by.
func (p *postfix) rewriting() {
	for _, name := range []string{"sender_canonical_maps", "canonical_maps", "smtp_generic_maps"} {
		classes := p.main.get(strings.TrimSuffix(name, "_maps") + "_classes").Value
		for _, e := range narrowFirst(p.lookup(p.main, name).list) {
			p.replaced(name, e, classes == "" || strings.Contains(classes, "header"))
		}
	}
	for _, name := range []string{"recipient_canonical_maps", "virtual_alias_maps", "masquerade_domains", "relocated_maps"} {
		if s := p.main.get(name); s.Value != "" {
			p.note(s.Place, name+" is not carried over: "+postfixTold[name][0], postfixTold[name][1])
		}
	}
}

// replaced is one entry of a table of addresses.
func (p *postfix) replaced(name string, e entry, header bool) {
	to, ok := address(e.value)
	if !ok {
		p.note(e.Place, name+": "+shown(e.key)+" is replaced by something that is no whole address", "add a [[rewrite]] for what is meant")
		return
	}
	from := e.key
	switch {
	case from == "*":
	case from[0] == '@':
		from = "*" + from
	case !strings.Contains(from, "@"):
		from += "@*"
	}
	rw := Rewrite{Place: e.Place, From: p.patterns(e.Place, []string{from}), Envelope: to}
	if header {
		rw.Header = to
	}
	if len(rw.From) == 0 {
		return
	}
	if n := len(p.Rewrites); n > 0 && p.Rewrites[n-1].Envelope == to && p.Rewrites[n-1].Header == rw.Header {
		p.Rewrites[n-1].From = union(p.Rewrites[n-1].From, rw.From)
		return
	}
	p.Rewrites = append(p.Rewrites, rw)
}
