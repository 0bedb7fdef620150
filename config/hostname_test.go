package config

import (
	"strings"
	"testing"
)

// What containers and fresh machines are called is said in EHLO only where it
// can be, and told where upstreams may refuse it.
func TestHostnameThatUpstreamsRefuse(t *testing.T) {
	for _, c := range []struct{ machine, said, doubt string }{
		{"app1.example.com", "app1.example.com", ""},
		{"APP1.Example.com", "app1.example.com", ""},
		{"[192.0.2.1]", "[192.0.2.1]", ""},
		{"web_1", "localhost", "no machine in particular"},
		{"box.(none)", "localhost", "no machine in particular"},
		{"", "localhost", "no machine in particular"},
		{"app.", "localhost", "no machine in particular"},
		{"3f2a9c0d1e4b", "3f2a9c0d1e4b", "no domain"},
		{"localhost", "localhost", "no machine in particular"},
		{"localhost.localdomain", "localhost.localdomain", "no machine in particular"},
		{"box.localdomain", "box.localdomain", "no machine in particular"},
		{"web", "web", "no domain"},
		{"192.0.2.1", "192.0.2.1", "address without brackets"},
	} {
		cfg := Default()
		cfg.Hostname = nameFrom(c.machine)
		if cfg.Hostname != c.said {
			t.Errorf("%q is said as %q, want %q", c.machine, cfg.Hostname, c.said)
		}
		cfg.Upstreams["far"] = &Upstream{Host: "smtp.example.com"}
		p := cfg.DoubtfulHostname()
		if (p != nil) != (c.doubt != "") || p != nil && !strings.Contains(p.Text, c.doubt) {
			t.Errorf("%q: %v, want %q", c.machine, p, c.doubt)
		}
		cfg.Upstreams = map[string]*Upstream{"near": {Host: "127.0.0.1"}, "kept": {Provider: CaptureProvider}}
		if p := cfg.DoubtfulHostname(); p != nil {
			t.Errorf("%q: %v, though no mail leaves the machine", c.machine, p)
		}
	}
}
