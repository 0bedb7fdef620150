package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBehindHAProxy: through a real HAProxy, with both versions of the PROXY
// protocol, the client is the one behind the proxy: it alone is looked up in
// allow, and stands in Received. HAProxy's own checks get in as the proxy.
func TestBehindHAProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		if haproxy = "/usr/sbin/haproxy"; !exists(haproxy) {
			if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
				t.Fatal("haproxy is not installed")
			}
			t.Skip("haproxy is not installed")
		}
	}
	listen, one, two := freeAddr(t), freeAddr(t), freeAddr(t)
	h := newHarness(t, fmt.Sprintf(`
state_dir = "DIR/state"
[spool]
dir = "DIR/spool"
[control]
socket = "DIR/control.sock"
[[listener]]
address = %q
proxy_protocol = ["127.0.0.1"]
allow = ["127.0.0.1", "127.0.0.77"]
[upstream.capture]
provider = "capture"
[[route]]
from = ["*"]
upstream = ["capture"]
`, listen))
	h.start()
	defer h.stop()
	file := filepath.Join(h.dir, "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen one
  bind %s
  server postern %s send-proxy
listen two
  bind %s
  option smtpchk EHLO proxy.example
  server postern %s send-proxy-v2 check inter 100ms
`, one, listen, two, listen), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := exec.Command(haproxy, "-db", "-f", file)
	said := &lockedBuffer{}
	proxy.Stdout, proxy.Stderr = said, said
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		proxy.Process.Kill()
		proxy.Wait()
	}()
	for version, addr := range map[string]string{"1": one, "2": two} {
		eventually(t, "HAProxy listens for version "+version, func() bool {
			nc, err := net.Dial("tcp", addr)
			if err == nil {
				nc.Close()
			}
			return err == nil
		})
		if got := talk(t, addr, "127.0.0.78", "NOOP"); !strings.HasPrefix(got, "554 5.7.1") {
			t.Errorf("version %s: a client that may not was told %q", version, got)
		}
		got := talk(t, addr, "127.0.0.77", "EHLO a.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: by version "+version+"\r\n\r\nx\r\n.", "QUIT")
		if !strings.Contains(got, "250 2.0.0 queued") {
			t.Errorf("version %s: told %q; %s", version, got, said)
		}
	}
	eventually(t, "both are captured, with the client's address", func() bool {
		found := 0
		files, _ := filepath.Glob(filepath.Join(h.dir, "state", "capture", "*", "*"))
		for _, f := range files {
			if b, _ := os.ReadFile(f); strings.Contains(string(b), "[127.0.0.77]") {
				found++
			}
		}
		return found == 2
	})
	if strings.Contains(said.String(), "DOWN") {
		t.Errorf("HAProxy's check failed: %s", said)
	}
	if direct := talk(t, listen, "127.0.0.78", "NOOP"); !strings.HasPrefix(direct, "554 5.7.1") {
		t.Errorf("past the proxy a client that may not was told %q", direct)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// talk says lines from a loopback address, each after a reply, and returns all replies.
func talk(t *testing.T, addr, from string, lines ...string) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: waitLimit}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(waitLimit))
	r := bufio.NewReader(nc)
	var all strings.Builder
	for i := 0; ; i++ {
		for {
			line, err := r.ReadString('\n')
			all.WriteString(line)
			if err != nil {
				return all.String()
			}
			if len(line) > 3 && line[3] == ' ' {
				break
			}
		}
		if i == len(lines) {
			return all.String()
		}
		fmt.Fprintf(nc, "%s\r\n", lines[i])
	}
}
