package route

import (
	"encoding/json"
	"flag"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"postern/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What postern explain prints, for each kind of answer.
func TestExplain(t *testing.T) {
	tab := table(t,
		config.Route{Name: "billing", Line: 12, From: []string{"billing@example.com", "*@reports.example.com"}, To: []string{"*@partner.example"}, Upstream: []string{"office", "backup"}},
		config.Route{Name: "apps", Line: 17, User: []string{"app1", "app2"}, Listener: []string{"site"}, UnixUser: []string{"*"}, Upstream: []string{"office"}},
		config.Route{Name: "bulk", Line: 22, From: []string{"*@example.com"}, Header: map[string][]string{"X-Class": {"bulk", "list*"}, "List-Id": {"*"}}, Upstream: []string{"bulk"}},
		config.Route{Name: "many", Line: 27, From: strings.Fields("a@x b@x c@x d@x e@x f@x g@x h@x i@x j@x"), Upstream: []string{"office"}},
		config.Route{Name: "root", Line: 31, From: []string{"root@*", "<>"}, Upstream: []string{"office"}},
	)
	bulk := textproto.MIMEHeader{"X-Class": {"no", "listing"}, "List-Id": {"<x.example.com>"}}
	var b strings.Builder
	for _, c := range []struct {
		about string
		q     Query
	}{
		{"the first route matches", Query{From: "Billing@Example.com", To: "bob@partner.example"}},
		{"the recipient is not given", Query{From: "billing@example.com"}},
		{"the header is not known", Query{From: "shop@example.com", To: "bob@other.example"}},
		{"the header matches", Query{From: "shop@example.com", To: "bob@other.example", Header: bulk}},
		{"the header does not match", Query{From: "shop@example.com", To: "bob@other.example", Header: textproto.MIMEHeader{"X-Class": {"x"}}}},
		{"a signed-in user", Query{From: "x@y", To: "bob@other.example", User: "app2", Listener: "site", UnixUser: "www-data"}},
		{"the wrong listener and user", Query{From: "x@y", To: "bob@other.example", User: "app3", Listener: "local"}},
		{"the null sender", Query{To: "bob@other.example"}},
		{"an address that is none", Query{From: "billing", To: "bob@other.example"}},
		{"a look-alike and control characters", Query{From: "billing@e\u0445ample.com\x1b[2J\r\n", To: "bob\x00@other.example"}},
	} {
		b.WriteString("# " + c.about + "\n" + tab.Explain(c.q).String() + "\n")
	}
	golden(t, "testdata/explain.txt", b.String())

	asJSON, err := json.MarshalIndent(tab.Explain(Query{From: "shop@example.com", To: "bob@other.example", Header: bulk}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/explain.json", string(asJSON)+"\n")
	empty, err := json.Marshal(table(t).Explain(Query{}))
	if want := `{"from":"","decision":{"matched":false},"tried":[]}`; string(empty) != want || err != nil {
		t.Errorf("an empty table: %s, %v; want %s", empty, err, want)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs.\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}
