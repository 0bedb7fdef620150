//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bookPage are the commands of docs/books.md in their order, each with what it
// says; "-" is for those that another test runs, since they need a server or a
// user of the machine.
var bookPage = []struct{ command, says string }{
	{"postern book add --name 'Alice Liddell' --email alice@example.com --group Sales", ""},
	{"postern send --from me@example.com --to Alice --cc group:Sales --subject Hello --body 'See you.'", ""},
	{"postern explain --from cron@example.com --to sales", "sales is group:Sales, book:team/Alice Liddell (alias of [submission])\ngroup:Sales is alice@example.com, bob@example.com (group Sales in the book team)\n"},
	{"postern book define firm --provider csv --file /srv/share/people.csv", "firm"},
	{"postern book define cloud --provider carddav --url https://cloud.example.com --username alice", "-"},
	{"postern book redefine firm --charset iso-8859-15", "firm"},
	{"postern book undefine firm", "firm"},
	{"postern book import --dry-run outlook.csv", "Dora"},
	{"postern book import outlook.csv", "1 new, 0 changed, 0 the same, 0 faults\n"},
	{"pst2ldif -b dc=outlook -c inetOrgPerson mail.pst | postern book import --dry-run --format ldif -", "-"},
	{"postern book test gal", "-"},
	{"postern book find number12 --book gal", "-"},
	{"postern send --from me@example.com --to 'group:Field sales' --subject Hello --body 'See you.'", ""},
	{"postern book test cloud", "-"},
	{"postern send --from me@example.com --to 'group:Field sales' --subject Hello --body 'See you.'", ""},
	{"postern book test m365", "-"},
	{"postern book find alice", "alice@example.com"},
	{"postern send --from me@example.com --to group:Sales --subject Hello --body 'See you.'", ""},
	{"postern book test outlook", "-"},
	{"postern book find alice", "alice@example.com"},
	{"postern book test contacts", "-"}, // as TestContactsByDavMail does
	{"postern send --from me@example.com --to 'group:Tea Party' --subject Hello --body 'See you.'", "-"},
	{"postern book find --format abook alice", "\nalice@example.com\tAlice Liddell\tSales\n"},
}

var pageCommand = regexp.MustCompile(`(?m)^    (?:\$ )?((?:postern|pst2ldif) [^\n]*?)(?: +#.*)?$`)

// Each command of docs/books.md runs as it is printed, one after the other, and the
// refusal that it shows is the one that comes.
func TestPageOfBooks(t *testing.T) {
	page, err := os.ReadFile("../../docs/books.md")
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, m := range pageCommand.FindAllStringSubmatch(string(page), -1) {
		printed = append(printed, m[1])
	}
	var known []string
	for _, one := range bookPage {
		known = append(known, one.command)
	}
	if got, want := strings.Join(printed, "\n"), strings.Join(known, "\n"); got != want {
		t.Fatalf("the page has\n%s\nand this test\n%s", got, want)
	}
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+`[submission]
domain = "example.com"
alias = { root = ["ops@example.com"], sales = ["group:Sales", "book:team/Alice Liddell"] }
[book.team]
provider = "vcards"
dir = "DIR/book"
`)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"people.csv":  "name;email\nZoë;zoe@example.com\n",
		"outlook.csv": "First Name,Last Name,E-mail Address\nDora,Day,dora@example.com\n",
		"postern":     "#!/bin/sh\nexec " + program + " \"$@\" --config " + h.config + "\n",
	} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(line string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(line, "/srv/share", h.dir))
		cmd.Dir, cmd.Env = h.dir, append(os.Environ(), "PATH="+h.dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	for _, who := range [][]string{{"Bob Brown", "bob", "Sales", "Field sales"}, {"Alan Turing", "alan"}} { // who else is in the examples
		args := []string{"book", "add", "--name", who[0], "--email", who[1] + "@example.com"}
		for _, group := range who[2:] {
			args = append(args, "--group", group)
		}
		h.must(args...)
	}
	for i, one := range bookPage {
		if one.says == "-" {
			continue
		}
		if code, said := run(one.command); code != exitOK || !strings.Contains(said, one.says) {
			t.Errorf("%s: %d %s", one.command, code, said)
		}
		if i == 0 {
			h.start() // and knows the card that was added
		}
	}
	code, said := run("postern send --from me@example.com --to Al --subject Hello --body 'See you.'")
	shown := strings.ReplaceAll(indented(string(page), `--to: Al: "Al" may be`), "local", "team")
	turned := strings.NewReplacer("Alice Liddell", "Alan Turing", "alice@", "alan@", "Alan Turing", "Alice Liddell", "alan@", "alice@").Replace(shown) // cards have no order
	if code != exitNoUser || said != shown && said != turned {
		t.Errorf("%d %q, the page shows %q", code, said, shown)
	}
	all := strings.Join(h.captured(4), "")
	for want, n := range map[string]int{"Delivered-To: alice@example.com\r\n": 2, "Delivered-To: bob@example.com\r\n": 4} {
		if got := strings.Count(all, want); got != n {
			t.Errorf("%d times %q, want %d", got, want, n)
		}
	}
}

// indented is the block of a page that begins with a text.
func indented(page, begins string) string {
	_, rest, _ := strings.Cut(page, "\n    "+begins)
	block := begins
	for line := range strings.Lines(rest) {
		text, ok := strings.CutPrefix(line, "    ")
		if block != begins && !ok {
			break
		}
		if block == begins {
			text = line
		}
		block += text
	}
	return block
}
