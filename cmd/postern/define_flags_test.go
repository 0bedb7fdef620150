package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What is wrong with a definition is told in the flags of the command.
func TestFindingsSpeakOfFlags(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "postern.toml")
	text := "state_dir = 'state'\n[spool]\ndir = 'spool'\n[control]\nsocket = '/tmp/unused.sock'\n[upstream.capture]\nprovider = 'capture'\n[[route]]\nname = 'all'\nfrom = ['*', '<>']\nupstream = ['capture']\n"
	if runtime.GOOS == "windows" {
		text = strings.Replace(text, "/tmp/unused.sock", "unused.sock", 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{
		{"upstream add o --host mail.example.com --username a", "--username: has no password (set one of --password-file, --password-env and --password-credential)"},
		{"upstream add o", "upstream o: has no host (set --host mail.example.com)"},
		{"upstream add o --provider microsoft365 --username a@b.example", "--provider: \"xoauth2\" needs to know where tokens come from (add the flags --oauth-flow and --oauth-client-id, and what else docs/oauth.md says of your provider."},
		{"upstream add o --provider gmail --username a@b.example --oauth-client-id x --oauth-flow device", "--oauth-flow: Google gives no access to mail by \"device\" (set --oauth-flow code or"},
		{"upstream add o --provider ses", "--provider: needs a region (set --region, such as"},
		{"upstream add o --provider ses --region eu-central-1", "(set --username and --password-file. Make SMTP credentials"},
		{"upstream add o --host mail.example.com:587", "--host: holds a port (write --host mail.example.com and --port 587)"},
		{"upstream add o --host mail.example.com --auth external", "needs a client certificate (set --cert-file and --key-file)"},
		{"upstream add o --host mail.example.com --port 465 --tls verify", "--port: 465 is for TLS from the first byte, and --tls verify begins in clear (set --tls implicit, or --port 587)"},
		{"upstream add o --host mail.example.com --port many", "--port: must be a whole number"},
		{"upstream add o --host mail.example.com", "upstream o: no route leads to this upstream (this makes one: postern route add o --from '*@example.com' --upstream o)"},
		{"route add r", "route r: names no upstream (set --upstream NAME)"},
		{"route add r --upstream capture", "if that is meant, set --from '*'"},
		{"route add r --from a@example.com --upstream capture", `"all" on line 8 of postern.toml takes all its mail before (--before or --first asks it earlier, but not before what stands in postern.toml)`},
		{"alert add ops", "set one of --url-file, --alertmanager, and --mail-to with --mail-upstream"},
		{"alert add ops --mail-to ops@example.com", "--mail-upstream: is missing"},
		{"alert add ops --alertmanager http://127.0.0.1:9093 --username x", "set both --username and --password-file"},
		{"book define team", "--provider: is missing"},
		{"book define team --provider vcard", "--file: is missing"},
		{"book define team --provider ldap --url ldaps://dc1.example.com", "set --username and --password-file, or --auth integrated"},
		{"book define team --provider graph", "add the flags --oauth-flow and --oauth-client-id"},
	} {
		args := append(strings.Fields(c.line), "--dry-run", "--config", path)
		if !strings.HasPrefix(c.line, "route") {
			args = append(args, "--no-test")
		}
		r := perform(t, "", args...)
		if !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s:\n%swant %s", c.line, r.stderr, c.want)
		}
		if r.code == exitConfig && strings.Contains(r.stderr, "conf.d") {
			t.Errorf("%s: it names a file that is not there:\n%s", c.line, r.stderr)
		}
	}
}
