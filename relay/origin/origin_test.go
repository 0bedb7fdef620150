package origin

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeys(t *testing.T) {
	at := func(s string) Key { return Address(netip.MustParseAddr(s)) }
	for _, c := range []struct {
		a, b Key
		same bool
	}{
		{at("127.0.0.2"), at("127.0.0.3"), true},
		{at("192.0.2.2"), at("192.0.2.3"), false},
		{at("192.0.2.1"), at("::ffff:192.0.2.1"), true},
		{at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::1"), true},
		{at("2001:db8:0:1::1"), at("2001:db8:0:2::1"), false},
		{at("fe80::1%eth0"), at("fe80::1%eth1"), true},
		{at("::1"), at("::2"), false},
		{Local(1), User("uid 1"), false},
		{User(""), Key{}, false},
		{Local(1), Local(2), false},
		{Local(1), at("127.0.0.1"), false},
	} {
		if (c.a == c.b) != c.same {
			t.Errorf("%v and %v: same is %t", c.a, c.b, !c.same)
		}
	}
}

// However many of one origin wait, one of another waits for one turn.
func TestTurnsGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		greedy, modest := User("greedy"), User("modest")
		ctx, cancel := context.WithCancel(context.Background())
		if err := turns.Take(ctx, greedy); err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 100)
		take := func(ctx context.Context, k Key, name string) {
			go func() {
				if turns.Take(ctx, k) == nil {
					got <- name
				}
			}()
			synctest.Wait()
		}
		for range 50 {
			take(ctx, greedy, "greedy")
		}
		gone, leave := context.WithCancel(ctx)
		take(gone, modest, "gone")
		take(ctx, modest, "modest")
		leave()
		synctest.Wait()
		turns.Give()
		synctest.Wait()
		turns.Give()
		synctest.Wait()
		if a, b := <-got, <-got; a != "greedy" || b != "modest" {
			t.Errorf("%s was first, %s second", a, b)
		}
		cancel()
		synctest.Wait()
		turns.Give()
		turns.Give()
		if turns.free != 2 || len(turns.order) != 0 || len(turns.waiting) != 0 {
			t.Errorf("left: %d free, %d wait", turns.free, len(turns.waiting))
		}
	})
}

func TestBudgetLeavesSomethingForEverybody(t *testing.T) {
	b := NewBudget(1000)
	one, two := User("one"), User("two")
	taken := func(k Key) (n int64) {
		for b.Take(k, 10) {
			n += 10
		}
		return n
	}
	if n := taken(one); n != 500 {
		t.Errorf("the first got %d of 1000", n)
	}
	if n := taken(two); n != 250 {
		t.Errorf("the second got %d of the 500 that were left", n)
	}
	for i := range 20 {
		if !b.Take(User(fmt.Sprint(i)), 1) {
			t.Errorf("number %d got nothing", i)
		}
	}
	b.Give(one, 500)
	if b.Used() != 270 || len(b.by) != 21 {
		t.Errorf("%d used by %d", b.Used(), len(b.by))
	}
	if none := NewBudget(0); !none.Take(one, 1<<60) {
		t.Error("without a limit there is one")
	}
}

func TestGuesses(t *testing.T) {
	now := time.Unix(1e9, 0)
	g := NewGuesses(100)
	bad, good := User("bad"), User("good")
	wait := func(k Key, user string) time.Duration {
		t.Helper()
		d, ok := g.Wait(k, user, now)
		if !ok {
			return -1
		}
		return d
	}
	for range freeFailures {
		if d := wait(bad, "ann"); d != 0 {
			t.Errorf("one of the first waits %s", d)
		}
		g.Failed(bad, "ann", now)
	}
	for range 20 {
		g.Failed(bad, "ann", now)
	}
	// All at once: they wait one after the other, and then no more is checked.
	checked := 0
	for range 1000 {
		if wait(bad, "ann") >= 0 {
			checked++
		}
	}
	if checked == 0 || checked > 10 {
		t.Errorf("%d of 1000 guesses are checked within half a minute", checked)
	}
	if d := wait(bad, "bob"); d >= 0 {
		t.Errorf("another user name helps: %s", d)
	}
	if d := wait(good, "ann"); d > pauseForUser {
		t.Errorf("from elsewhere she waits %s", d)
	}
	g.Succeeded(good, "ann")
	if d := wait(good, "ann"); d != 0 {
		t.Errorf("where she was right before she waits %s", d)
	}
	if d := wait(good, "bob"); d != 0 {
		t.Errorf("another user waits %s", d)
	}
	now = now.Add(time.Hour)
	if d := wait(bad, "ann"); d != 0 {
		t.Errorf("after an hour it waits %s", d)
	}
	for i := range 10_000 {
		g.Failed(User(fmt.Sprint(i)), fmt.Sprint(i), now)
	}
	if n := len(g.origins.new) + len(g.origins.old); n > 100 {
		t.Errorf("%d origins are remembered", n)
	}
}

