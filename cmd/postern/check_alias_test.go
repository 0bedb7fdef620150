//go:build unix

package main

import (
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Aliases that lead to a book, a group or a person that is not there are named by
// check with their line, and by whoever uses them with what is missing. What only
// a directory can tell is no warning.
func TestAliasesThatLeadNowhere(t *testing.T) {
	addr := freeAddr(t)
	h := newHarness(t, strings.Replace(capturing, "ADDR", addr, 1)+`[submission]
domain = "example.com"
aliases = "DIR/aliases"
[submission.alias]
good = ["group:Sales", "book:team/Alice Liddell", "book:team/AC/DC"]
ghost = [
	"group:gost/Sales",
	"book:tem/Alice Liddell",
]
nobody = ["group:Sals", "book:gal/Whoever"]
twin = ["book:Twin"]
[send]
books = ["team", "gal"]
[book.team]
provider = "vcards"
dir = "DIR/book"
[book.gal]
provider = "ldap"
url = "ldap://127.0.0.1:1"
tls = "off"
base = "dc=x"
auth = "anonymous"
`)
	for _, who := range [][2]string{{"Alice Liddell", "alice"}, {"AC/DC", "acdc"}, {"Twin", "t1"}, {"Twin", "t2"}} {
		h.must("book", "add", "--name", who[0], "--email", who[1]+"@example.org", "--group", "Sales")
	}
	list := "team: bob@example.org,\n  group:Sales,\n  \"group:SECRETWORD/Sales\"\nothers: :include:" + filepath.Join(h.dir, "list") + "\n"
	for name, text := range map[string]string{"aliases": list, "list": "# who\nbook:team/SECRETWORD\nbook:Twin\n"} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := h.do("check")
	said := strings.NewReplacer(h.dir+"/", "", "t2@", "t1@").Replace(r.stderr) // the twins come in any order
	var got []string
	for line := range strings.Lines(said) {
		if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "warning: postern.toml:"); ok && strings.Contains(line, "submission.") {
			_, text, _ = strings.Cut(text, ": submission.")
			got = append(got, text)
		}
	}
	want := `alias.ghost[0]: "group:gost/Sales" leads to nobody: no book "gost", so that gal is asked for "gost/Sales"
alias.ghost[1]: "book:tem/Alice Liddell" leads to nobody: no book "tem", so that gal is asked for "tem/Alice Liddell" (did you mean "book:team/Alice Liddell"?)
alias.twin[0]: "book:Twin" leads to nobody: "Twin" may be Twin <t1@example.org> (team) or Twin <t1@example.org> (team) (write the address)
aliases: aliases:3: this names a book that is not there (books are team, gal)
aliases: list:2: this leads to nobody that an address book knows
aliases: list:3: what this leads to may be more than one person (write the address)`
	if r.code != exitOK || strings.Join(got, "\n") != want || strings.Contains(r.stderr, "SECRETWORD") {
		t.Errorf("%d\n%s", r.code, r.stderr)
	}
	text, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), `"group:gost`)
	if at := fmt.Sprintf("postern.toml:%d: submission.alias.ghost[0]", 1+strings.Count(before, "\n")); !strings.Contains(said, at) {
		t.Errorf("not at %s\n%s", at, said)
	}

	h.start()
	answer := func(who string) string {
		var refused *textproto.Error
		if errors.As(smtp.SendMail(addr, nil, "ops@example.com", []string{who}, []byte("Subject: x\r\n\r\nhi\r\n")), &refused) {
			return fmt.Sprint(refused.Code, " ", refused.Msg)
		}
		return "taken"
	}
	for who, want := range map[string]string{
		"ghost@localhost": `451 4\.4\.3 `, "good": "^taken$", "twin": `^553 5\.1\.4 "Twin" may be Twin`,
		`"book:team/Nobody"`: `^550 5\.1\.1 nobody of that name in team$`,
	} {
		if got := answer(who); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: %s, want %s", who, got, want)
		}
	}
	h.write(strings.NewReplacer(`books = ["team", "gal"]`, `books = ["team"]`).Replace(string(text)))
	if r := h.do("reload"); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	if got, want := answer("ghost"), `550 5.1.1 no such group in team, and no book "gost"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
