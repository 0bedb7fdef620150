package submission

import (
	"testing"

	"postern/relay/origin"
)

func TestWhoCausesAnEvent(t *testing.T) {
	connection := func() origin.Key { return origin.Local(1000) }
	for _, c := range []struct {
		client Client
		want   origin.Key
	}{
		{Client{Peer: "unix:app", Connection: connection}, origin.Local(1000)},
		{Client{User: "ann", Connection: connection}, origin.User("ann")},
		{Client{}, origin.Key{}},
	} {
		if got := c.client.Origin(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
