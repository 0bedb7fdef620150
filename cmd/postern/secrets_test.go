//go:build unix

package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsStayIn runs a daemon that knows every kind of secret at level
// debug, lets it fail to sign in and a client try a password, and looks for
// the secrets in all that it says.
func TestSecretsStayIn(t *testing.T) {
	listen, upstream, metrics := freeAddr(t), freeAddr(t), freeAddr(t)
	startSink(t, upstream) // offers no AUTH: the sign-in cannot succeed
	config := ordinary(listen, upstream)
	config = strings.Replace(config, `tls = "off"`, `tls = "off"
auth = "plain"
username = "billing"
password_file = "DIR/pw"`, 1)
	config = strings.Replace(config, `name = "door"`, fmt.Sprintf("name = \"door\"\nusers = { app1 = %q }", storedSecret), 1)
	config = strings.Replace(config, `socket = "DIR/control.sock"`, fmt.Sprintf("socket = \"DIR/control.sock\"\nmetrics = %q", metrics), 1)
	config += "[log]\nlevel = \"debug\"\n"
	h := newHouse(t, config)
	if err := os.WriteFile(filepath.Join(h.dir, "pw"), []byte("filesecret1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	send(t, listen, "a@example.com", "to an upstream that refuses")
	c := dialogue(t, "tcp", listen)
	command(t, c, 250, "EHLO client.example.com")
	if err := c.PrintfLine("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00app1\x00typedsecret2"))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadResponse(235); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	eventually(t, "the lane is parked", func() bool { return strings.Contains(h.must("upstream", "list"), "parked") })
	if r := h.do("status", "--health"); r.code != exitUnavailable || !strings.Contains(r.stdout, "parked") {
		t.Errorf("status --health while a lane is parked: %+v", r)
	}
	said := h.must("status", "--json") + h.must("queue", "list", "--json") + h.must("check", "--json") +
		h.must("explain", "--from", "a@example.com", "--to", "b@example.com")
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}, {"upstream", "test", "office"}, {"upstream", "test", "office", "--json"}} {
		r := h.do(args...)
		if r.code == 0 || !strings.Contains(r.stdout, "parked") {
			t.Errorf("%v while a lane is parked: %+v", args, r)
		}
		said += r.stdout + r.stderr
	}
	for _, path := range []string{"/metrics", "/healthz"} {
		resp, err := http.Get("http://" + metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		said += string(b)
	}
	if !strings.Contains(said, `postern_lane_state{state="parked",upstream="office"} 1`) {
		t.Error("the metrics do not say that the lane is parked")
	}
	h.stop()
	said += h.log.String()
	for _, secret := range []string{"filesecret1", "typedsecret2", storedSecret[len(storedSecret)-20:],
		base64.StdEncoding.EncodeToString([]byte("filesecret1"))} {
		if at := strings.Index(said, secret); at >= 0 {
			t.Errorf("%q is in %q", secret, said[max(0, at-200):min(len(said), at+50)])
		}
	}
	if !strings.Contains(said, "sign-in-failed") {
		t.Error("the log does not tell of the client's failed sign-in")
	}
}

// storedSecret is the stored form of some password.
const storedSecret = "$2a$10$MY1dVgJUWQBPdN4wXcWnLOQ7WxzG5ZB7mYbR1uN6BMdpJGbnyLyHW"
