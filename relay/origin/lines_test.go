package origin

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// take asks n times and returns how many are told.
func take(l *Lines, k Key, kind string, n int) (told int) {
	for range n {
		if ok, _ := l.Take(k, kind); ok {
			told++
		}
	}
	return told
}

func TestLinesOfOneOrigin(t *testing.T) {
	l := NewLines()
	loud, quiet := Local(1000), User("quiet")
	if _, first := l.Take(loud, "refused"); !first {
		t.Error("the first is not the first")
	}
	if _, first := l.Take(quiet, "refused"); first {
		t.Error("the second is the first")
	}
	if n := 1 + take(l, loud, "refused", 4999); n != linesOfOne {
		t.Errorf("%d of 5,000 are told", n)
	}
	if n := take(l, loud, "abuse", 1); n != 1 {
		t.Error("the first of another kind is not told")
	}
	if n := 1 + take(l, quiet, "refused", 9); n != linesOfOne {
		t.Errorf("of another origin %d of 10 are told", n)
	}
	if n := take(l, Local(1000), "refused", 10); n != 0 {
		t.Error("another address of loopback helps")
	}
	want := []Untold{{"uid 1000", "refused", 5000 - linesOfOne + 10}}
	if got := l.End(); !slices.Equal(got, want) {
		t.Errorf("untold: %+v, want %+v", got, want)
	}
	if n := take(l, loud, "refused", 10); n != linesOfOne {
		t.Errorf("after the end %d of 10 are told", n)
	}
	if got := l.End(); len(got) != 0 {
		t.Errorf("untold: %+v", got)
	}
}

func TestLinesOfManyOrigins(t *testing.T) {
	l := NewLines()
	told := 0
	const origins, each = 50_000, 3
	for i := range origins {
		told += take(l, Address(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), "refused", each)
	}
	if told != linesOfAll {
		t.Errorf("%d lines are told", told)
	}
	if n := len(l.one); n > linesOfAll {
		t.Errorf("%d origins are remembered", n)
	}
	if n := take(l, Address(netip.MustParseAddr("10.255.0.1")), "abuse", 1); n != 1 {
		t.Error("the first of another kind is not told")
	}
	if n := take(l, User("ann"), "refused", 1); n != 1 {
		t.Error("a user is not told among addresses")
	}
	sum := 0
	list := l.End()
	for _, u := range list {
		sum += u.Count
	}
	if sum != origins*each-told || len(list) > linesOfAll+1 || list[0].Origin != "other addresses" {
		t.Errorf("%d untold in %d, first %+v", sum, len(list), list[0])
	}
}

// A dozen origins that are as loud as they may be leave something for others.
func TestLinesLeaveSomethingForEverybody(t *testing.T) {
	l := NewLines()
	for i := range linesOfAll / linesOfOne {
		take(l, User(fmt.Sprint("loud ", i)), "refused", 1000)
	}
	if n := take(l, User("ann"), "refused", 10); n != 1 {
		t.Errorf("%d lines of a newcomer", n)
	}
}

func TestKeysInWords(t *testing.T) {
	for want, k := range map[string]Key{
		"":                  {},
		"192.0.2.1":         Address(netip.MustParseAddr("::ffff:192.0.2.1")),
		"2001:db8:0:1::/64": Address(netip.MustParseAddr("2001:db8:0:1::5")),
		"::1":               Address(netip.MustParseAddr("::1")),
		"uid 1000":          Local(1000),
		"user ann":          User("ann"),
	} {
		if got := k.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
