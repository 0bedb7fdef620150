//go:build unix

package postgres

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// whichHost: of the hosts in a URL, the one that has answered is named.
func whichHost(t *testing.T, url string) {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // the server has a socket alone
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", conf.Host+"/.s.PGSQL.5432")
			if err != nil {
				near.Close()
				return
			}
			go func() { io.Copy(far, near); far.Close() }()
			go func() { io.Copy(near, far); near.Close() }()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	// Nobody listens at the first one.
	two := "postgres://" + conf.User + "@0.0.0.0:1,127.0.0.1:" + port + "/" + conf.Database + "?sslmode=disable"
	for _, c := range []struct{ url, want string }{{two, conf.Database + " at 127.0.0.1"}, {url, conf.Database + " at " + conf.Host}} {
		f, err := Inspect(t.Context(), c.url)
		if err != nil || f.Database != c.want {
			t.Errorf("%s: %q, %v; want %q", strings.Replace(c.url, port, "PORT", 1), f.Database, err, c.want)
		}
	}
}
