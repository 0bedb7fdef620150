package naming

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// files is a configuration with an aliases file in a folder of its own.
func files(t *testing.T) (*config.Config, func(name, text string, age time.Duration)) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("files have modes here")
	}
	dir := t.TempDir()
	write := func(name, text string, age time.Duration) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return &config.Config{Submission: config.Submission{Domain: "example.com", Aliases: filepath.Join(dir, "aliases")}}, write
}

// The file, and what it includes, is read again when it has changed; what can't
// be used changes nothing, and is told once.
func TestReadAgain(t *testing.T) {
	cfg, write := files(t)
	write("aliases", "root: a@example.net\n", time.Hour)
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	expect := func(what, want, told string) {
		t.Helper()
		now = now.Add(2 * gap)
		text := ""
		if c := n.look(now); c != nil {
			text = "read"
			if c.Err != nil {
				text = c.Err.Error()
			}
			if c.File != cfg.Submission.Aliases || c.Names != 1 {
				t.Errorf("%s: %+v", what, c)
			}
		}
		x, _, _ := n.Expand(t.Context(), "root", 10)
		if got := strings.Join(x.Addresses, " "); got != want || (told == "") != (text == "") || !strings.Contains(text, told) {
			t.Errorf("%s: %q, told %q", what, got, text)
		}
	}
	expect("unchanged", "a@example.net", "")
	write("aliases", "root: b\n", 50*time.Minute)
	expect("changed", "b@example.com", "read")
	expect("read once", "b@example.com", "")
	write("aliases", "root: |c\n", 40*time.Minute)
	expect("bad", "b@example.com", "aliases:1: leads to a command")
	expect("told once", "b@example.com", "")
	write("aliases", "root: :include:DIR/list\n", 30*time.Minute)
	expect("a file that is missing", "b@example.com", "no such file")
	expect("still", "b@example.com", "")
	write("list", "d@example.net\n", 20*time.Minute)
	expect("a file that has come", "d@example.net", "read")
	write("list", "e@example.net\n", 10*time.Minute)
	expect("an included file that has changed", "e@example.net", "read")
	write("aliases", "", time.Since(now.Add(2*gap-gap/2))) // half a second ago: somebody is writing it
	expect("half written", "e@example.net", "")
	write("aliases", "root: f@example.net\n", time.Minute)
	expect("whole", "f@example.net", "read")
	os.Remove(cfg.Submission.Aliases)
	expect("gone", "f@example.net", "no such file")
	if err := os.Chmod(filepath.Dir(cfg.Submission.Aliases), 0o777); err != nil {
		t.Fatal(err)
	}
	write("aliases", "root: g@example.net\n", time.Minute)
	expect("in a folder of everybody's", "f@example.net", "can be exchanged")
}

// Files are looked at once a second, however much mail comes.
func TestLookedAtOnceASecond(t *testing.T) {
	cfg, write := files(t)
	write("aliases", "root: a@example.net\n", time.Hour)
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	n.look(now)
	write("aliases", "root: b@example.net\n", time.Minute)
	if n.look(now.Add(gap/2)) != nil {
		t.Error("looked at too early")
	}
	if n.look(now.Add(gap)) == nil {
		t.Error("not looked at")
	}
}

// Without anything about names nothing is looked up, and nothing allocated.
func TestNothingConfigured(t *testing.T) {
	n, err := New(&config.Config{})
	if n != nil || err != nil {
		t.Fatal(n, err)
	}
	cfg := &config.Config{Submission: config.Submission{Domain: "example.com", Alias: map[string][]string{"root": {"a"}}}}
	if n, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	for _, names := range []*Names{nil, n} {
		if a := testing.AllocsPerRun(100, func() {
			if names.Local("somebody@example.net") {
				t.Error("local")
			}
			if s, ok := names.Complete("somebody@example.net"); !ok || s != "somebody@example.net" {
				t.Error(s)
			}
		}); a != 0 {
			t.Errorf("%v allocations", a)
		}
	}
}

func TestComplete(t *testing.T) {
	n := &Names{domain: "example.com"}
	for address, want := range map[string]string{
		"": "", "root": "root@example.com", "a@b": "a@b", `"a@b"`: `"a@b"@example.com`, `"a b"@c`: `"a b"@c`, "a@[192.0.2.1]": "a@[192.0.2.1]", "ü": "ü@example.com",
	} {
		if got, ok := n.Complete(address); got != want || !ok {
			t.Errorf("%q: %q", address, got)
		}
	}
	var none *Names
	for address, want := range map[string]bool{"": true, "root": false, "a@b": true, `"a@b"`: false} {
		if got, ok := none.Complete(address); got != address || ok != want {
			t.Errorf("%q: %q %t", address, got, ok)
		}
	}
}
