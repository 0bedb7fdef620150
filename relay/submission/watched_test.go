package submission_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/submission"
)

// TestWatched: what is told of a message names each route with an expect that has
// taken recipients of it once, also one that only the header decides.
func TestWatched(t *testing.T) {
	cfg := &config.Config{Hostname: "mx.example.com", Routes: []config.Route{
		{Name: "late", From: []string{"*"}, Header: map[string][]string{"X-Kind": {"bulk"}}, Upstream: []string{"up"}, Expect: time.Hour},
		{Name: "early", From: []string{"*"}, To: []string{"*@one.example"}, Upstream: []string{"up"}, Expect: time.Hour},
		{Name: "dropped", From: []string{"*"}, To: []string{"*@two.example"}, Upstream: []string{"up"}, Expect: time.Hour,
			Staging: config.Staging{AllowTo: []string{"*@example.com"}, Otherwise: config.OtherwiseDrop}},
		{Name: "rest", From: []string{"*"}, Upstream: []string{"up"}},
	}}
	for _, c := range []struct{ name, to, fields, want string }{
		{"by the header", "a@one.example b@example.net", "X-Kind: bulk\r\n", "late"},
		{"by the recipient, twice", "a@one.example b@one.example c@example.net", "", "early"},
		{"two routes, one of which drops it", "a@one.example b@two.example", "", "early dropped"},
		{"not watched", "c@example.net", "", ""},
	} {
		var got []string
		err := staged(t, cfg, "a@example.com", strings.Fields(c.to), c.fields+"Date: Mon, 01 Jan 2001 07:40:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nhi\r\n",
			submission.Options{Accept: &store{}, Events: func(e submission.Event) {
				if a, ok := e.(*submission.Accepted); ok {
					got = slices.Clone(a.Watched)
				}
			}})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}
