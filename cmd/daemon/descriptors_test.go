package daemon

import (
	"slices"
	"strings"
	"testing"

	"postern/config"
)

// machine is a configuration with listeners of so many places.
func machine(places ...int) *config.Config {
	cfg := config.Default()
	cfg.Listeners = nil
	for i, n := range places {
		cfg.Listeners = append(cfg.Listeners, config.Listener{Name: string(rune('a' + i)), Network: "tcp", MaxConnections: n})
	}
	cfg.Upstreams = map[string]*config.Upstream{"office": {Account: config.Account{Name: "office"}, MaxConnections: 8}}
	cfg.Spool.MaxSize = 10 << 30
	return cfg
}

func TestDescriptorsAreSharedOut(t *testing.T) {
	large := machine(500)
	large.Upstreams["office"].MaxConnections = 1000
	captured := machine(500)
	captured.Upstreams["office"].Provider = config.CaptureProvider
	watched := machine(500)
	watched.Control.Metrics, watched.Control.ReadSocket = "127.0.0.1:1", "/run/read"
	systemd := machine(500)
	systemd.Listeners[0].Network, systemd.Listeners[0].Target = "systemd", "smtp"
	endless := machine(500)
	endless.Spool.MaxSize = 0
	for _, c := range []struct {
		name      string
		cfg       *config.Config
		limit     int
		listeners []int // places
		operators int
		scarce    bool
	}{
		{"enough", machine(500), 2048, []int{500}, 64, false},
		{"no limit", machine(500), 0, []int{500}, 64, false},
		{"1024", machine(500), 1024, []int{292}, 32, true},
		{"256", machine(500), 256, []int{49}, 8, true},
		{"128", machine(500), 128, []int{14}, 4, true},
		{"four at 128", machine(500, 500, 500, 500), 128, []int{3, 3, 3, 3}, 4, true},
		{"four at 256", machine(500, 500, 500, 500), 256, []int{12, 12, 12, 12}, 8, true},
		{"four of their own sizes", machine(500, 2, 50, 8), 256, []int{34, 2, 6, 4}, 8, true},
		{"none to give", machine(500), 40, []int{1}, 4, true},
		{"two", machine(500, 100), 1024, []int{241, 49}, 32, true},
		{"few wanted", machine(2), 1024, []int{2}, 64, false},
		{"many sessions", large, 1024, []int{196}, 32, true},
		{"capture", captured, 1024, []int{283}, 32, true},
		{"watched", watched, 1024, []int{254}, 32, true},
		{"two sockets", systemd, 1024, []int{145}, 32, true},
		{"a spool without a bound", endless, 2048, []int{500}, 64, false},
	} {
		s := share(c.limit, c.cfg, map[string]int{"smtp": 2})
		if !slices.Equal(s.listeners, c.listeners) || s.operators != c.operators || (s.scarce(c.cfg) != nil) != c.scarce {
			t.Errorf("%s: %v, %d operators, %v", c.name, s.listeners, s.operators, s.scarce(c.cfg))
		}
		if c.scarce && c.limit > 100 && s.taken(c.cfg) > c.limit {
			t.Errorf("%s: %d of %d are given away", c.name, s.taken(c.cfg), c.limit)
		}
		if got := s.lowered(c.cfg).Listeners[0].MaxConnections; got != c.listeners[0] || c.cfg.Listeners[0].MaxConnections < got {
			t.Errorf("%s: %d connections are taken", c.name, got)
		}
	}
}

// taken is how many descriptors all together take at most, where the spool and
// the upstreams take their quarters.
func (s *shares) taken(cfg *config.Config) int {
	n := ownFiles + 3 + s.limit/4 + perSession*8 + s.others()
	for i, places := range s.listeners {
		sockets := 1
		if cfg.Listeners[i].Network == "systemd" {
			sockets = 2
		}
		n += sockets * (1 + s.ofClients(places))
	}
	if cfg.Spool.MaxSize > 0 && cfg.Spool.MaxSize/journalFile+16 < int64(s.limit/4) {
		n -= s.limit/4 - int(cfg.Spool.MaxSize/journalFile+16)
	}
	for _, up := range cfg.Upstreams {
		if up.MaxConnections > 8 {
			n += s.limit/4 - perSession*8
		} else if up.Provider == config.CaptureProvider {
			n += (perCapture - perSession) * up.MaxConnections
		}
	}
	return n
}

// The warning says how many there are, what becomes of it, and what to write.
func TestScarceDescriptorsAreToldOf(t *testing.T) {
	cfg := machine(500)
	w := share(1024, cfg, nil).scarce(cfg)
	if w == nil {
		t.Fatal("nothing is said")
	}
	for _, want := range []string{"of 1024 open files", "need 1606", "292 at a time at a", "LimitNOFILE=2048", "ulimit -n 2048"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("%q is not in %q", want, w)
		}
	}
}

// Where there is not even enough for one connection at each listener, it says
// how many that takes.
func TestTooFewDescriptorsAreToldOf(t *testing.T) {
	cfg := machine(500, 500, 500, 500)
	for limit, too := range map[int]bool{64: true, 73: false} {
		w := share(limit, cfg, nil).scarce(cfg)
		if w == nil || strings.Contains(w.Text, "at least") != too || too && !strings.Contains(w.Text, "of 64 open files that the process may have, this configuration needs 73 at least") {
			t.Errorf("%d: %v", limit, w)
		}
	}
}

func TestSocketsHandedOver(t *testing.T) {
	t.Setenv("LISTEN_FDNAMES", "smtp:smtp:other")
	if got := handedOver(); got["smtp"] != 2 || got["other"] != 1 {
		t.Error(got)
	}
}

// The listeners of HTTP take part: fewer connections where descriptors are
// scarce, and one request at a time that opens several files.
func TestHTTPSharesDescriptors(t *testing.T) {
	cfg := machine(500)
	cfg.HTTP.Socket = config.Listener{Name: config.SubmitListener, Address: "unix:/run/submit.sock", Network: "unix", MaxConnections: 100}
	cfg.HTTP.MaxJSON = 16
	for limit, want := range map[int]int{0: 16, 4096: 16, 128: 1} {
		s := share(limit, cfg, nil)
		got := s.lowered(cfg)
		if len(s.listeners) != 2 || got.HTTP.Socket.MaxConnections != s.listeners[1] || s.listeners[1] < 1 || got.HTTP.MaxJSON != want {
			t.Errorf("%d: %v, %d requests", limit, s.listeners, got.HTTP.MaxJSON)
		}
		if cfg.HTTP.MaxJSON != 16 || cfg.HTTP.Socket.MaxConnections != 100 {
			t.Fatal("the configuration was changed")
		}
	}
}
