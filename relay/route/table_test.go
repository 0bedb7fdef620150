package route

import (
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"postern/config"
)

func table(t testing.TB, routes ...config.Route) *Table {
	t.Helper()
	for i := range routes {
		if routes[i].Upstream == nil {
			routes[i].Upstream = []string{"up" + routeNumber(i)[len("route "):]}
		}
	}
	table, err := New(routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Which sender addresses a pattern takes.
func TestSenderPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"*", []string{"", "a@b", "Postmaster", "a@\u212aelvin", `"broken@b`, "a@b@c"}, nil},
		{"<>", []string{""}, []string{"a@b", "<>", "Postmaster"}},
		{"a@example.com",
			[]string{"a@example.com", "A@EXAMPLE.com", `"a"@example.com`, `"\a"@example.com`},
			[]string{"", "b@example.com", "a@example.org", "a@sub.example.com", "aa@example.com", "a", `"a "@example.com`, "\u0430@example.com",
				"a@e\u0445ample.com", "a@ｅxample.com", "ａ@example.com", "a@example.com.", "a@.example.com", `"a@example.com`, "a@example.com@evil.example"}},
		{"a.b@example.com", []string{"a.b@example.com", `"a.b"@example.com`}, []string{"axb@example.com", "ab@example.com"}},
		{`"a@evil.example"@example.com`, []string{`"a@evil.example"@example.com`, `"A\@evil.example"@EXAMPLE.com`}, []string{"a@evil.example", "a@example.com"}},
		{"*@example.com",
			[]string{"a@example.com", `"x y"@Example.COM`, `"a@b"@example.com`, "ü@example.com"},
			[]string{"", "a@sub.example.com", "a@badexample.com", "a@example.com.evil.example", "example.com", "a@[example.com]"}},
		{"*@*.example.com",
			[]string{"a@sub.example.com", "a@x.y.EXAMPLE.com", "a@xn--bcher-kva.example.com", "a@bücher.example.com"},
			[]string{"", "a@example.com", "a@badexample.com", "a@.example.com", "a@x..example.com", "a@sub.example.com.evil"}},
		{"root@*", []string{"root@a", "ROOT@x.y", `"root"@[192.0.2.1]`}, []string{"", "root", "toor@a", "root+x@a", "root@\u212aelvin"}},
		{"*@bücher.example",
			[]string{"a@bücher.example", "a@BÜCHER.example", "a@xn--bcher-kva.example", "a@XN--Bcher-KVA.example", "a@bu\u0308cher.example"},
			[]string{"a@bucher.example", "a@xn--bucher.example", "a@b\u00fb\u0308cher.example"}},
		{"*@xn--bcher-kva.example", []string{"a@bücher.example", "a@xn--bcher-kva.example"}, []string{"a@bucher.example"}},
		{"*@kelvin.example", []string{"a@KELVIN.example"}, []string{"a@\u212aelvin.example", "a@kelv\u0130n.example", "a@kelvın.example"}},
		{"Ü@example.com", []string{"Ü@example.com"}, []string{"ü@example.com", "U\u0308@example.com", "u@example.com"}},
		{"*@[192.0.2.1]", []string{"a@[192.0.2.1]"}, []string{"a@192.0.2.1", "a@[192.0.2.11]"}},
		{"a@[tag:x@y]", []string{"a@[tag:x@y]", "A@[TAG:X@Y]"}, []string{"a@y]", "a@[tag:x]"}},
	} {
		tab := table(t, config.Route{From: []string{c.pattern}})
		check := func(address string, want bool) {
			if got := tab.Recipient(Query{From: address, To: "x@y"}).Matched; got != want {
				t.Errorf("%s and %q: %v, want %v", c.pattern, address, got, want)
			}
			if got := tab.Sender(Query{From: address}); got != want {
				t.Errorf("%s at MAIL and %q: %v, want %v", c.pattern, address, got, want)
			}
		}
		for _, address := range c.yes {
			check(address, true)
		}
		for _, address := range c.no {
			check(address, false)
		}
	}
}

func TestRecipient(t *testing.T) {
	tab := table(t,
		config.Route{Name: "one", From: []string{"billing@example.com"}, To: []string{"*@partner.example"}},
		config.Route{Name: "two", User: []string{"app1"}, Listener: []string{"site"}},
		config.Route{Name: "three", UnixUser: []string{"*"}, From: []string{"*@local.example"}},
		config.Route{Name: "four", To: []string{"postmaster@*"}},
		config.Route{Name: "five", User: []string{"*"}},
		config.Route{Name: "six", From: []string{"*@example.com", "<>"}},
	)
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{From: "billing@example.com", To: "a@partner.example"}, "one"},
		{Query{From: "billing@example.com", To: "a@other.example"}, "six"},
		{Query{From: "x@y", To: "a@partner.example"}, ""},
		{Query{From: "x@y", To: "a@b", User: "app1", Listener: "site"}, "two"},
		{Query{From: "x@y", To: "a@b", User: "app1", Listener: "other"}, "five"},
		{Query{From: "x@y", To: "a@b", User: "APP1", Listener: "site"}, "five"}, // user names are exact
		{Query{From: "x@local.example", To: "a@b", UnixUser: "www-data"}, "three"},
		{Query{From: "x@local.example", To: "a@b"}, ""},
		{Query{From: "x@y", To: "Postmaster@b"}, "four"},
		{Query{From: "x@y", To: "Postmaster"}, ""}, // no domain: "*" alone
		{Query{From: "", To: "a@b"}, "six"},
		{Query{From: "a@b", To: "a@b"}, ""},
	} {
		got := tab.Recipient(c.q)
		if got.Route != c.want || got.Matched != (c.want != "") || got.NeedsHeader || (len(got.Upstreams) == 1) != got.Matched {
			t.Errorf("%+v: %+v, want %q", c.q, got, c.want)
		}
	}
	if len(tab.Fields()) > 0 {
		t.Error("no route asks for the header")
	}
}

