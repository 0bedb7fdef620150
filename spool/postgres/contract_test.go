//go:build unix

package postgres

import (
	"path/filepath"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
	"postern/spool/storetest"
)

// opened is a store with its network.
func opened(t *testing.T, url, relay string) (*Store, *postgrestest.Network) {
	t.Helper()
	n := &postgrestest.Network{}
	s, err := Open(t.Context(), Options{URL: url, Relay: relay, Term: time.Minute, Grace: -1, MaxMessages: 50, MaxKeys: 20, Dial: n.Dial,
		Outbox: filepath.Join(t.TempDir(), "outbox")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.abandon)
	return s, n
}

func TestContract(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		url := server.Database(t)
		if _, err := Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		first, net := opened(t, url, "one")
		other, _ := opened(t, url, "two")
		current := first
		return storetest.Harness{Store: first, Other: other, Most: 50, Keys: 20, Away: net.Cut,
			Restart: func() spool.Store {
				current.abandon()
				current, _ = opened(t, url, "one")
				return current
			},
			Expire: func() {
				expire(t, url)
			}}
	})
}
