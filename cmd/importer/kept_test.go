package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// replaced is the file that f makes in place of one that holds text.
func replaced(t *testing.T, f *Found, text string) (made, names string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := f.Keep(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Verify("postfix", "etc/postfix", path); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	return string(f.TOML("postfix", "etc/postfix", nil)), strings.Join(kept, ", ")
}

// here is the folder of this package.
var here, _ = os.Getwd()

func readFrom(t *testing.T, source, tree string) *Found {
	t.Helper()
	t.Chdir(filepath.Join(here, "testdata", source, tree))
	f, err := Read(source, settings[source])
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What the configuration of the package says of groups and sockets stays, with its
// comments, and again when it is imported once more.
func TestKeepOfThePackage(t *testing.T) {
	packaged, err := os.ReadFile(filepath.Join("..", "..", "packaging", "package", "postern.toml"))
	if err != nil {
		t.Fatal(err)
	}
	f := readFrom(t, "postfix", "smarthost")
	made, names := replaced(t, f, string(packaged))
	if names != "control, listener unix:/run/postern/smtp.sock" {
		t.Error(names)
	}
	const want = `# Kept of the file that was here before:
[control]
group = "postern-operate"          # may read, hold and remove everybody's mail
read_socket = "/run/postern/read.sock"
read_group = "postern-read"        # may look at queue, status and metrics

[[listener]]
address = "unix:/run/postern/smtp.sock"
group = "postern-submit"           # its members, by name of their user
`
	if !strings.HasSuffix(made, want) || strings.Contains(made, `"127.0.0.1:2525"`) {
		t.Error(made)
	}
	again := made
	for range 2 {
		if again, _ = replaced(t, f, again); again != made {
			t.Errorf("imported again:\n%s", again)
		}
	}
}

// Each part of a file is kept whole, or not at all.
func TestKeepParts(t *testing.T) {
	const before = `# of the file

hostname = "old.example.com" # is spoken of
# where things are
state_dir = """/var/lib/x"""
[upstream.old]
host = "old.example.net"
# ours
[alerts]
[[listener]]
address = "127.0.0.1:2599"
users_file = "x"
[[listener]] # for programs
address = "systemd:smtp"
allow = [
  "[listener]", # no header
]
[listener.more]
x = 1
# the last ones
[[route]]
from = ["*"]
upstream = ["old"]
[http] # and nothing else
`
	f := readFrom(t, "postfix", "smarthost")
	path := filepath.Join(t.TempDir(), "postern.toml")
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	names, err := f.Keep(path)
	if err != nil || strings.Join(names, ", ") != "state_dir, alerts, listener systemd:smtp, listener, http" {
		t.Error(names, err)
	}
	made := string(f.TOML("postfix", "x", nil))
	for _, want := range []string{
		"hostname = \"app1.example.com\"\n\n# Kept of the file that was here before:\n# where things are\nstate_dir = \"\"\"/var/lib/x\"\"\"\n\n[submission]",
		"# Kept of the file that was here before:\n# ours\n[alerts]\n\n[[listener]] # for programs\naddress = \"systemd:smtp\"\nallow = [\n  \"[listener]\", # no header\n]\n\n[listener.more]\nx = 1\n\n[http] # and nothing else\n",
	} {
		if !strings.Contains(made, want) {
			t.Errorf("without %s:\n%s", want, made)
		}
	}
	if strings.Contains(made, "old.example.") || strings.Contains(made, "2599") || strings.Contains(made, "the last ones") {
		t.Error(made)
	}
	if err := os.WriteFile(path, []byte("a = ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := f.Keep(path); err == nil || len(names) > 0 || !strings.Contains(err.Error(), "move it away") {
		t.Error(names, err)
	}
	if names, err := f.Keep(path + ".none"); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
}

// Where the source says nothing of listeners, all of them stay, and a fault that the
// old file has as well is no reason to refuse.
func TestKeepListeners(t *testing.T) {
	f := readFrom(t, "msmtp", "plain")
	made, names := replaced(t, f, "[control]\ngroup = \"no-such-group\"\n[[listener]]\naddress = \"127.0.0.1:2599\"\n[[listener]]\naddress = \"unix:/run/x.sock\"\n")
	if names != "control, listener 127.0.0.1:2599, listener unix:/run/x.sock" || strings.Count(made, "[[listener]]") != 2 {
		t.Errorf("%s:\n%s", names, made)
	}
	path := filepath.Join(t.TempDir(), "postern.toml")
	if err := os.WriteFile(path, []byte("[upstream.backup]\nhost = \"backup.example.com\"\n[[route]]\nfrom = [\"*\"]\nupstream = [\"backup\"]\n[[alert]]\n[alert.mail]\nto = [\"a@example.com\"]\nupstream = [\"backup\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = readFrom(t, "msmtp", "plain")
	if _, err := f.Keep(path); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Verify("msmtp", "x", path); err == nil || !strings.Contains(err.Error(), "backup") || strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// What the files of conf.d say counts: kept parts may rely on it, and what does not
// go with it is refused with its place.
func TestVerifyWithFurther(t *testing.T) {
	const alert = "[[alert]]\n[alert.mail]\nto = [\"a@example.com\"]\nupstream = [\"backup\"]\n"
	backup := "[upstream.backup]\nhost = \"backup.example.com\"\n"
	for name, c := range map[string]struct {
		file, further, want string // want: of the error; empty: none
	}{
		"kept parts rely on it":        {"postern.toml", backup, ""},
		"not beside another name":      {"other.toml", "[upstream.IMPORTED]\nhost = \"x.example.com\"\n", ""},
		"it relies on what goes":       {"postern.toml", backup + "[[route]]\nfrom = [\"x@example.com\"]\nupstream = [\"gone\"]\n", "conf.d/50-ours.toml:5: route"},
		"it has what is imported, too": {"postern.toml", backup + "[upstream.IMPORTED]\nhost = \"x.example.com\"\n", "conf.d/50-ours.toml"},
	} {
		f := readFrom(t, "msmtp", "plain")
		c.further = strings.ReplaceAll(c.further, "IMPORTED", f.Upstreams[0].Name)
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		before := alert + "[upstream.gone]\nhost = \"gone.example.com\"\n"
		for file, text := range map[string]string{path: before, filepath.Join(dir, "conf.d", "50-ours.toml"): c.further} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Keep(path); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Verify("msmtp", "x", path); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != before {
			t.Errorf("%s: the file is another: %v", name, err)
		}
	}
}
