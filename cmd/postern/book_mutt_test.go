//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
