//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
)

// TestHeartbeatReachesTheSecondHost: where nobody answers for the first host, not
// even that it is not there, a heartbeat still comes to the second one.
func TestHeartbeatReachesTheSecondHost(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	port := silent.Addr().(*net.TCPAddr).Port
	both := fmt.Sprintf("postgres://postern@/%s?host=127.0.0.1,%s&port=%d,5432&sslmode=disable", conf.Database, conf.Host, port)
	pool, err := newPool(t.Context(), Options{URL: both, Relay: "one"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s := &Store{opts: Options{Relay: "one", Term: 15 * time.Second}, pool: pool}
	ctx, cancel := context.WithTimeout(t.Context(), beatTimeout)
	defer cancel()
	if err := s.keepName(ctx); err != nil {
		t.Fatal(err)
	}
	s.guard.Close(t.Context())
}

// TestRepeatedWaitsForTheStandby: a key that is there, since its commit was done
// at the primary and still waits for a standby, is no promise yet.
func TestRepeatedWaitsForTheStandby(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	url := server.Database(t)
	if _, err := Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	one, _ := opened(t, url, "one")
	two, _ := opened(t, url, "two")
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	env := envelope("a@example.com", "up")
	env.Key = &spool.Key{Name: spool.NameKey("s", "k"), Until: time.Now().Add(time.Hour)}
	commit := func(s *Store) error {
		d, err := s.Create(context.Background())
		if err == nil {
			_, err = d.Write([]byte("x\r\n"))
		}
		if err == nil {
			err = d.Commit(context.Background(), env)
		}
		return err
	}
	waiting := func() (n int) {
		if err := admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	postgrestest.RequireStandby(t, url, "nobody")
	defer postgrestest.RequireStandby(t, url, "")
	answers, before := make(chan error, 3), waiting()
	go func() { answers <- commit(one) }()
	for waiting() == before {
		time.Sleep(10 * time.Millisecond)
	}
	// What waits ends as with its connection: it is committed here only.
	if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'postern one'`); err != nil {
		t.Fatal(err)
	}
	for n := 0; n == 0; {
		if err := two.pool.QueryRow(t.Context(), `SELECT count(*) FROM key`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	before = waiting()
	go func() { answers <- two.Known(context.Background(), env.Key) }()
	go func() { answers <- commit(two) }()
	for waiting() < before+2 {
		select {
		case err := <-answers:
			t.Fatalf("an answer before the standby has it: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	postgrestest.RequireStandby(t, url, "")
	var repeated int
	for range 3 {
		if err := <-answers; errors.Is(err, spool.ErrRepeated) {
			repeated++
		} else if err != nil && !strings.Contains(err.Error(), "57P01") {
			t.Error(err)
		}
	}
	if repeated != 2 {
		t.Errorf("%d were told that it was there before, want 2", repeated)
	}
}
