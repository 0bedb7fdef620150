package intake

import (
	"net/textproto"
	"testing"

	"postern/config"
)

// A route's priority counts whatever the client asks for, the highest where
// the recipients take several, and the client's where no route has one.
func TestPriority(t *testing.T) {
	high, low, none := 5, -4, 0
	r := newRig(t, func(l *config.Listener) { l.MaxPriority = 9 },
		config.Route{From: []string{"alerts@any.example"}, Upstream: []string{"up"}, Priority: &high},
		config.Route{From: []string{"*@any.example"}, Header: map[string][]string{"Precedence": {"bulk"}}, Upstream: []string{"up"}, Priority: &low},
		config.Route{From: []string{"*@any.example"}, To: []string{"*@plain.example"}, Upstream: []string{"up"}, Priority: &none})
	c := textproto.NewConn(r.dial(""))
	say := func(code int, line string) {
		t.Helper()
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := c.ReadResponse(code); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	say(220, "")
	say(250, "EHLO app.example")
	for _, m := range []struct {
		from, header string
		to           []string
		want         int
	}{
		{"<alerts@any.example>", "", []string{"a@there.example"}, 5},
		{"<alerts@any.example> MT-PRIORITY=-9", "", []string{"a@there.example"}, 5},
		{"<news@any.example> MT-PRIORITY=9", "Precedence: bulk\r\n", []string{"a@there.example"}, -4},
		{"<news@any.example> MT-PRIORITY=9", "", []string{"a@there.example"}, 9},
		{"<news@any.example> MT-PRIORITY=9", "", []string{"a@there.example", "b@plain.example"}, 0},
		{"<news@any.example>", "Precedence: bulk\r\n", []string{"a@there.example", "b@plain.example"}, -4},
		{"<news@any.example>", "", []string{"a@there.example"}, 0},
	} {
		say(250, "MAIL FROM:"+m.from)
		for _, to := range m.to {
			say(250, "RCPT TO:<"+to+">")
		}
		say(354, "DATA")
		say(250, m.header+"Subject: x\r\n\r\nhello\r\n.")
		all := r.store.all()
		if got := all[len(all)-1].env.Priority; got != m.want {
			t.Errorf("%s to %v with %q has priority %d, want %d", m.from, m.to, m.header, got, m.want)
		}
	}
	say(221, "QUIT")
}
