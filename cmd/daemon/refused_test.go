package daemon

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/cmd/control"
	"postern/queue"
	"postern/spool/journal"
)

// noNull refuses MAIL FROM:<>.
type noNull struct{ smtp.Session }

func (noNull) NewSession(*smtp.Conn) (smtp.Session, error) { return noNull{}, nil }
func (noNull) Reset()                                      {}
func (noNull) Logout() error                               { return nil }
func (noNull) Mail(from string, _ *smtp.MailOptions) error {
	if from == "" {
		return &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 1, 7}, Message: "Invalid MAIL FROM address provided"}
	}
	return nil
}

// An upstream that refuses MAIL FROM:<> is no quiet loss of bounces: the status
// names the route that mends it.
func TestStatusNamesARouteForTheNullSender(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(noNull{})
	go server.Serve(l) // ends with Close
	t.Cleanup(func() { server.Close() })
	_, socket := start(t, fmt.Sprintf("host = \"127.0.0.1\"\nport = %d\ntls = \"off\"", l.Addr().(*net.TCPAddr).Port),
		func(s *journal.Store) { queueOne(t, s, "sink", false) })
	var last control.Lane
	for range 200 {
		st, err := control.Dial(socket).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last = st.Lanes[0]; len(last.RefusedSenders) > 0 {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	if !slices.Equal(last.RefusedSenders, []string{""}) || last.State != queue.Up {
		t.Fatalf("%+v", last)
	}
	if a := last.Advice; a == nil || !strings.Contains(a.Remedy, `from = ["<>"]`) {
		t.Errorf("the advice is %+v", a)
	}
	var waits string
	if err := control.Dial(socket).List(t.Context(), control.Filter{}, func(e *control.Entry) error {
		waits = e.Waits
		return nil
	}); err != nil || !strings.HasPrefix(waits, `the upstream "sink" refuses the sender <>`) {
		t.Errorf("the list says %q, %v", waits, err)
	}
}
