package route

import (
	"fmt"
	"testing"

	"postern/config"
)

// thousand is a table with a thousand senders, as a site with a route for
// each application has it, and a catch-all at its end.
func thousand(b testing.TB) *Table {
	routes := make([]config.Route, 1000)
	for i := range routes {
		switch i % 4 {
		case 0:
			routes[i].From = []string{fmt.Sprintf("app%d@example.com", i)}
		case 1:
			routes[i].From = []string{fmt.Sprintf("*@dept%d.example.com", i), fmt.Sprintf("*@*.dept%d.example.com", i)}
		case 2:
			routes[i].To = []string{fmt.Sprintf("*@partner%d.example", i)}
		case 3:
			routes[i].User = []string{fmt.Sprintf("user%d", i)}
		}
	}
	return table(b, append(routes, config.Route{From: []string{"*"}})...)
}

func BenchmarkRecipient(b *testing.B) {
	tab := thousand(b)
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"address", Query{From: "App500@Example.com", To: "someone@elsewhere.example"}},
		{"domain", Query{From: "x@dept501.example.com", To: "someone@elsewhere.example"}},
		{"subdomain", Query{From: "x@a.b.dept501.example.com", To: "someone@elsewhere.example"}},
		{"recipient", Query{From: "x@y", To: "someone@partner502.example"}},
		{"user", Query{From: "x@y", To: "someone@elsewhere.example", User: "user503"}},
		{"last", Query{From: "x@y", To: "someone@elsewhere.example"}},
		{"idn", Query{From: "x@bücher.example", To: "someone@elsewhere.example"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !tab.Recipient(c.q).Matched {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkSender(b *testing.B) {
	tab := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		if !tab.Sender(Query{From: "x@dept501.example.com"}) {
			b.Fatal("no match")
		}
	}
}

// Explain tries each route, as a table without an index would.
func BenchmarkExplain(b *testing.B) {
	tab := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		tab.Explain(Query{From: "x@y", To: "someone@elsewhere.example"})
	}
}

// The same without an index and without an explanation.
func BenchmarkLinear(b *testing.B) {
	tab := thousand(b)
	q := Query{From: "x@y", To: "someone@elsewhere.example"}
	b.ReportAllocs()
	for b.Loop() {
		var fromStorage, toStorage [addressBytes]byte
		from, to := newAddress(fromStorage[:0], q.From), newAddress(toStorage[:0], q.To)
		for i := range tab.rules {
			if r := &tab.rules[i]; r.admits(&q, &from) && r.to.matches(&to) {
				break
			}
		}
	}
}

func BenchmarkNew(b *testing.B) {
	routes := make([]config.Route, 1000)
	for i := range routes {
		routes[i] = config.Route{From: []string{fmt.Sprintf("app%d@example.com", i)}, Upstream: []string{"x"}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(routes); err != nil {
			b.Fatal(err)
		}
	}
}

// Deciding about ordinary addresses costs no memory.
func TestNoAllocations(t *testing.T) {
	tab := thousand(t)
	q := Query{From: "App500@Example.com", To: `"some one"@partner502.example`, User: "user503"}
	if n := testing.AllocsPerRun(100, func() { tab.Recipient(q); tab.Sender(q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
