package route

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/config"
)

// firstMatch is the definition that the table has to agree with: the routes
// one after the other, each pattern compared as text. Its addresses are plain
// ones in lower case.
func firstMatch(routes []config.Route, q Query) Decision {
	for i := range routes {
		r := &routes[i]
		names := func(list []string, name string) bool {
			return list == nil || name != "" && (slices.Contains(list, name) || slices.Contains(list, "*"))
		}
		if !plainMatch(r.From, q.From, q.From == "") || q.To == "" && r.To != nil || !plainMatch(r.To, q.To, false) ||
			!names(r.User, q.User) || !names(r.UnixUser, q.UnixUser) || !names(r.Listener, q.Listener) {
			continue
		}
		if r.Header != nil && q.Header == nil {
			return Decision{NeedsHeader: true}
		}
		holds := true
		for name, patterns := range r.Header {
			holds = holds && slices.ContainsFunc(q.Header[name], func(v string) bool {
				return slices.Contains(patterns, v) || slices.Contains(patterns, "*")
			})
		}
		if holds {
			return Decision{Upstreams: r.Upstream, Route: r.Name, Matched: true}
		}
	}
	return Decision{}
}

func plainMatch(patterns []string, address string, null bool) bool {
	if patterns == nil {
		return true
	}
	for _, p := range patterns {
		local, domain, _ := strings.Cut(p, "@")
		below, isBelow := strings.CutPrefix(domain, "*.")
		switch {
		case p == "*", p == "<>" && null, p == address && !null:
			return true
		case null || p == "<>":
		case isBelow:
			if strings.HasSuffix(address, "."+below) {
				return true
			}
		case local == "*":
			if strings.HasSuffix(address, "@"+domain) {
				return true
			}
		case domain == "*":
			if strings.HasPrefix(address, local+"@") {
				return true
			}
		}
	}
	return false
}

// A small world, so that patterns and addresses meet often.
var (
	locals    = rapid.SampledFrom([]string{"a", "b", "root"})
	domains   = rapid.SampledFrom([]string{"x", "y.x", "z.y.x", "y", "xy.x"})
	addresses = rapid.Custom(func(t *rapid.T) string { return locals.Draw(t, "local") + "@" + domains.Draw(t, "domain") })
	patterns  = rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			return "*"
		case 1:
			return "<>"
		case 2:
			return "*@" + domains.Draw(t, "domain")
		case 3:
			return "*@*." + domains.Draw(t, "domain")
		case 4:
			return locals.Draw(t, "local") + "@*"
		}
		return addresses.Draw(t, "address")
	})
	names = rapid.SampledFrom([]string{"u", "v", "*"})
)

func some(g *rapid.Generator[string]) *rapid.Generator[[]string] {
	return rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(g, 1, 3))
}

var routesGen = rapid.Custom(func(t *rapid.T) []config.Route {
	routes := make([]config.Route, rapid.IntRange(0, 12).Draw(t, "routes"))
	for i := range routes {
		routes[i] = config.Route{
			Name: routeNumber(i), Upstream: []string{fmt.Sprint(i)},
			From: some(patterns).Draw(t, "from"), To: some(patterns).Draw(t, "to"),
		}
		switch rapid.IntRange(0, 5).Draw(t, "more") {
		case 0:
			routes[i].User = some(names).Draw(t, "user")
		case 1:
			routes[i].UnixUser = some(names).Draw(t, "unix user")
		case 2:
			routes[i].Listener = some(names).Draw(t, "listener")
		case 3:
			routes[i].Header = map[string][]string{"H": {names.Draw(t, "header")}}
		}
	}
	return routes
})

var queryGen = rapid.Custom(func(t *rapid.T) Query {
	name := rapid.SampledFrom([]string{"", "u", "v"})
	q := Query{
		From: rapid.OneOf(rapid.Just(""), addresses).Draw(t, "from"),
		To:   rapid.OneOf(rapid.Just(""), addresses, addresses).Draw(t, "to"),
		User: name.Draw(t, "user"), UnixUser: name.Draw(t, "unix user"), Listener: name.Draw(t, "listener"),
	}
	switch rapid.IntRange(0, 2).Draw(t, "header") {
	case 0:
		q.Header = textproto.MIMEHeader{}
	case 1:
		q.Header = textproto.MIMEHeader{"H": {rapid.SampledFrom([]string{"u", "v", "w"}).Draw(t, "value")}}
	}
	return q
})

// The index changes nothing, the explanation agrees, and MAIL refuses only
// what every RCPT would.
func TestIndexAgreesWithFirstMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		routes := routesGen.Draw(t, "table")
		tab, err := New(routes)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			q := queryGen.Draw(t, "query")
			want := firstMatch(routes, q)
			got := tab.Recipient(q)
			if got.Route != want.Route || got.Matched != want.Matched || got.NeedsHeader != want.NeedsHeader || !slices.Equal(got.Upstreams, want.Upstreams) {
				t.Fatalf("%+v\n%+v: %+v, want %+v", routes, q, got, want)
			}
			if (got.Matched || got.NeedsHeader) && !tab.Sender(q) {
				t.Fatalf("%+v\n%+v is refused at MAIL and taken at RCPT", routes, q)
			}
			checkExplanation(t, tab, q, got)
		}
	})
}

func checkExplanation(t *rapid.T, tab *Table, q Query, d Decision) {
	e := tab.Explain(q)
	text := e.String()
	if q.To == "" {
		return
	}
	if e.Decision.Route != d.Route {
		t.Fatalf("explained as %+v, decided as %+v", e.Decision, d)
	}
	for i, trial := range e.Tried {
		last := i == len(e.Tried)-1
		if (trial.Result == Matches) && !(last && (d.NeedsHeader || trial.Route == d.Route)) {
			t.Fatalf("%+v: trial %d matches, decided as %+v\n%s", q, i, d, text)
		}
	}
	if n := len(e.Tried); d.Matched && (n == 0 || e.Tried[n-1].Result != Matches || !strings.Contains(text, "=> upstream "+d.Upstreams[0])) {
		t.Fatalf("%+v ends without its match\n%s", q, text)
	}
}
