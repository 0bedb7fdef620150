package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// Two spellings of one socket, and one socket that lies in another.
func TestListenersThatAreOneSocket(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{"127.0.0.1:2525", "localhost:2525", true},
		{"127.0.0.1:2525", "LOCALHOST:2525", true},
		{"127.0.0.1:2525", "[::ffff:127.0.0.1]:2525", true},
		{"[::1]:2525", "[0:0::1]:2525", true},
		{"0.0.0.0:2525", "127.0.0.1:2525", true},
		{"127.0.0.1:2525", "0.0.0.0:2525", true},
		{":2525", "[::1]:2525", true},
		{":2525", "0.0.0.0:2525", true},
		{"[::]:2525", "[::1]:2525", true},
		{"[::]:2525", "0.0.0.0:2525", false},
		{"[::1]:2525", "127.0.0.1:2525", false},
		{"127.0.0.1:2525", "127.0.0.2:2525", false},
		{"127.0.0.1:2525", "127.0.0.1:2526", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"unix:" + dir + "/a", "unix:" + dir + "/./a", true},
		{"unix:" + dir + "/a", "unix:" + dir + "/link/a", true},
		{"unix:" + dir + "/a", "unix:" + dir + "/b", false},
		{"systemd:a", "systemd:a", true},
	} {
		_, err := Load(writeConfig(t, fmt.Sprintf(`[[listener]]
address = %q
allow = ["10.0.0.0/8"]
[[listener]]
address = %q
name = "other"
allow = ["10.0.0.0/8"]
[upstream.office]
host = "mail.example"
[[route]]
from = ["*"]
upstream = ["office"]
`, c.one, c.other)))
		text := fmt.Sprint(err)
		if said := strings.Contains(text, "listener[1].address: ") && strings.Contains(text, "is the address of listener[0] too"); said != c.same {
			t.Errorf("%s and %s: %v", c.one, c.other, err)
		}
	}
}

// Metrics and the control socket listen, too.
func TestControlSharesNoSocket(t *testing.T) {
	_, err := Load(writeConfig(t, `[control]
metrics = "localhost:2525"
socket = "/tmp/x/../x/s"
[[listener]]
address = "127.0.0.1:2525"
[[listener]]
address = "unix:/tmp/x/s"
[upstream.office]
host = "mail.example"
[[route]]
from = ["*"]
upstream = ["office"]
`))
	for _, want := range []string{"control.metrics: \"localhost:2525\" is the address of listener[0] too", "control.socket: \"/tmp/x/../x/s\" is the address of listener[1] too"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// An upstream that is one of our own listeners, in any spelling.
func TestUpstreamThatIsOurListener(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fd00::7")}
	for _, c := range []struct {
		listener, host string
		port           int
		loop           bool
	}{
		{"127.0.0.1:2525", "localhost", 2525, true},
		{"127.0.0.1:2525", "127.0.0.1", 2525, true},
		{"127.0.0.1:2525", "::ffff:127.0.0.1", 2525, true},
		{"127.0.0.1:2525", "0.0.0.0", 2525, true},
		{"127.0.0.1:2525", "relay.localhost", 2525, true},
		{"localhost:2525", "127.0.0.1", 2525, true},
		{"[::1]:2525", "localhost", 2525, true},
		{"[::1]:2525", "::1", 2525, true},
		{":2525", "::1", 2525, true},
		{"0.0.0.0:2525", "127.0.0.1", 2525, true},
		{"0.0.0.0:2525", "127.3.4.5", 2525, true},
		{"0.0.0.0:2525", "192.0.2.7", 2525, true},
		{"[::]:2525", "fd00::7", 2525, true},
		{"192.0.2.7:2525", "web1", 2525, true},
		{"127.0.0.1:2525", "WEB1", 2525, true},
		{"127.0.0.1:587", "localhost", 0, true},
		{"127.0.0.1:2525", "localhost", 0, false},
		{"127.0.0.1:2525", "localhost", 2526, false},
		{"127.0.0.1:2525", "127.0.0.2", 2525, false},
		{"0.0.0.0:2525", "192.0.2.8", 2525, false},
		{"127.0.0.1:2525", "mail.example", 2525, false},
		{"127.0.0.1:0", "127.0.0.1", 2525, false},
	} {
		cfg := Default()
		cfg.Listeners = []Listener{defaultListener(c.listener)}
		up := DefaultUpstream("office")
		up.Host, up.Port = c.host, c.port
		cfg.Upstreams["office"] = up
		cfg.Upstreams["capture"] = &Upstream{Provider: CaptureProvider, Host: "127.0.0.1", Port: 2525}
		d := &document{source: &sourceMap{}}
		d.checkLoops(cfg, own, []string{"web1"})
		if got := len(d.problems.list) > 0; got != c.loop {
			t.Errorf("listener %s, upstream %s port %d: %v", c.listener, c.host, c.port, d.problems)
		}
	}
}

// The first address of a network, written where a network is meant.
func TestNetworkWithoutItsLength(t *testing.T) {
	for s, want := range map[string]string{
		"172.16.0.0": "172.16.0.0/12", "10.0.0.0": "10.0.0.0/8", "192.168.0.0": "192.168.0.0/16", "192.168.5.0": "192.168.5.0/24",
		"172.17.0.0": "172.17.0.0/16", "0.0.0.0": "0.0.0.0/0", "::": "::/0", "2001:db8::": "2001:db8::/64", "fe80::": "fe80::/10",
		"172.16.0.0/32": "", "192.0.2.7": "", "::1": "", "2001:db8::1": "", "127.0.0.1": "",
	} {
		if got := meantNetwork(s); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
}
