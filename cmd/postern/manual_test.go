package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/cmd/sendmail"
	"postern/config"
)

// needed is the path of a program that a test is about; without it the test is
// skipped, in CI it fails.
func needed(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case os.Getenv("POSTERN_REQUIRE_INTEROP") != "":
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// manualPages has the pages written and returns their folder.
func manualPages(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "man")
	if r := perform(t, "", "man", dir, "--date", "2026-01-31"); r.code != exitOK {
		t.Fatal(r.stderr)
	}
	return dir
}

// Each command that the help shows has a page with each of its flags, and the
// page of the configuration has each key.
func TestManualIsWhole(t *testing.T) {
	dir := manualPages(t)
	plain := strings.NewReplacer(`\-`, "-", `\fB`, "", `\fP`, "", `\(dq`, `"`, `\(aq`, "'", "\n", " ")
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return plain.Replace(string(content))
	}
	pages := 1
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		pages++
		text := read(strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !c.DisableFlagParsing && !strings.Contains(text, "--"+f.Name) {
				t.Errorf("the page of %s lacks --%s", c.CommandPath(), f.Name)
			}
		})
		for _, inner := range c.Commands() {
			if inner.IsAvailableCommand() && inner.Name() != "help" && c.Name() != "completion" {
				visit(inner)
			}
		}
	}
	visit((&app{}).root())
	if files, err := os.ReadDir(dir); err != nil || len(files) != pages {
		t.Errorf("%d files, %d pages, %v", len(files), pages, err)
	}
	keys := read("postern.toml.5")
	for _, s := range config.Settings() {
		if !strings.Contains(keys, s.Help) {
			t.Errorf("postern.toml(5) lacks %s of %q", s.Name, s.Table)
		}
	}
	of := read("postern-sendmail.1")
	for _, o := range sendmail.Options {
		if !strings.Contains(of, o.Written) {
			t.Errorf("the page of sendmail lacks %s", o.Written)
		}
	}
}

// The tables of docs tell of the same options and codes as help and pages.
func TestManualAndDocs(t *testing.T) {
	content, err := os.ReadFile("../../docs/sendmail.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range sendmail.Options {
		for _, one := range strings.Split(o.Written, ", ") {
			one = strings.Replace(one, "...", "…", 1)
			if !strings.Contains(string(content), "`"+one+"`") {
				t.Errorf("docs/sendmail.md lacks %s", one)
			}
		}
	}
	if content, err = os.ReadFile("../../docs/administration.md"); err != nil {
		t.Fatal(err)
	}
	for _, e := range exits {
		if !strings.Contains(string(content), fmt.Sprintf("\n| %d | ", e.Code)) {
			t.Errorf("docs/administration.md lacks exit code %d", e.Code)
		}
	}
}

// Two formatters find nothing to say about any page.
func TestManualReads(t *testing.T) {
	mandoc, groff := needed(t, "mandoc"), needed(t, "groff")
	pages, err := filepath.Glob(filepath.Join(manualPages(t), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range [][]string{{mandoc, "-Tlint", "-Wstyle"}, {groff, "-ww", "-man", "-Tutf8", "-z"}, {groff, "-ww", "-man", "-Tascii", "-z"}} {
		if out, err := exec.Command(tool[0], slices.Concat(tool[1:], pages)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", tool, err, out)
		}
	}
}

func TestManualRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, lines := range map[int][][]string{
		exitUsage:      {{"man"}, {"man", "a", "b"}, {"man", file, "--date", "yesterday"}},
		exitCantCreate: {{"man", file}},
	} {
		for _, args := range lines {
			if r := perform(t, "", args...); r.code != want {
				t.Errorf("%v: exit %d, want %d; %s", args, r.code, want, r.stderr)
			}
		}
	}
}
