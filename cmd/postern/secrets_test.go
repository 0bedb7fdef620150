//go:build unix

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// secrets are what the daemon of TestSecretsStayIn knows, by where it has
// them from.
var secrets = map[string]string{
	"literal": "literalsecret1", "file": "filesecret2", "command": "commandsecret3",
	"env": "envsecret4", "credential": "credentialsecret5",
	"client": "clientsecret6", "key": "keysecret7-keysecret7-keysecret7-keysecret7",
}

// storedSecret is the stored form of some password.
const storedSecret = "$2a$10$MY1dVgJUWQBPdN4wXcWnLOQ7WxzG5ZB7mYbR1uN6BMdpJGbnyLyHW"

// startParrot is an upstream that repeats in its refusal what it was told.
func startParrot(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go parrot(textproto.NewConn(conn))
		}
	}()
}

func parrot(c *textproto.Conn) {
	defer c.Close()
	err := c.PrintfLine("220 parrot.test")
	for err == nil {
		var line string
		if line, err = c.ReadLine(); err != nil {
			return
		}
		words := strings.Fields(line)
		switch {
		case len(words) > 0 && words[0] == "EHLO":
			err = c.PrintfLine("250-parrot.test\r\n250 AUTH PLAIN XOAUTH2")
		case len(words) == 3 && words[0] == "AUTH":
			plain, _ := base64.StdEncoding.DecodeString(words[2])
			err = c.PrintfLine("535 5.7.8 %s is %q", words[2], plain)
		default:
			err = c.PrintfLine("221 bye")
		}
	}
}

// knowing is a configuration with an upstream for every source of a secret.
func knowing(listen, upstream, metrics, issuer string) string {
	host, port, _ := net.SplitHostPort(upstream)
	text := fmt.Sprintf(`hostname = "relay.example.com"
state_dir = "DIR/state"
[spool]
dir = "DIR/spool"
min_free = "1MiB"
[control]
socket = "DIR/control.sock"
metrics = %q
[log]
level = "debug"
[retry]
backoff = ["1h"]
[[listener]]
name = "mail"
address = %q
users = { app1 = %q }
`, metrics, listen, storedSecret)
	for name, source := range map[string]string{
		"literal": `password = "` + secrets["literal"] + `"`, "file": `password_file = "DIR/secrets/pw"`,
		"command": `password_command = ["cat", "DIR/secrets/printed"]`,
		"env":     `password_env = "POSTERN_TEST_SECRET"`, "credential": `password_credential = "pw"`,
		"client": fmt.Sprintf(`[upstream.client.oauth]
provider = "generic"
issuer = %q
flow = "client_credentials"
client_id = "relay"
client_secret_file = "DIR/secrets/client"
token_key_credential = "key"
scopes = ["smtp"]`, issuer),
	} {
		auth := "plain"
		if name == "client" {
			auth = "xoauth2"
		}
		text += fmt.Sprintf("[[route]]\nfrom = [\"%s@example.com\"]\nupstream = [%q]\n[upstream.%s]\nhost = %q\nport = %s\ntls = \"off\"\nauth = %q\nusername = \"billing\"\n%s\n",
			name, name, name, host, port, auth, source)
	}
	return text
}

