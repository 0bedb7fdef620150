//go:build unix

package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/spool"
	"postern/spool/postgres/postgrestest"
)

// hourly tries again each hour.
var hourly = spool.Schedule{Steps: []time.Duration{time.Hour}}

var accepted = spool.Outcome{Stage: spool.StageDot, Code: 250, Verdict: spool.Delivered}

// TestStore has one server for what the contract doesn't say.
func TestStore(t *testing.T) {
	server := postgrestest.Start(t, "fsync=off")
	for name, test := range map[string]func(*testing.T, string){
		"schema": schemaVersions, "name": oneName, "body": bodies, "turns": turns, "lost answer": lostAnswer, "lost claim": lostClaim, "lost connections": lostConnections,
		"others are told": othersAreTold, "outbox": postponed, "outbox of the process before": outlived, "silent connections": silentConnections, "which host": whichHost, "locks of a lost machine": lostMachine, "heartbeats beside an undo": beatsBesideUndo, "first count": firstCount, "long queue": longQueue, "standby away": standbyAway, "facts": facts, "asks": asks, "rates of senders": manySenders,
		"opened late": openedLate, "forgotten": forgotten, "opened late in vain": openedLateInVain, "hostile rows": hostileRows,
	} {
		t.Run(name, func(t *testing.T) {
			url := server.Database(t)
			if name != "schema" {
				if _, err := Migrate(t.Context(), url); err != nil {
					t.Fatal(err)
				}
			}
			test(t, url)
		})
	}
}