func TestRates(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := NewRates(100)
	one, two := User("one"), User("two")
	take := func(k Key, n int) bool {
		_, ok := r.Take(k, "10/1m", n, 10, time.Minute, now)
		return ok
	}
	for range 10 {
		if !take(one, 1) {
			t.Error("not all of the ten at once")
		}
	}
	if take(one, 1) {
		t.Error("an eleventh")
	}
	if !take(two, 10) {
		t.Error("another origin's was used up")
	}
	now = now.Add(6 * time.Second)
	if !take(one, 1) || take(one, 1) {
		t.Error("not one came back after six seconds")
	}
	if take(two, 11) {
		t.Error("more than there ever is")
	}
}

// What is shared out goes by the network of 48 bits of IPv6.
func TestWideOrigins(t *testing.T) {
	at := func(s string) Key { return Address(netip.MustParseAddr(s)) }
	for _, c := range []struct {
		a, b Key
		same bool
	}{
		{at("2001:db8:1:1::1"), at("2001:db8:1:2::1"), true},
		{at("2001:db8:1::1"), at("2001:db8:1:ffff::1"), true},
		{at("2001:db8:1::1"), at("2001:db8:2::1"), false},
		{at("192.0.2.1"), at("192.0.2.2"), false},
		{at("::ffff:192.0.2.1"), at("192.0.2.1"), true},
		{at("::1"), at("::2"), false},
		{User("ann"), User("bob"), false},
		{Local(1), Local(1), true},
		{Key{}, Key{}, true},
	} {
		if got := c.a.Wide() == c.b.Wide(); got != c.same {
			t.Errorf("%v and %v: the same is %v", c.a, c.b, got)
		}
		if w := c.a.Wide(); w != w.Wide() {
			t.Errorf("%v is wider than %v", w.Wide(), w)
		}
	}
	if got := at("2001:db8:1:2::1").Wide().String(); got != "2001:db8:1::/48" {
		t.Error(got)
	}
}

// 500 networks of one customer leave an address of IPv4 memory and turns.
func TestManyNetworksAreOneCustomer(t *testing.T) {
	b, turns := NewBudget(1<<20), NewTurns(1)
	if err := turns.Take(t.Context(), Key{}); err != nil {
		t.Fatal(err)
	}
	network := func(i int) Key {
		return Address(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, byte(i >> 8), byte(i), 15: 1}))
	}
	var order []string
	var mu sync.Mutex
	var all sync.WaitGroup
	wait := func(k Key, name string) {
		all.Go(func() {
			if turns.Take(t.Context(), k) == nil {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				turns.Give()
			}
		})
		time.Sleep(100 * time.Microsecond) // they stand in this order, nearly
	}
	for i := range 500 {
		for b.Take(network(i), 1000) {
		}
		wait(network(i), "one of many")
	}
	v4 := Address(netip.MustParseAddr("192.0.2.1"))
	if !b.Take(v4, 200_000) {
		t.Error("no memory is left")
	}
	wait(v4, "the other")
	time.Sleep(10 * time.Millisecond)
	turns.Give()
	all.Wait()
	if at := slices.Index(order, "the other"); at > 2 {
		t.Errorf("the other came as number %d", at)
	}
}
