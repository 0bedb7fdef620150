package statefile

import (
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/spool"
)

var kinds = []spool.Kind{spool.KindRates, spool.KindPause, spool.KindTLS, spool.KindToken}

// The files that daemons of today look for.
func TestPlaces(t *testing.T) {
	s := &State{Dir: "state"}
	for f, want := range map[spool.Fact]string{
		{Kind: spool.KindRates, Name: "office-2"}: "state/budget/office-2",
		{Kind: spool.KindPause, Name: "office-2"}: "state/pause/office-2",
		{Kind: spool.KindTLS, Name: "office-2"}:   "state/tls/upstream-office-2.json",
		{Kind: spool.KindToken, Name: "office-2"}: "state/oauth/upstream-office-2.token",
		{Kind: spool.KindTokenKey}:                "state/oauth/key",
	} {
		if got := filepath.ToSlash(s.Where(f)); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		_, x := s.place(spool.Fact{Kind: kind, Name: a})
		_, y := s.place(spool.Fact{Kind: kind, Name: b})
		if a != b && strings.EqualFold(x, y) || filepath.Base(x) != x || len(x) > 200 {
			t.Fatalf("%q and %q", x, y)
		}
	})
}