// TestSecretsStayIn runs a daemon that has secrets from every source, at
// level debug, lets every sign-in fail at an upstream that repeats what it is
// told, and a client try a password, and looks for the secrets in all that
// comes out: log, commands, JSON, metrics, arguments, files, and the dump of
// a crash.
func TestSecretsStayIn(t *testing.T) {
	listen, upstream, metrics := freeAddr(t), freeAddr(t), freeAddr(t)
	startParrot(t, upstream)
	p := startProvider(t)
	text := knowing(listen, upstream, metrics, p.url)
	h := newHarness(t, text)
	folder := filepath.Join(h.dir, "secrets")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, name := range map[string]string{"pw": "file", "printed": "command", "client": "client"} {
		writeSecret(t, filepath.Join(folder, file), secrets[name])
	}
	credentials := t.TempDir()
	writeSecret(t, filepath.Join(credentials, "pw"), secrets["credential"])
	writeSecret(t, filepath.Join(credentials, "key"), secrets["key"])
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	t.Setenv("POSTERN_TEST_SECRET", secrets["env"])
	h.start()
	for _, name := range []string{"literal", "file", "command", "env", "credential", "client"} {
		send(t, listen, name+"@example.com", "to an upstream that refuses")
	}
	tryPassword(t, listen, "typedsecret8")
	eventually(t, "every lane is parked", func() bool { return strings.Count(h.must("upstream", "list"), "parked") == 6 })
	if r := h.do("status", "--health"); r.code != exitUnavailable || !strings.Contains(r.stdout, "parked") {
		t.Errorf("status --health while a lane is parked: %+v", r)
	}
	said := h.everything(metrics)
	if !strings.Contains(said, `postern_lane_state{state="parked",upstream="file"} 1`) {
		t.Error("the metrics do not say that the lane is parked")
	}
	h.write(strings.Replace(text, "billing", "bil\\ling", 6)) // a fault on the line before each password
	said += h.refused("check") + h.refused("reload")
	h.signal(syscall.SIGHUP)
	eventually(t, "the reload is refused", func() bool { return strings.Contains(h.log.String(), "config-refused") })
	h.signal(syscall.SIGQUIT)
	h.wait()
	said += h.log.String() + h.files()

	for _, secret := range secrets {
		mustNotHold(t, said, secret)
	}
	for _, secret := range []string{"typedsecret8", storedSecret[len(storedSecret)-20:], p.good, p.refresh} {
		mustNotHold(t, said, secret)
	}
	// What shows that the secrets were in use, and had ways to come out.
	for _, sign := range []string{"sign-in-failed", "[secret]", "token-obtained", "goroutine 1 ", "config-problem"} {
		if !strings.Contains(said, sign) {
			t.Errorf("there is no %q: this test shows less than it says", sign)
		}
	}
	if n := strings.Count(h.log.String(), `"text":"[words not shown]"`); n < 6 {
		t.Errorf("%d refusals are shown without their words", n)
	}
}

func writeSecret(t *testing.T, path, secret string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tryPassword signs in at the listener, with a password that is wrong.
func tryPassword(t *testing.T, listen, password string) {
	t.Helper()
	c := dialogue(t, "tcp", listen)
	command(t, c, 250, "EHLO client.example.com")
	if err := c.PrintfLine("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00app1\x00"+password))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadResponse(235); err == nil {
		t.Fatal("a wrong password was accepted")
	}
}

// everything is what a running daemon tells whoever asks.
func (h *harness) everything(metrics string) string {
	h.t.Helper()
	var said strings.Builder
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"upstream", "list"}, {"upstream", "list", "--json"},
		{"queue", "list"}, {"queue", "list", "--json"}, {"queue", "show", h.queued()[0].ID}, {"queue", "show", h.queued()[0].ID, "--json"},
		{"check"}, {"check", "--json"},
		{"explain", "--from", "file@example.com", "--to", "b@example.com"},
		{"explain", "--from", "client@example.com", "--to", "b@example.com", "--json"},
	} {
		said.WriteString(h.must(args...))
	}
	looks := [][]string{{"doctor"}, {"doctor", "--json"}}
	for name := range secrets {
		if name != "key" { // which is of the upstream "client"
			looks = append(looks, []string{"upstream", "test", name}, []string{"upstream", "test", name, "--json"})
		}
	}
	for _, args := range looks {
		said.WriteString(h.refused(args...)) // every lane is parked
	}
	for _, path := range []string{"/metrics", "/healthz"} {
		resp, err := http.Get("http://" + metrics + path)
		if err != nil {
			h.t.Fatal(err)
		}
		_, _ = io.Copy(&said, resp.Body)
		resp.Body.Close()
	}
	// What ps shows; there is no such file but on Linux.
	arguments, _ := os.ReadFile("/proc/" + strconv.Itoa(h.cmd.Process.Pid) + "/cmdline")
	said.Write(arguments)
	return said.String()
}

// refused is what a command says that must not succeed.
func (h *harness) refused(args ...string) string {
	h.t.Helper()
	r := h.do(args...)
	if r.code == 0 {
		h.t.Errorf("%v succeeded", args)
	}
	return r.stdout + r.stderr
}

// files is everything that the daemon has written.
func (h *harness) files() string {
	h.t.Helper()
	var all bytes.Buffer
	for _, folder := range []string{"spool", "state"} {
		err := filepath.WalkDir(filepath.Join(h.dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			all.WriteString(path + "\n")
			all.Write(b)
			return err
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return all.String()
}

// mustNotHold looks for a secret as it is and in base64, at whatever place of
// a longer text that stands.
func mustNotHold(t *testing.T, said, secret string) {
	t.Helper()
	if secret == "" {
		t.Error("there is nothing to look for")
		return
	}
	forms := []string{secret}
	for shift := range 3 {
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", shift) + secret))
		forms = append(forms, coded[(shift*8+5)/6:len(coded)-4])
	}
	for _, form := range forms {
		if at := strings.Index(said, form); at >= 0 {
			t.Errorf("%q is in %q", secret, said[max(0, at-200):min(len(said), at+50)])
		}
	}
}
