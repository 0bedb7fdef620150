package config

import (
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// maxSocketPath is what every system can bind: sun_path holds 104 bytes on
// BSD and macOS, 108 on Linux, with the NUL.
const maxSocketPath = 103

func socketPathProblem(path string) string {
	if len(path) > maxSocketPath {
		return fmt.Sprintf("is a path of %d bytes; a unix socket can have %d", len(path), maxSocketPath)
	}
	return ""
}

func (d *document) readControl(t *table, c *Control) {
	t.text("socket", &c.Socket)
	c.Socket = d.path(c.Socket)
	if text := socketPathProblem(c.Socket); text != "" {
		t.problem("socket", text, "choose a shorter one")
	}
	if t.mode("mode", &c.Mode) {
		checkSocketMode(t)
		if c.Mode&0o007 != 0 {
			t.problem("mode", "lets everybody on this machine administer the queue", `at most "0770"; use group for those who may`)
		}
	}
	if t.text("group", &c.Group) {
		checkGroup(t, "group", c.Group)
	}
	if t.text("read_socket", &c.ReadSocket) {
		c.ReadSocket = d.path(c.ReadSocket)
		if text := socketPathProblem(c.ReadSocket); text != "" {
			t.problem("read_socket", text, "choose a shorter one")
		}
	}
	if t.text("read_group", &c.ReadGroup) {
		checkGroup(t, "read_group", c.ReadGroup)
		if c.ReadSocket == "" {
			t.problem("read_group", "needs read_socket", `such as "/run/postern/read.sock"`)
		}
	}
	if t.text("metrics", &c.Metrics) {
		checkMetrics(t, c.Metrics)
	}
	t.duration("health_max_age", &c.HealthMaxAge, time.Second, 365*24*time.Hour)
	t.finish()
}

// warnSharedGroup warns where those who hand in mail may administer the queue
// as well: they would read and remove everybody's.
func (d *document) warnSharedGroup(cfg *Config) {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Network != "unix" || l.Group == "" {
			continue
		}
		key := fmt.Sprintf("listener[%d].group", i)
		switch l.Group {
		case cfg.Control.Group:
			d.warn(key, strconv.Quote(l.Group)+" is control.group too: whoever may hand in mail may read and remove everybody's", "make a group for each: one that submits, one that operates")
		case cfg.Control.ReadGroup:
			d.warn(key, strconv.Quote(l.Group)+" is control.read_group too: whoever may hand in mail sees everybody's senders and recipients", "make a group for each")
		}
	}
}

// checkMetrics lets only a loopback address pass: the page tells senders'
// volumes and upstreams to whoever asks.
func checkMetrics(t *table, address string) {
	host, _, err := splitHostPort(address)
	switch {
	case err != nil:
		t.problem("metrics", strconv.Quote(address)+" "+err.Error(), `such as "127.0.0.1:9125"`)
	case !isLoopback(host):
		t.problem("metrics", strconv.Quote(address)+" can be reached from other machines",
			"only a loopback address is allowed; put a proxy with access control before it")
	}
}

func checkSocketMode(t *table) {
	if runtime.GOOS == "windows" {
		t.problem("mode", "is not known on Windows", "remove it")
	}
}

func checkGroup(t *table, key, name string) {
	if runtime.GOOS == "windows" {
		t.problem(key, "is not known on Windows", "remove it")
		return
	}
	if _, err := user.LookupGroup(name); err == nil {
		return
	}
	t.problem(key, "there is no group "+strconv.Quote(name)+" on this machine", "create it with groupadd, or remove the key")
}

// splitHostPort cuts "host:port" and checks the port; 0 lets the system
// choose one.
func splitHostPort(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("is not an address with a port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", "", fmt.Errorf("has no port from 0 to 65535")
	}
	return host, port, nil
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// isAddressLiteral checks "[192.0.2.1]" and "[IPv6:2001:db8::1]"
// (RFC 5321 §4.1.3).
func isAddressLiteral(s string) bool {
	inner := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if six, ok := strings.CutPrefix(inner, "ipv6:"); ok {
		ip, err := netip.ParseAddr(six)
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(inner)
	return err == nil && ip.Is4()
}