func TestSenderIgnoresRecipientAndHeader(t *testing.T) {
	tab := table(t,
		config.Route{From: []string{"a@example.com"}, To: []string{"x@y"}},
		config.Route{From: []string{"b@example.com"}, Header: map[string][]string{"X-Class": {"bulk"}}},
		config.Route{To: []string{"only@this"}, User: []string{"app"}},
	)
	for _, c := range []struct {
		q    Query
		want bool
	}{
		{Query{From: "a@example.com"}, true},
		{Query{From: "a@example.com", To: "z@z"}, true},
		{Query{From: "b@example.com"}, true},
		{Query{From: "c@example.com"}, false},
		{Query{From: "c@example.com", User: "app"}, true},
		{Query{From: "c@example.com", User: "other"}, false},
		{Query{}, false},
	} {
		if got := tab.Sender(c.q); got != c.want {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
}

func TestHeader(t *testing.T) {
	tab := table(t,
		config.Route{Name: "first", From: []string{"vip@example.com"}},
		config.Route{Name: "bulk", Header: map[string][]string{"x-class": {"bulk", "list*"}, "List-Id": {"*"}}, From: []string{"*@example.com"}},
		config.Route{Name: "rest", From: []string{"*@example.com"}},
	)
	header := func(pairs ...string) textproto.MIMEHeader {
		h := textproto.MIMEHeader{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	for _, c := range []struct {
		from   string
		header textproto.MIMEHeader
		want   string
	}{
		{"vip@example.com", nil, "first"},
		{"a@example.com", nil, "?"},
		{"a@other.example", nil, ""},
		{"a@example.com", header(), "rest"},
		{"a@example.com", header("X-Class", " BULK "), "rest"}, // one field of two
		{"a@example.com", header("X-Class", " BULK ", "List-Id", ""), "bulk"},
		{"a@example.com", header("X-Class", "no", "X-Class", "listing", "List-Id", "x"), "bulk"},
	} {
		got := tab.Recipient(Query{From: c.from, To: "x@y", Header: c.header})
		want := Decision{Route: c.want, Matched: c.want != ""}
		if c.want == "?" {
			want = Decision{NeedsHeader: true}
		}
		if got.Route != want.Route || got.Matched != want.Matched || got.NeedsHeader != want.NeedsHeader {
			t.Errorf("%s %v: %+v, want %+v", c.from, c.header, got, want)
		}
	}
	if len(tab.Fields()) == 0 {
		t.Error("a route asks for the header")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"*", "", true}, {"*", "x", true}, {"", "", true}, {"a", "", false}, {"a", "A", true}, {"a", " a\t", true},
		{"a*", "abc", true}, {"*c", "abc", true}, {"*b*", "abc", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false},
		{"*a*b*", "xxaxxbxx", true}, {"*a*b*", "xxbxxaxx", false}, {"a**c", "ac", true}, {"ab", "a", false}, {"a?", "ab", false},
		{"*aaab", strings.Repeat("a", 1000), false}, {"[a]", "a", false}, {"ü*", "über", true}, {"Ü", "ü", false},
	} {
		if got := glob(c.pattern, c.value); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.value, got)
		}
	}
}

// A header written to be slow is not.
func BenchmarkGlobHostile(b *testing.B) {
	value := strings.Repeat("a", 1000)
	for b.Loop() {
		glob("*a*a*a*a*a*b", value)
	}
}

func TestNewRefusesBadPatterns(t *testing.T) {
	for _, r := range []config.Route{{Name: "r", From: []string{"example.com"}}, {Name: "r", To: []string{"*@*"}}} {
		if _, err := New([]config.Route{r}); err == nil || !strings.HasPrefix(err.Error(), "r: pattern ") {
			t.Errorf("error %v", err)
		}
	}
}

// A table keeps what it was made of, whatever happens to that afterwards.
func TestTableIsImmutable(t *testing.T) {
	routes := []config.Route{{From: []string{"a@b"}, Upstream: []string{"one"}, Header: map[string][]string{"X": {"1"}}}}
	tab := table(t, routes...)
	routes[0].Upstream[0], routes[0].Header["X"][0], routes[0].From[0] = "two", "2", "c@d"
	got := tab.Recipient(Query{From: "a@b", To: "x@y", Header: textproto.MIMEHeader{"X": {"1"}}})
	if !got.Matched || !slices.Equal(got.Upstreams, []string{"one"}) {
		t.Errorf("%+v", got)
	}
}
