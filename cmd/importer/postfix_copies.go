package importer

import (
	"slices"
	"strings"
)

// copies reads who gets a copy of mail by its sender or its recipient. Of one
// table, where all mail takes the same way, each entry becomes a route with an
// archive. Anything else would need a route for each pair of conditions.
func (p *postfix) copies() {
	for _, name := range []string{"sender_bcc_maps", "recipient_bcc_maps"} {
		s := p.main.get(name)
		if s.Value == "" {
			continue
		}
		var others []entry
		for _, e := range narrowFirst(p.lookup(p.main, name).list) {
			to, ok := address(e.value)
			switch {
			case !ok:
				p.note(e.Place, name+": the copy for "+shown(e.key)+" goes to "+shown(e.value)+", which is no whole address", "set archive of a [[route]]")
			case e.key == "*":
				p.Archive = append(p.Archive, Setting{e.Place, to})
			case !strings.Contains(e.key, "@"):
				p.note(e.Place, name+": "+shown(e.key)+" has no domain", "set archive of a [[route]] for its address")
			default:
				others = append(others, entry{e.Place, e.key, to})
			}
		}
		if len(others) > 0 {
			p.copyRoutes(name, others)
		}
	}
}

// copyRoutes makes routes of entries, in front of the one that takes all mail.
func (p *postfix) copyRoutes(name string, entries []entry) {
	if len(p.Routes) != 1 || p.Routes[0].Reject != "" || len(p.Routes[0].To) > 0 || !slices.Equal(p.Routes[0].From, []string{"*"}) {
		p.note(p.main.get(name).Place, name+" is not carried over: a copy belongs to a route here, and this mail may take several", "set archive of the [[route]]s that it takes")
		return
	}
	all := p.Routes[0]
	p.Routes = nil
	for _, e := range entries {
		r := Route{Place: e.Place, Upstream: all.Upstream, Archive: []string{e.value}}
		if name == "sender_bcc_maps" {
			r.From = []string{recipientPattern(e.key)}
		} else {
			r.To = []string{recipientPattern(e.key)}
		}
		p.route(r)
	}
	p.Routes = append(p.Routes, all)
}
