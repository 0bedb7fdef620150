package submission

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/route"
	"postern/spool"
)

// diversion is a recipient to whom a route does not let mail go.
type diversion struct {
	to      string
	route   string
	instead config.Otherwise
	by      []string // who gets it, where it is redirected
	copy    bool     // it is one of an archive, whom no header names
}

// place adds to list where the mail for a recipient goes by a decision: r itself
// or, where its route has other plans, somebody else or nobody. Nobody is added
// whom list or the message has.
func (m *Message) place(list []spool.Recipient, r spool.Recipient, d *route.Decision) []spool.Recipient {
	if d.Instead == "" || d.Instead == config.OtherwiseCapture {
		return append(list, r)
	}
	for _, to := range d.Redirect {
		same := func(o spool.Recipient) bool { return foldDomain(o.Address) == foldDomain(to) }
		if !m.repeated(to) && !slices.ContainsFunc(list, same) {
			m.env.SMTPUTF8 = m.env.SMTPUTF8 || !wire.IsASCII(to)
			list = append(list, spool.Recipient{Address: to, Upstreams: r.Upstreams, Redirected: true})
		}
	}
	return list
}

func diversionOf(to string, d *route.Decision) diversion {
	return diversion{to: to, route: d.Route, instead: d.Instead, by: d.Redirect}
}

// divert notes that a recipient was not let through.
func (m *Message) divert(to string, d *route.Decision) {
	if d.Instead != "" {
		m.diverted = append(m.diverted, diversionOf(to, d))
	}
}

// addDiverted adds a recipient whose route does not let mail go to it.
func (m *Message) addDiverted(r spool.Recipient, d *route.Decision) *Refusal {
	list := m.place(nil, r, d)
	size := weight(&r)
	for i := range list {
		size += weight(&list[i])
	}
	if refusal := m.agent.overRate(m.client, recipients); refusal != nil {
		return refusal
	}
	if !m.hold(size) {
		return noMemory
	}
	m.divert(r.Address, d)
	m.copyTo(d.Archive)
	for i := range list {
		m.keep(&list[i])
	}
	if len(list) == 0 {
		m.count++
	}
	return nil
}

// decide finds the upstreams of those recipients that waited for the header.
// It returns what the client is told where there are none: nothing of the
// message is taken then, since there is one answer for all.
func (m *Message) decide(header []byte) *Refusal {
	h := wire.Values(header, m.policy.routes.Fields())
	waiting := slices.ContainsFunc(m.env.Recipients, func(r spool.Recipient) bool { return r.Upstreams == nil })
	if !waiting {
		return nil
	}
	all := m.env.Recipients
	var others []int // those whose mail goes elsewhere
	decisions := make([]route.Decision, len(all))
	for i := range all {
		r := &all[i]
		if r.Upstreams != nil {
			continue
		}
		q := m.client.query(m.env.From, r.Address)
		q.Header = h
		d := m.policy.routes.Recipient(q)
		if d.Reject != "" {
			return forbid(d.Reject)
		}
		if !d.Matched {
			return noRoute
		}
		r.Upstreams = d.Upstreams
		m.raise(d.Priority)
		m.watch(&d)
		m.copyTo(d.Archive)
		if decisions[i] = d; d.Instead != "" {
			others = append(others, i)
		}
	}
	if len(others) == 0 {
		return nil
	}
	m.seen = nil // of recipients that may leave
	m.env.Recipients = make([]spool.Recipient, 0, len(all))
	for i := range all {
		if decisions[i].Instead == "" || decisions[i].Instead == config.OtherwiseCapture {
			m.env.Recipients = append(m.env.Recipients, all[i])
		}
	}
	for _, i := range others {
		m.divert(all[i].Address, &decisions[i])
		if decisions[i].Instead != config.OtherwiseCapture {
			for _, r := range m.place(nil, all[i], &decisions[i]) {
				m.keep(&r)
			}
		}
	}
	return nil
}

// maxOriginals is how many recipients the header of a message names that was
// redirected.
const maxOriginals = 100

// appendOriginals adds a field for each recipient in whose place others get the
// message. Where there are recipients that get it themselves, they are not told
// of others whom its header does not name: those may be of Bcc.
func (m *Message) appendOriginals(b, header []byte) []byte {
	n, more, named := 0, 0, []byte(nil)
	for _, v := range m.diverted {
		if v.instead != config.OtherwiseRedirect {
			continue
		}
		if named == nil {
			if named = []byte("*"); m.goesOut() {
				named = toAndCc(header)
			}
		}
		if n >= maxOriginals || len(named) > 1 && !bytes.Contains(named, bytes.ToLower([]byte(v.to))) {
			more++
			continue
		}
		n++
		text := wire.FieldText(v.to)
		if m.env.SMTPUTF8 {
			text = v.to
		}
		b = append(b, "X-Postern-Original-To: "...)
		b = append(append(b, text...), crlf...)
	}
	if more > 0 {
		b = append(b, "X-Postern-Original-To: "...)
		b = append(strconv.AppendInt(b, int64(more), 10), " more, which the log names\r\n"...)
	}
	return b
}

// goesOut reports whether a recipient gets the message by itself.
func (m *Message) goesOut() bool {
	instead := map[string]bool{}
	for _, v := range m.diverted {
		if v.instead == config.OtherwiseCapture {
			instead[v.to] = true
		}
		for _, to := range v.by {
			instead[to] = true
		}
	}
	return slices.ContainsFunc(m.env.Recipients, func(r spool.Recipient) bool { return !instead[r.Address] })
}

// toAndCc is what To and Cc of a header say, in lower case, and never short.
func toAndCc(header []byte) []byte {
	text := []byte("\n\n")
	wire.EachField(header, func(name, value []byte, _, _ int) {
		if len(name) == 2 && (fold(name, "to") || fold(name, "cc")) {
			text = append(append(text, strings.ToLower(wire.Unfold(value))...), '\n')
		}
	})
	return text
}

// tellDiverted tells of recipients to whom the message does not go.
func (m *Message) tellDiverted(id spool.ID) {
	for len(m.diverted) > 0 {
		first := m.diverted[0]
		e := Diverted{Client: m.client, ID: id, From: m.env.From, Route: first.route, Instead: string(first.instead), Copy: first.copy}
		m.diverted = slices.DeleteFunc(m.diverted, func(v diversion) bool {
			if v.route != first.route || v.instead != first.instead || v.copy != first.copy {
				return false
			}
			e.To = append(e.To, v.to)
			return true
		})
		m.agent.events(&e)
	}
}
