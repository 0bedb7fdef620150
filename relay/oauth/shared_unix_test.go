//go:build unix

package oauth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postern/config"
	"postern/spool"
	"postern/spool/postgres"
	"postern/spool/postgres/postgrestest"
)

// TestSharedLogin has three relays use one login that is in their database: of
// all that want a new token at a moment, one asks the provider, and what it gets
// is everybody's.
func TestSharedLogin(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	if _, err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	p, up := newIDP(t), accountWith(config.FlowDevice)
	key := config.NewSecret(strings.Repeat("k3y ", 10))
	dir := loggedIn(t, p)
	login := onDisk(t, dir, up)
	var relays [3]*Tokens
	var states [3]*postgres.State
	for i := range relays {
		st, closed, err := postgres.OpenState(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(closed)
		states[i], relays[i] = st, New(Options{State: st, Key: key, Transport: p})
	}
	mustFail(t, relays[0], up, "", NeedsLogin)
	if err := relays[0].store.save(t.Context(), up.Name, up.OAuth.TokenKey, login); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		old := fmt.Sprintf("access-token-%d", round+1)
		for _, r := range relays {
			mustToken(t, r, up, "", old)
		}
		var all sync.WaitGroup
		for _, r := range relays {
			for range 4 {
				all.Go(func() {
					if got, err := r.Token(t.Context(), up, old); err != nil || got != fmt.Sprintf("access-token-%d", round+2) {
						t.Errorf("token %q, %v", got, err)
					}
				})
			}
		}
		all.Wait()
		if n := p.asked(); n != round+1 {
			t.Fatalf("the provider was asked %d times in %d rounds", n, round+1)
		}
	}

	// What lies there opens by the administrator's key alone.
	sealed, err := states[1].Read(t.Context(), factOf(up.Name))
	if err != nil || strings.Contains(string(sealed), "token-") {
		t.Errorf("%q, %v", sealed, err)
	}
	if _, err := states[1].Read(t.Context(), keyFact); err == nil {
		t.Error("a key is in the database")
	}
	other := New(Options{State: states[1], Key: config.NewSecret(strings.Repeat("another", 6)), Transport: p})
	mustFail(t, other, up, "", NeedsLogin)

	// A database that is away is no reason to log in again.
	server.Stop()
	mustFail(t, New(Options{State: states[2], Key: key, Transport: p}), up, "", Unreachable)
	mustToken(t, relays[0], up, "", "access-token-6")
}

// TestLostLock: a relay that is cut off while the provider answers does not write
// over what another one got meanwhile.
func TestLostLock(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	if _, err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	st, closed, err := postgres.OpenState(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer closed()
	f := spool.Fact{Kind: spool.KindToken, Name: "office"}
	unlock, err := st.Lock(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := st.Write(t.Context(), f, []byte("first")); err != nil {
		t.Fatal(err)
	}
	server.Restart(t, "fsync=off") // ends every connection
	if err := st.Write(context.WithoutCancel(t.Context()), f, []byte("late")); err == nil {
		t.Error("it wrote without its lock")
	}
	if got, err := st.Read(t.Context(), f); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
}
