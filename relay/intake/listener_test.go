package intake

import (
	"bufio"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// An address of one family opens no listener of the other.
func TestFamilies(t *testing.T) {
	if probe, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else {
		probe.Close()
	}
	for _, c := range []struct {
		target   string
		ip4, ip6 bool
	}{
		{"0.0.0.0:0", true, false},
		{"127.0.0.1:0", true, false},
		{"[::]:0", false, true},
		{":0", true, true},
	} {
		l := testListener()
		l.Address, l.Target, l.Allow = c.target, c.target, nil
		s := newServer(&store{}, &record{}, nil)
		defer s.Close()
		if err := s.Apply(&config.Config{Hostname: "families.example", Listeners: []config.Listener{l}}, testRoutes(t)); err != nil {
			t.Fatal(err)
		}
		port := strconv.Itoa(s.Addrs()[l.Name].(*net.TCPAddr).Port)
		if ip4, ip6 := greeted(t, "127.0.0.1", port), greeted(t, "::1", port); ip4 != c.ip4 || ip6 != c.ip6 {
			t.Errorf("%s: reached by IPv4 %v and by IPv6 %v, want %v and %v", c.target, ip4, ip6, c.ip4, c.ip6)
		}
	}
}

// greeted tells whether the server of TestFamilies is there: the port of the
// other family may belong to somebody else.
func greeted(t *testing.T, host, port string) bool {
	nc, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return false
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	line, _ := bufio.NewReader(nc).ReadString('\n')
	return strings.HasPrefix(line, "220 families.example ")
}
