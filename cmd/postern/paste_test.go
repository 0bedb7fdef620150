//go:build unix

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/spf13/cobra"

	"postern/relay/sign"
	"postern/relay/upstream/upstreamtest"
)

// pasted is a configuration with more in it, as a file.
func pasted(t *testing.T, office, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.toml")
	text := "state_dir = \"state\"\nspool.dir = \"spool\"\n[upstream.office]\nhost = \"smtp.office.example\"\n" + office +
		"\n[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What one command prints for a configuration or for another command is taken
// there, as it stands.
func TestPrintedIsTaken(t *testing.T) {
	printed := func(stdin string, args ...string) string {
		r := perform(t, stdin, args...)
		if r.code != exitOK {
			t.Fatalf("%q: %+v", args, r)
		}
		return r.stdout
	}
	folder := filepath.Join(t.TempDir(), "a \u00a0ü'b")
	if err := os.Mkdir(folder, 0o700); err != nil {
		folder = t.TempDir()
	}
	var key, sum strings.Builder
	for _, line := range strings.Split(printed("", "dkim", "new", "Example.COM", "--type", "ed25519", "--out", filepath.Join(folder, "k.pem")), "\n") {
		if strings.HasPrefix(line, "  [dkim") || strings.HasPrefix(line, "  keys") {
			key.WriteString(line + "\n")
		}
	}
	for i := range 32 {
		fmt.Fprintf(&sum, ":%02X", i)
	}
	colons := sum.String()[1:]
	hashes := map[string]string{}
	for _, scheme := range []string{"argon2id", "bcrypt", "scram-sha-256"} {
		hashes[scheme] = strings.TrimSpace(printed("a secret\n", "passwd", "--scheme", scheme))
	}
	token := strings.Fields(printed("", "passwd", "--token"))[3]
	type row struct{ office, more string }
	rows := map[string]row{
		"dkim new":                 {"", key.String()},
		"passwd --token":           {"", fmt.Sprintf("[http]\naddress = \"127.0.0.1:0\"\ntoken.shop.hash = %q\n", token)},
		"passwd for HTTP":          {"", fmt.Sprintf("[http]\naddress = \"127.0.0.1:0\"\ntoken.shop.hash = %q\n", hashes["argon2id"])},
		"fingerprint":              {"fingerprint = \"sha256:" + strings.ToLower(strings.ReplaceAll(colons, ":", "")) + "\"", ""},
		"fingerprint of openssl 3": {"fingerprint = \"sha256 Fingerprint=" + colons + "\"", ""},
		"fingerprint of openssl 1": {"fingerprint = \"SHA256 Fingerprint=" + colons + "\"", ""},
	}
	for scheme, hash := range hashes {
		rows["passwd of a listener "+scheme] = row{"", fmt.Sprintf("[[listener]]\naddress = \"127.0.0.1:0\"\nusers = { \"app@example.com\" = %q }\n", hash)}
		rows["passwd of the console "+scheme] = row{"", fmt.Sprintf("[console]\naddress = \"127.0.0.1:0\"\n[console.user.ann]\npassword = %q\nrole = \"look\"\n", hash)}
	}
	for name, c := range rows {
		if r := perform(t, "", "check", "--file-only", "--config", pasted(t, c.office, c.more)); r.code != exitOK {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// The record is that of the key, whatever strings it is cut into.
	zone := printed("", "dkim", "dns", "--config", pasted(t, "", key.String()))
	record := ""
	for _, s := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(zone, -1) {
		record += s[1]
	}
	var list []dkimRecord
	if err := json.Unmarshal([]byte(printed("", "dkim", "dns", "--json", "--config", pasted(t, "", key.String()))), &list); err != nil || len(list) != 1 {
		t.Fatal(err, list)
	}
	if why := sign.Compare(record, list[0].Record); why != "" {
		t.Errorf("%s %s", zone, why)
	}
}

// The hint for the hash of a token and that for a password name their own form
// of passwd, and no other.
func TestHashHints(t *testing.T) {
	stored := strings.TrimSpace(perform(t, "a secret\n", "passwd").stdout)
	cut := stored[:len(stored)-4]
	for more, want := range map[string]string{
		fmt.Sprintf("[http]\naddress = \"127.0.0.1:0\"\ntoken.shop.hash = %q\n", cut):         "passwd --token",
		fmt.Sprintf("[http]\naddress = \"127.0.0.1:0\"\ntoken.shop.hash = %q\n", "$sha256$a"): "passwd --token",
		fmt.Sprintf("[[listener]]\naddress = \"127.0.0.1:0\"\nusers = { app = %q }\n", cut):   "passwd`",
	} {
		r := perform(t, "", "check", "--file-only", "--config", pasted(t, "", more))
		if r.code == exitOK || strings.Count(r.stderr+r.stdout, "passwd") != 1 || !strings.Contains(r.stderr+r.stdout, want) {
			t.Errorf("%s%+v", more, r)
		}
	}
}

// What a test of an upstream says to set, in place of what is set, makes the
// certificate good.
func TestPrintedPinIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(&sink{})
	server.Domain, server.TLSConfig = "pin.test", &tls.Config{Certificates: []tls.Certificate{upstreamtest.Forge(t, nil, nil, nil).TLS()}}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	set := func(lines string) string {
		path := pasted(t, "", "")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		to := strings.Replace(string(text), "host = \"smtp.office.example\"\n", "host = \"127.0.0.1\"\nserver_name = \"mx.example\"\nport = "+port+"\n"+lines, 1)
		if err := os.WriteFile(path, []byte(to), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, lines := range []string{"tls = \"encrypt\"\n", "tls = \"verify\"\n", "tls = \"opportunistic\"\n"} {
		first := perform(t, "", "upstream", "test", "office", "--config", set(lines))
		said := map[string]string{}
		for _, m := range regexp.MustCompile(`(tls|fingerprint) = ("[^"]*")[^:]`).FindAllStringSubmatch(first.stdout, -1) {
			said[m[1]] = m[2]
		}
		if said["fingerprint"] == "" {
			t.Errorf("%s: %+v", lines, first)
			continue
		}
		if said["tls"] != "" {
			lines = "tls = " + said["tls"] + "\n"
		}
		lines += "fingerprint = " + said["fingerprint"] + "\n"
		if again := perform(t, "", "upstream", "test", "office", "--config", set(lines)); !strings.Contains(again.stdout, "the certificate is a pinned one") {
			t.Errorf("%s: %+v", lines, again)
		}
	}
}

// Commands that texts of the program name are there, with their flags.
func TestNamedCommands(t *testing.T) {
	root := (&app{}).root()
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(l.Value)
			for _, m := range inHints.FindAllStringSubmatch(text, -1) {
				seen++
				if why := unknown(root, strings.Fields(m[1])); why != "" && m[1] != "help" {
					t.Errorf("%s: %q: %s", path, "postern "+m[1], why)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || seen < 50 {
		t.Error(seen, err)
	}
}

// inHints finds commands in backquotes, and those that end a hint.
var inHints = regexp.MustCompile("(?:`|with: )postern ([a-z][^`\n]*)")

// unknown says what is wrong with the words of a command; "": nothing.
func unknown(root *cobra.Command, words []string) string {
	cmd := root
	for i, word := range words {
		name, isFlag := strings.CutPrefix(word, "--")
		name = strings.TrimRight(name, ".,;:)")
		switch {
		case isFlag:
			name, _, _ = strings.Cut(name, "=")
			if cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil && name != "help" {
				return "has no flag --" + name
			}
		case cmd.HasSubCommands() && i < 3:
			next, _, err := cmd.Find([]string{name})
			if err != nil || next == cmd {
				if strings.ContainsAny(name, "%|[") {
					return ""
				}
				return "there is no " + name
			}
			cmd = next
		}
	}
	return ""
}
