package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const furtherMain = "hostname = \"app1.example.com\"\n[upstream.office]\nhost = \"smtp.office.example\"\nport = 587\n[[route]]\nfrom = [\"a@example.com\"]\nupstream = [\"office\"]\n"

// further writes a configuration with files in its conf.d, and returns the path
// of the main one.
func further(t *testing.T, name, main string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "conf.d", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// Tables of conf.d come behind those of the main file, in lexical order of the
// files, and tables with names beside each other.
func TestFurtherFilesAreRead(t *testing.T) {
	path := further(t, "postern.toml", furtherMain, map[string]string{
		"20-b.toml":   "[[route]]\nname = \"b\"\nfrom = [\"*@b.example\"]\nupstream = [\"other\"]\n",
		"10-a.toml":   "[upstream.other]\nhost = \"smtp.other.example\"\nport = 587\n[upstream.office.oauth]\nprovider = \"google\"\nflow = \"device\"\nclient_id = \"x\"\n\n[[route]]\nname = \"a\"\nfrom = [\"*@a.example\"]\nupstream = [\"other\"]\n",
		"30-c.toml":   "[control]\nsocket = \"c.sock\"\n",
		"40.toml.bak": "nonsense",
		".50.toml":    "nonsense",
	})
	_, err := Load(path)
	if err == nil {
		t.Fatal("oauth without a username was accepted")
	}
	if want := "10-a.toml:4: upstream.office.oauth"; !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %q", err, want)
	}
	path = further(t, "postern.toml", furtherMain, map[string]string{
		"20-b.toml": "[[route]]\nname = \"b\"\nfrom = [\"*@b.example\"]\nupstream = [\"other\"]\n[[route]]\nname=\"never\"\nfrom=[\"*@a.example\"]\nupstream=[\"other\"]\n",
		"10-a.toml": "[upstream.other]\nhost = \"smtp.other.example\"\nport = 587\n\n[[route]]\nname = \"a\"\nfrom = [\"*@a.example\"]\nupstream = [\"other\"]\n",
		"30-c.toml": "[control]\nsocket = \"c.sock\"\n",
	})
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, r := range cfg.Routes {
		routes = append(routes, r.Name+" "+r.place())
	}
	if got, want := strings.Join(routes, ", "), "route 1 line 5, a line 5 of 10-a.toml, b line 1 of 20-b.toml, never line 5 of 20-b.toml"; got != want {
		t.Errorf("routes %s, want %s", got, want)
	}
	if len(cfg.Upstreams) != 2 || len(cfg.Files) != 4 || filepath.Base(cfg.Files[1]) != "10-a.toml" {
		t.Errorf("%d upstreams, files %v", len(cfg.Upstreams), cfg.Files)
	}
	// A relative path starts where the main file is, wherever it stands.
	if want := filepath.Join(filepath.Dir(path), "c.sock"); cfg.Control.Socket != want {
		t.Errorf("socket %s, want %s", cfg.Control.Socket, want)
	}
	if place, err := Locate(path); err != nil || place.Socket != cfg.Control.Socket {
		t.Errorf("Locate: %+v, %v", place, err)
	}
	warned := false
	for _, w := range cfg.Warnings {
		warned = warned || filepath.Base(w.File) == "20-b.toml" && w.Line == 5 && strings.Contains(w.Text, `"a" on line 5 of 10-a.toml`)
	}
	if !warned {
		t.Errorf("warnings %v", cfg.Warnings)
	}
}

// A key or table is in one file only; both places are told.
func TestFurtherFilesRepeatNothing(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"a key":             {"\nhostname = \"b\"\n", "x.toml:2: hostname: this key or table stands in DIR/postern.toml on line 1 already (keep one of them)"},
		"a named table":     {"[upstream.office]\nmax_age = \"5m\"\n", "x.toml:1: upstream.office: this key or table stands in DIR/postern.toml on line 2 already"},
		"a table":           {"[retry]\nlifetime = \"1d\"\n", "x.toml:1: retry: this key or table stands in DIR/conf.d/a.toml on line 1 already"},
		"an inline table":   {"retry = { lifetime = \"1d\" }\n", "x.toml:1: retry: this key or table"},
		"a dotted key":      {"retry.lifetime = \"1d\"\n", "x.toml:1: retry: this key or table"},
		"a list as a table": {"[route]\nname = \"x\"\n", "x.toml:1: route: this key or table"},
		"not TOML":          {"a = \n", "x.toml:1: this is not a value of TOML"},
		"an unknown key":    {"\n[upstream.b]\nhost = \"b.example\"\nhots = 1\n", "x.toml:4: upstream.b.hots: unknown key"},
	} {
		path := further(t, "postern.toml", furtherMain, map[string]string{"a.toml": "[retry]\nlifetime = \"2d\"\n", "x.toml": c.file})
		_, err := Load(path)
		want := strings.ReplaceAll(c.want, "DIR", filepath.Dir(path))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// A second configuration beside the first has no share in its files.
func TestFurtherFilesBelongToOneName(t *testing.T) {
	path := further(t, "lab.toml", furtherMain, map[string]string{"x.toml": "nonsense"})
	if cfg, err := Load(path); err != nil || len(cfg.Files) != 1 {
		t.Errorf("%v", err)
	}
}

// What everybody can write is refused, and so are folders and pipes, which are
// not waited for.
func TestFurtherFilesThatAreNone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are for Unix")
	}
	path := further(t, "postern.toml", furtherMain, map[string]string{"x.toml": "[log]\nlevel = \"warn\"\n"})
	x := filepath.Join(filepath.Dir(path), "conf.d", "x.toml")
	if err := os.Chmod(x, 0o606); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), x+": everybody on this machine can change it") {
		t.Errorf("writable by all: %v", err)
	}
	if err := os.Remove(x); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(x, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), x+": cannot be read: it is not a file") {
		t.Errorf("a folder: %v", err)
	}
	if err := os.Remove(x); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.CheckOwner(); err != nil {
		t.Skipf("the folder for tests is not this user's alone: %v", err)
	}
	// Whoever may put a file there has a say in the next reload.
	if err := os.Chmod(filepath.Dir(x), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := cfg.CheckOwner(); err == nil || !strings.Contains(err.Error(), "conf.d has mode 0777") {
		t.Errorf("a folder that everybody can write to: %v", err)
	}
}

// All files together have the bound of one.
func TestFurtherFilesHaveABound(t *testing.T) {
	long := "# " + strings.Repeat("x", 3<<20) + "\n"
	path := further(t, "postern.toml", furtherMain, map[string]string{"a.toml": long, "b.toml": long})
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "conf.d: holds more than 4MiB") {
		t.Errorf("%.300v", err)
	}
}