func put(t *testing.T, s *Store, env *spool.Envelope, content io.Reader) spool.ID {
	t.Helper()
	d, err := s.Create(t.Context())
	if err == nil {
		_, err = io.Copy(d, content)
	}
	if err == nil {
		err = d.Commit(t.Context(), env)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func envelope(from, upstream string) *spool.Envelope {
	return &spool.Envelope{From: from, Accepted: time.Now(), Recipients: []spool.Recipient{{Address: "b@example.net", Upstreams: []string{upstream}}}}
}

func claimed(t *testing.T, s *Store, upstream string, most int) []*spool.Delivery {
	t.Helper()
	l, err := s.Lease(t.Context(), upstream)
	if err != nil {
		t.Fatal(err)
	}
	ds, err := s.Claim(t.Context(), l, time.Now(), most, hourly)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// schemaVersions: a program opens no schema but its own, and says what helps.
func schemaVersions(t *testing.T, url string) {
	open := func(want string) {
		t.Helper()
		_, err := Open(t.Context(), Options{URL: url, Relay: "one"})
		if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	open("postern database migrate")
	var all sync.WaitGroup
	for range 4 { // at once
		all.Go(func() {
			if _, err := Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if from, err := Migrate(t.Context(), url); err != nil || from != Schema {
		t.Errorf("migrated from %d, %v", from, err)
	}
	s, _ := opened(t, url, "one")
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO schema (version) VALUES ($1)`, Schema+1); err != nil {
		t.Fatal(err)
	}
	open("update this one")
	if _, err := Migrate(t.Context(), url); !errors.Is(err, ErrSchema) {
		t.Errorf("migrated: %v", err)
	}
}

// oneName: two relays of one name do not run at once.
func oneName(t *testing.T, url string) {
	s, err := Open(t.Context(), Options{URL: url, Relay: "one", Term: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{URL: url, Relay: "one", Term: 300 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), `named "one" runs already`) {
		t.Errorf("a second one: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	again, err := Open(t.Context(), Options{URL: url, Relay: "one", Term: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	again.abandon()
}

// bodies of every size come back as they were, also when the message is gone.
func bodies(t *testing.T, url string) {
	s, _ := opened(t, url, "one")
	for _, size := range []int{0, 1, piece - 1, piece, piece + 1, 2 * piece, 3*piece + 17} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		env := envelope("a@example.com", "up")
		env.Prefix = []byte("X-Prefix: yes\r\n")
		id := put(t, s, env, bytes.NewReader(body))
		c, err := s.Content(t.Context(), id)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		d := claimed(t, s, "up", 1)[0]
		if settled, err := s.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}); err != nil || !settled.Over {
			t.Errorf("%+v, %v", settled, err)
		}
		got, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil || !bytes.Equal(got, append([]byte("X-Prefix: yes\r\n"), body...)) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		c.Close()
	}
	d, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(make([]byte, 3*piece)); err != nil {
		t.Fatal(err)
	}
	d.Discard()
	for _, table := range []string{"message", "body_part", "share", "outcome"} {
		var n int
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows are left in %s, %v", n, table, err)
		}
	}
}

// turns: a batch of one sender does not hold up another's message, also where
// one is claimed at a time.
func turns(t *testing.T, url string) {
	s, _ := opened(t, url, "one")
	for range 20 {
		put(t, s, envelope("batch@example.com", "up"), strings.NewReader("x\r\n"))
	}
	late := put(t, s, envelope("ann@example.com", "up"), strings.NewReader("x\r\n"))
	var order []spool.ID
	for range 3 {
		order = append(order, claimed(t, s, "up", 1)[0].ID)
	}
	if order[0] != late && order[1] != late && order[2] != late {
		t.Errorf("%v waits behind %v", late, order)
	}
}

// lostAnswer: a commit whose answer was lost is asked for, and never told as it
// wasn't.
func lostAnswer(t *testing.T, url string) {
	s, net := opened(t, url, "one")
	told, refusedIDs := map[spool.ID]bool{}, map[spool.ID]bool{}
	for n := range 30 {
		d, err := s.Create(t.Context())
		if err != nil {
			continue
		}
		io.WriteString(d, "x\r\n")
		cut := make(chan bool)
		go func() {
			time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
			net.Cut(true)
			net.Cut(false)
			close(cut)
		}()
		env := envelope("a@example.com", "up")
		if n%3 == 0 {
			env.Key = &spool.Key{Name: spool.NameKey("s", fmt.Sprint(n)), Until: time.Now().Add(time.Hour), Share: uint32(n)}
		}
		if err := d.Commit(t.Context(), env); err == nil {
			told[d.ID()] = true
		} else {
			refusedIDs[d.ID()] = true
		}
		<-cut
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for s.flush(ctx) != nil && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	all := func(sum spool.Summary) bool {
		if refusedIDs[sum.ID] {
			t.Errorf("%v was refused and is there", sum.ID)
		}
		delete(told, sum.ID)
		return true
	}
	err := s.Find(ctx, spool.Query{}, all)
	for pgconn.SafeToRetry(err) && ctx.Err() == nil { // it got a connection that was cut
		err = s.Find(ctx, spool.Query{}, all)
	}
	if err != nil || len(told) > 0 {
		t.Errorf("%d were accepted and are not there, %v", len(told), err)
	}
}

// lostClaim: claims of which this relay never heard are no attempts.
func lostClaim(t *testing.T, url string) {
	s, _ := opened(t, url, "one")
	id := put(t, s, envelope("a@example.com", "up"), strings.NewReader("x\r\n"))
	d := claimed(t, s, "up", 1)[0]
	s.mu.Lock()
	delete(s.claims, int64(d.Token.Claim)) // as if the answer had been lost
	s.mu.Unlock()
	s.unsure("up", errClosed)
	if due, ok, err := s.NextDue(t.Context(), "up"); ok || err != nil {
		t.Errorf("due %v, %v", due, err)
	}
	woken := make(chan bool, 1)
	s.OnWork(func(string, time.Time) { woken <- true })
	if err := s.undoAll(t.Context()); err != nil { // as after each heartbeat
		t.Fatal(err)
	}
	<-woken
	again := claimed(t, s, "up", 1)
	if len(again) != 1 || again[0].ID != id || again[0].Attempt != 1 {
		t.Errorf("%+v", again)
	}
}

// othersAreTold: a message that another relay accepts wakes the one that has the
// lane, and not after seconds.
func othersAreTold(t *testing.T, url string) {
	one, _ := opened(t, url, "one")
	two, _ := opened(t, url, "two")
	if _, err := one.Lease(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	woken := make(chan string, 10)
	one.OnWork(func(upstream string, _ time.Time) { woken <- upstream })
	begun := time.Now()
	put(t, two, envelope("a@example.com", "up"), strings.NewReader("x\r\n"))
	select {
	case upstream := <-woken:
		if upstream != "up" {
			t.Errorf("woken for %q", upstream)
		}
		t.Logf("woken after %v", time.Since(begun))
	case <-time.After(4 * time.Second): // before lanes are looked at without being told
		t.Error("nobody was woken")
	}
}

// outbox: settlements that the database did not take are written in order once it
// is back, and those of a lane that was lost meanwhile change nothing.
func postponed(t *testing.T, url string) {
	s, net := opened(t, url, "one")
	var events sync.Map
	s.opts.Events = func(e Event) { events.Store(fmt.Sprintf("%T", e), true) }
	for range 10 {
		put(t, s, envelope("a@example.com", "up"), strings.NewReader("x\r\n"))
	}
	ds := claimed(t, s, "up", 10)
	net.Cut(true)
	for _, d := range ds[:9] {
		if _, err := s.Settle(t.Context(), d, spool.Settlement{Outcomes: []spool.Outcome{accepted}}); err == nil {
			t.Error("settled without a database")
		}
	}
	net.Cut(false)
	end := time.Now().Add(10 * time.Second)
	for {
		_, caught := events.Load("*postgres.CaughtUp")
		if caught || time.Now().After(end) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if u, err := s.Usage(t.Context()); err != nil || u.Shares != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	for _, kind := range []string{"*postgres.Behind", "*postgres.CaughtUp"} {
		if _, ok := events.Load(kind); !ok {
			t.Errorf("nobody was told %s", kind)
		}
	}
}

// manySenders are claimed in one go, each once, before any of them twice.
func manySenders(t *testing.T, url string) {
	s, _ := opened(t, url, "one")
	for n := range 40 {
		env := envelope(fmt.Sprintf("s%d@example.com", n%10), "up")
		put(t, s, env, strings.NewReader("x\r\n"))
	}
	seen := map[string]int{}
	for _, d := range claimed(t, s, "up", 10) {
		seen[d.Envelope.From]++
	}
	if len(seen) < 9 { // two of the names may have one number
		t.Errorf("%v", seen)
	}
}

// facts are what relays have in common, and what rates have counted is written by
// the relay that has the lane.
func facts(t *testing.T, url string) {
	one, _ := opened(t, url, "one")
	two, _ := opened(t, url, "two")
	a, b := one.State(), two.State()
	pause := spool.Fact{Kind: spool.KindPause, Name: "up"}
	if _, err := a.Read(t.Context(), pause); !errors.Is(err, fs.ErrNotExist) || a.Has(pause) {
		t.Errorf("%v", err)
	}
	if err := a.Write(t.Context(), pause, []byte("yes")); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Read(t.Context(), pause); err != nil || string(got) != "yes" || !b.Has(pause) {
		t.Errorf("%q, %v", got, err)
	}
	if err := a.Write(t.Context(), pause, make([]byte, pause.Kind.Limit()+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(t.Context(), pause); !errors.Is(err, spool.ErrForm) {
		t.Errorf("too long: %v", err)
	}
	if where, err := b.SetAside(t.Context(), pause); err != nil || where == "" || a.Has(pause) {
		t.Errorf("%q, %v", where, err)
	}
	for _, err := range []error{a.Remove(t.Context(), pause), second(a.SetAside(t.Context(), pause))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	rates := spool.Fact{Kind: spool.KindRates, Name: "up"}
	if _, err := one.Lease(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	for _, st := range []*State{a, b} {
		if err := st.Write(t.Context(), rates, []byte(map[*State]string{a: "one", b: "two"}[st])); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.Read(t.Context(), rates); err != nil || string(got) != "one" {
		t.Errorf("the rates are those of %q, %v", got, err)
	}
	unlock, err := a.Lock(t.Context(), rates)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Lock(ctx, rates); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	unlock, err = b.Lock(t.Context(), rates)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func second(_ string, err error) error { return err }
