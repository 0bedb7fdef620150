//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// team is a harness with one book, in its folder book.
func team(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n")
	h.must("book", "add", "--name", "Alice Liddell", "--email", "alice@example.com", "--group", "Field sales", "--nickname", "Ali")
	return h
}

// What khard reads and writes, postern does, in the same folder and the same
// cards.
func TestKhardSharesTheFolder(t *testing.T) {
	khard := needed(t, "khard")
	h := team(t)
	config := filepath.Join(h.dir, "khard.conf")
	text := "[addressbooks]\n[[team]]\npath = " + filepath.Join(h.dir, "book") + "\n[vcard]\npreferred_version = 3.0\nprivate_objects = Jabber,\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command(khard, slices.Concat([]string{"-c", config}, args)...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "HOME="+h.dir, "XDG_CONFIG_HOME="+h.dir, "LC_ALL=C.UTF-8", "EDITOR=true")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("khard %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := run("", "email", "--parsable", "liddell"); !strings.Contains(out, "alice@example.com\tAlice Liddell") {
		t.Errorf("khard reads\n%s", out)
	}
	run("First name: Bob\nLast name: Müller\nEmail:\n    work: bob@example.com\nCategories: Field sales\nPrivate:\n    Jabber: bob@jabber.example\n", "new", "-a", "team")
	if out := h.must("book", "expand", "group:Field sales"); !strings.Contains(out, "bob@example.com    Bob Müller") || !strings.Contains(out, "alice@example.com") {
		t.Errorf("postern reads\n%s", out)
	}
	h.must("book", "group", "add", "Other", "bob@example.com")
	if out := run("", "show", "Bob"); !strings.Contains(out, "Other") || !strings.Contains(out, "bob@jabber.example") {
		t.Errorf("khard reads of what postern has changed\n%s", out)
	}
	if out := h.must("book", "test"); !strings.Contains(out, "team  vcards    2        2       0") {
		t.Errorf("faults:\n%s", out)
	}
}

// vdirsyncer carries cards of the folder into another one and back.
func TestVdirsyncerSharesTheFolder(t *testing.T) {
	vdirsyncer := needed(t, "vdirsyncer")
	h := team(t)
	config := filepath.Join(h.dir, "vdirsyncer.conf")
	text := "[general]\nstatus_path = \"DIR/status\"\n[pair p]\na = \"a\"\nb = \"b\"\ncollections = null\n" +
		"[storage a]\ntype = \"filesystem\"\npath = \"DIR/book\"\nfileext = \".vcf\"\n[storage b]\ntype = \"filesystem\"\npath = \"DIR/other\"\nfileext = \".vcf\"\n"
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", h.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(h.dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(vdirsyncer, slices.Concat([]string{"-c", config}, args)...)
		cmd.Env = append(os.Environ(), "HOME="+h.dir, "LC_ALL=C.UTF-8")
		cmd.Stdin = strings.NewReader("y\ny\ny\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("vdirsyncer %q: %v\n%s", args, err, out)
		}
	}
	run("discover")
	run("sync")
	files, err := filepath.Glob(filepath.Join(other, "*.vcf"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the other side has %q %v", files, err)
	}
	card, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(card), "FN:Alice Liddell") {
		t.Fatalf("%s %v", card, err)
	}
	if err := os.WriteFile(files[0], []byte(strings.Replace(string(card), "Liddell", "Pleasance", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "bob.vcf"), []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nEMAIL:bob@example.com\r\nEND:VCARD\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("sync")
	if out := h.must("book", "find", "b"); !strings.Contains(out, "Alice Pleasance  alice@example.com  team") && !strings.Contains(out, "Bob") {
		t.Errorf("postern reads\n%s", out)
	}
	h.must("book", "add", "--book", "team", "--name", "Carol", "--email", "carol@example.com")
	run("sync")
	if files, _ := filepath.Glob(filepath.Join(other, "*.vcf")); len(files) != 3 {
		t.Errorf("the other side has %q", files)
	}
}

// The Tab key offers who is in the books.
func TestNamesAreCompleted(t *testing.T) {
	h := team(t)
	h.must("book", "group", "add", "Ops", "x@example.net")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "--to", "al"}, "Ali|Alice Liddell|alice@example.com"},
		{[]string{"send", "--cc", "group:"}, "group:Field sales|group:Ops"},
		{[]string{"send", "--bcc", "fie"}, "group:Field sales"},
		{[]string{"send", "--bcc", "group:o"}, "group:Ops"},
		{[]string{"book", "show", "al"}, "Alice Liddell|alice@example.com"},
		{[]string{"book", "expand", "op"}, "group:Ops"},
		{[]string{"send", "--to", "zz"}, ""},
	} {
		r := perform(t, "", slices.Concat([]string{"__complete", "--config", h.config}, c.args)...)
		var offered []string
		for line := range strings.SplitSeq(r.stdout, "\n") {
			if line != "" && !strings.HasPrefix(line, ":") {
				offered = append(offered, line)
			}
		}
		if got := strings.Join(offered, "|"); got != c.want {
			t.Errorf("%q offers %q, want %q\n%s", c.args, got, c.want, r.stderr)
		}
	}
}
