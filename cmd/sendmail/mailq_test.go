package sendmail

import (
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
)

// The form is Postfix's, which monitoring reads.
func TestQueue(t *testing.T) {
	var out strings.Builder
	q := &Queue{Out: &out}
	at := time.Date(2026, 11, 8, 7, 4, 5, 0, time.Local)
	for _, e := range []control.Entry{
		{ID: "1hv1y4bnfw8xc", Size: 1500, Accepted: at, From: "root@example.com", To: []string{"ann@example.org", "bob@example.org"}, State: control.Deferred,
			Last: &control.Answer{Cause: "connection refused\x1b[31m"}},
		{ID: "1hv1y4bnfw8xc", Size: 1500, Accepted: at, From: "root@example.com", To: []string{"c@example.net"}, State: control.Deferred,
			Last: &control.Answer{Code: 451, Enhanced: "4.3.0", Text: "later"}},
		{ID: "1hv1y4bnfw8xd", Size: 100, Accepted: at, To: []string{"d@example.net"}, State: control.Held},
	} {
		if err := q.Entry(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.End(); err != nil {
		t.Fatal(err)
	}
	want := `-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
1hv1y4bnfw8xc      1500 Sun Nov  8 07:04:05  root@example.com
(connection refused?[31m)
                                         ann@example.org
                                         bob@example.org
(451 4.3.0 later)
                                         c@example.net

1hv1y4bnfw8xd!      100 Sun Nov  8 07:04:05  MAILER-DAEMON
                                         d@example.net

-- 2 Kbytes in 2 Requests.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if q = (&Queue{Out: &out}); q.End() != nil || out.String() != "Mail queue is empty\n" {
		t.Errorf("empty: %q", out.String())
	}
}
