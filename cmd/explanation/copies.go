package explanation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/naming"
	"postern/relay/route"
)

// Copy is one address that gets a copy of a message, and by which way.
type Copy struct {
	To       string         `json:"to"`
	Because  string         `json:"because"` // whose archive it is
	Decision route.Decision `json:"decision"`
}

// copiesOf are those who get a copy of a message with the decision d, beside q.To.
func copiesOf(ctx context.Context, cfg *config.Config, routes *route.Table, named *naming.Names, q route.Query, d *route.Decision) (list []Copy) {
	if !d.Matched && !d.NeedsHeader {
		return nil
	}
	recipient := q.To
	add := func(name, because string) {
		for _, to := range standsFor(ctx, named, name) {
			if strings.EqualFold(to, recipient) || slices.ContainsFunc(list, func(c Copy) bool { return strings.EqualFold(c.To, to) }) {
				continue
			}
			q.To = to
			list = append(list, Copy{to, because, route.Own(routes, q, d.Upstreams)})
		}
	}
	for _, name := range cfg.Submission.Archive {
		add(name, "archive of [submission]")
	}
	for _, name := range d.Archive {
		add(name, "archive of "+d.Route)
	}
	return list
}

// standsFor are the addresses of a name, as the submission finds them.
func standsFor(ctx context.Context, named *naming.Names, name string) []string {
	if named.Local(name) {
		if x, _, err := named.Expand(ctx, name, maxExplained); err == nil && x != nil {
			return x.Addresses
		}
	}
	address, _ := named.Complete(name)
	return []string{address}
}

// copyLines tells of copies, a line for each, and of the folder for them.
func copyLines(cfg *config.Config, list []Copy, taken bool) string {
	var b strings.Builder
	for _, c := range list {
		way := ""
		switch d := &c.Decision; {
		case d.NeedsHeader:
			way = "by a route that is decided when the header is known"
		case d.Instead == config.OtherwiseDrop:
			way = "is dropped by " + d.Route
		case !d.Matched:
			way = "is not made, as no route takes it"
			if d.Route != "" {
				way = "is not made, as " + d.Route + " refuses it"
			}
		case len(d.Redirect) > 0:
			way = "goes to " + strings.Join(d.Redirect, ", ") + " in place of it, who get the message once, by upstream " + strings.Join(d.Upstreams, ", then ")
		default:
			way = "by upstream " + strings.Join(d.Upstreams, ", then ")
		}
		fmt.Fprintf(&b, "   copy for <%s> (%s): %s\n", wire.Exact(c.To), wire.Line(c.Because), wire.Line(way))
	}
	if dir := cfg.Submission.ArchiveDir; dir != "" && taken {
		fmt.Fprintf(&b, "   copy in %s\n", wire.Line(dir))
	}
	return b.String()
}
