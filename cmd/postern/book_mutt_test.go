//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutt asks the books by the line of docs/books.md, whatever is typed: it quotes
// the text itself, and with quotes around it the shell would carry it out.
func TestQueryOfMutt(t *testing.T) {
	mutt, script := needed(t, "mutt"), needed(t, "script")
	doc, err := os.ReadFile("../../docs/books.md")
	if err != nil {
		t.Fatal(err)
	}
	query := regexp.MustCompile(`(?m)^ +(set query_command = ".*")`).FindSubmatch(doc)
	if query == nil {
		t.Fatal("docs/books.md has no line for mutt")
	}
	h := team(t)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(h.dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("postern", "#!/bin/sh\nfor last; do :; done\nprintf %s \"$last\" >>asked\nshift 2\n"+program+" book find --config "+h.config+" \"$@\" >answered; tail -n +1 answered\n", 0o700)
	write("mbox", "", 0o600)
	for _, text := range []string{"lidd ali", "--help", "$(touch carried-out)';touch carried-out"} {
		os.Remove(filepath.Join(h.dir, "asked"))
		rc := write("muttrc", string(query[1])+"\nset folder=. spoolfile=mbox wait_key=no sleep_time=0\npush \"Q"+strings.NewReplacer("$", `\$`, "`", "").Replace(text)+"<enter>qqx\"\n", 0o600)
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		cmd := exec.CommandContext(ctx, script, "-qec", mutt+" -n -F "+rc+" -f mbox", "/dev/null")
		cmd.Dir, cmd.Env = h.dir, append(os.Environ(), "PATH="+h.dir+":"+os.Getenv("PATH"), "TERM=xterm", "HOME="+h.dir)
		out, err := cmd.CombinedOutput()
		cancel()
		if asked, _ := os.ReadFile(filepath.Join(h.dir, "asked")); string(asked) != text {
			t.Errorf("asked for %q, want %q (%v)\n%q", asked, text, err, out)
		}
		answered, _ := os.ReadFile(filepath.Join(h.dir, "answered"))
		if found := strings.Contains(string(answered), "alice@example.com\tAlice Liddell"); found != (text == "lidd ali") {
			t.Errorf("%q: answered %q", text, answered)
		}
	}
	if _, err := os.Stat(filepath.Join(h.dir, "carried-out")); err == nil {
		t.Error("what was typed was carried out")
	}
}

// What is printed for abook's query is what abook itself prints for the same cards:
// an empty line, then address, name and a note on each.
func TestQueryAsOfAbook(t *testing.T) {
	abook := needed(t, "abook")
	h := team(t)
	h.must("book", "add", "--name", "Bob \"Builder\" O'Brien", "--email", "bob@example.com", "--email", "second@example.com")
	file, cards := filepath.Join(h.dir, "addressbook"), filepath.Join(h.dir, "cards.vcf")
	if err := os.WriteFile(cards, []byte(h.must("book", "export", "--format", "vcard")), 0o600); err != nil {
		t.Fatal(err)
	}
	own := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command(abook, args...)
		cmd.Env = append(os.Environ(), "HOME="+h.dir, "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := own("--convert", "--informat", "vcard", "--infile", cards, "--outformat", "abook", "--outfile", file); code != 0 {
		t.Fatal(out)
	}
	for _, text := range []string{"liddell", "bob", "example.com"} {
		want, code := own("--datafile", file, "--mutt-query", text)
		got := h.must("book", "find", "--format", "abook", text)
		plain := func(s string) string { // but for the notes, which for us are groups
			lines := strings.Split(regexp.MustCompile(`(?m)(\t[^\t\n]*\t)[^\t\n]*$`).ReplaceAllString(s, "$1"), "\n")
			slices.Sort(lines[1:])
			return strings.Join(lines, "\n")
		}
		if code != 0 || plain(got) != plain(want) {
			t.Errorf("%s: %q, abook prints %q (%d)", text, got, want, code)
		}
	}
	_, code := own("--datafile", file, "--mutt-query", "nobody")
	if r := h.do("book", "find", "--format", "abook", "nobody"); (r.code != 0) != (code != 0) || strings.Count(r.stdout, "\n") > 1 {
		t.Errorf("nobody: %+v, abook ends with %d", r, code)
	}
}
