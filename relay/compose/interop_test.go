package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Mail programs are not at hand, but the parsers that many are built on are:
// Python's email package by both of its policies, and two of npm, in the folder
// that POSTERN_MAIL_PARSERS names (npm install mailparser@3.14.2
// postal-mime@4.0.0).

type parser struct {
	name string
	args []string
}

func parsers(t *testing.T) (there []parser) {
	missing := func(what string) {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal(what)
		}
		t.Log(what)
	}
	if python, err := exec.LookPath("python3"); err != nil {
		missing("there is no python3")
	} else {
		for _, policy := range []string{"compat32", "default"} {
			there = append(there, parser{"Python, policy " + policy, []string{python, "testdata/interop/read.py", policy}})
		}
	}
	node, err := exec.LookPath("node")
	dir := os.Getenv("POSTERN_MAIL_PARSERS")
	switch _, found := os.Stat(filepath.Join(dir, "node_modules")); {
	case err != nil:
		missing("there is no node")
	case dir == "" || found != nil:
		missing("POSTERN_MAIL_PARSERS names no folder with mailparser and postal-mime")
	default:
		for _, name := range []string{"mailparser", "postal-mime"} {
			there = append(there, parser{name, []string{node, "testdata/interop/read.mjs", name}})
		}
	}
	if len(there) == 0 {
		t.Skip("no parser is here")
	}
	return there
}

func TestInterop(t *testing.T) {
	list := samples()
	n := 20
	if os.Getenv("POSTERN_LONG") != "" {
		n = 1000
	}
	nasty := rapid.Custom(nastyMessage)
	for i := range n {
		list = append(list, sample{fmt.Sprintf("nasty-%d", i), nasty.Example(i)})
	}
	dir := t.TempDir()
	files := make([]string, len(list))
	for i, s := range list {
		files[i] = filepath.Join(dir, s.name+".eml")
		msg := compose(t, s.Message)
		wellFormed(t, msg)
		if err := os.WriteFile(files[i], msg, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range parsers(t) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for i, got := range p.read(t, files) {
				s := list[i]
				want := expected(t, s.Message)
				p.allow(&want, &got)
				t.Run(s.name, func(t *testing.T) { same(t, p.name, got, want) })
			}
		})
	}
}

func (p parser) read(t *testing.T, files []string) []reading {
	cmd := exec.CommandContext(t.Context(), p.args[0], append(p.args[1:], files...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	all := make([]reading, len(files))
	d := json.NewDecoder(bytes.NewReader(out))
	for i := range all {
		if err := d.Decode(&all[i]); err != nil {
			t.Fatalf("%s: %v after %d messages", p.name, err, i)
		}
	}
	return all
}

// allow levels what a parser changes for its own reasons.
func (p parser) allow(want, got *reading) {
	if strings.HasSuffix(p.args[1], ".mjs") { // fields that it doesn't know stay encoded
		got.Nasty = want.Nasty
	}
	switch p.name {
	case "postal-mime": // it counts the line end that belongs to the boundary
		for _, s := range []*string{&want.Text, &want.HTML, &got.Text, &got.HTML} {
			*s = strings.TrimRight(*s, "\n")
		}
	case "mailparser": // it shows domains in Unicode
		for _, list := range [][]person{got.From, got.To, got.Cc, got.ReplyTo} {
			for i := range list {
				list[i].Addr, _ = wireAddress(list[i].Addr)
			}
		}
	case "Python, policy default": // of names of several encoded-words it keeps the blanks between them
		for _, list := range [][]person{got.From, got.To, got.Cc, got.ReplyTo, want.From, want.To, want.Cc, want.ReplyTo} {
			for i := range list {
				list[i].Name = strings.ReplaceAll(list[i].Name, " ", "")
			}
		}
		got.Defects = slices.DeleteFunc(got.Defects, func(d string) bool { return strings.Contains(d, "NonASCIILocalPartDefect") }) // SMTPUTF8
	}
}
