package intake

import (
	"io"
	"log"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	smtp "github.com/emersion/go-smtp"
)

// TestHostileDifferential sends what hostile clients send to go-smtp's stock
// server as well. Each difference, in the reply codes or in what is kept, has
// a reason in hostileDifferences.
func TestHostileDifferential(t *testing.T) {
	known := 0
	for _, c := range hostileCases() {
		t.Run(c.name, func(t *testing.T) {
			replies, kept := attack(t, nil, c.input, false)
			ours := codesOf(replies) + "\n" + describeKept(kept)
			theirs := attackStock(t, c.input)
			why, differs := hostileDifferences[c.name]
			if differs {
				known++
			}
			switch {
			case ours != theirs && !differs:
				t.Errorf("an unexplained difference\nengine: %s\nstock:  %s", ours, theirs)
			case ours == theirs && differs:
				t.Errorf("no difference any more, but the table says: %s", why)
			}
		})
	}
	if known != len(hostileDifferences) {
		t.Errorf("%d differences are explained, %d cases have one", len(hostileDifferences), known)
	}
}

// attackStock is attack on the stock server. What it keeps need not hold
// what ours has to.
func attackStock(t *testing.T, input string) (outcome string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, st, stop := newStock(t)
		defer stop()
		srv.ReadTimeout, srv.WriteTimeout = 5*time.Minute, 5*time.Minute
		ln := newOneListener("127.0.0.1:40000")
		done := make(chan struct{})
		go func() { srv.Serve(ln); close(done) }()
		ln.client.Write([]byte(input))
		time.Sleep(time.Hour)
		synctest.Wait()
		srv.Close()
		<-done
		synctest.Wait()
		h := ln.client.(*pipe).in
		h.mu.Lock()
		outcome = codesOf(string(h.buf)) + "\n" + describeKept(st.all())
		h.mu.Unlock()
	})
	return outcome
}

// newStock is go-smtp's server, with the sessions and the settings of ours.
func newStock(t *testing.T) (*smtp.Server, *store, func()) {
	t.Helper()
	st := &store{}
	s := newServer(st, nil, nil)
	use(t, s, testRoutes(t))
	l := testListener()
	be, _, err := s.stock(&l)
	if err != nil {
		t.Fatal(err)
	}
	srv := smtp.NewServer(be)
	srv.Domain, srv.MaxMessageBytes, srv.MaxRecipients = "mx.example.com", l.MaxMessageSize, l.MaxRecipients
	srv.EnableSMTPUTF8, srv.EnableDSN, srv.EnableBINARYMIME = true, true, true
	srv.EnableDELIVERBY, srv.EnableMTPRIORITY, srv.EnableREQUIRETLS = true, true, true
	srv.ErrorLog = log.New(io.Discard, "", 0)
	return srv, st, func() { s.Close() }
}

// codesOf is the code of each reply.
func codesOf(replies string) string {
	var codes []string
	for line := range strings.SplitSeq(replies, "\r\n") {
		if len(line) > 3 && line[3] == ' ' {
			codes = append(codes, line[:3])
		}
	}
	return strings.Join(codes, " ")
}

// hostileDifferences says why the stock server does otherwise: an RFC section,
// or a trap that it falls into.
var hostileDifferences = byName([]difference{
	{"RFC 5321 §4.2.4: an unknown command is 500; the stock server says 501 to what has no blank behind four letters",
		[]string{"random bytes", "telnet negotiation", "SSH banner", "XCLIENT", "blank before the verb", "tab after the verb", "verb with a dotless i"}},
	{"trap: a browser, or any program that speaks something else, can deliver",
		[]string{"HTTP GET", "HTTP PUT", "HTTP/2 preface", "header first", "form post in the middle", "TLS hello", "TLS after EHLO", "BDAT HTTP", "STARTTLS not offered"}},
	{"trap: the EHLO name isn't checked (RFC 5321 §4.1.1.1)",
		[]string{"EHLO with CR", "EHLO with NUL", "EHLO of 300 octets", "EHLO of a label of 64", "EHLO comment", "EHLO with semicolon", "EHLO 8-bit"}},
	{"RFC 5321 §4.1.2: no control byte in a command; here 500 before the path is looked at, there 501 by the adapter",
		[]string{"sender with CR", "sender with NUL", "sender with tab", "quote with control", "recipient with CR"}},
	{"trap: an address has no longest length (RFC 5321 §4.5.3.1.3)",
		[]string{"sender of 1,500 octets", "sender of 255 octets", "recipient of 1,500 octets"}},
	{"trap: the quotes are lost, so what arrives is no address",
		[]string{"quoted command", "mapped sender with another behind a quoted @"}},
	{"RFC 5321 §4.1.2: what follows a path is an error of its form, 501 and not 500",
		[]string{"two senders"}},
	{"trap: a source route is cut off at the first colon, whatever stands in it (RFC 5321 §4.1.2)",
		[]string{"source route malformed"}},
	{"trap: AUTH= may decode to CR LF",
		[]string{"AUTH decodes to CRLF"}},
	{"RFC 3461 §4.4 and §4.2: an ENVID has 100 octets at most, an ORCPT 500",
		[]string{"ENVID of 101 octets", "ORCPT of 600 octets"}},
	{"RFC 5321 §4.1.1.11: which of two would hold?",
		[]string{"a hundred parameters"}},
	{"RFC 1870 §6.1: too large is 552; SIZE is parsed into 32 bits there",
		[]string{"SIZE overflow"}},
	{"RFC 2852 §4, RFC 4865 §5 and RFC 6710 §3: BY, HOLDFOR, HOLDUNTIL and MT-PRIORITY are parameters of MAIL, which the stock server doesn't know",
		[]string{"MT-PRIORITY overflow", "BY overflow", "HOLDFOR overflow", "HOLDUNTIL of year 99999"}},
	{"RFC 8689 §4.1: REQUIRETLS means something under TLS only",
		[]string{"REQUIRETLS in clear"}},
	{"trap: what is too large is read for as long as it lasts",
		[]string{"endless message"}},
	{"RFC 5321 §4.5.3.1.6: a line of content beyond 1,000 octets is passed on; the stock server closes at 2,000",
		[]string{"endless line in the body", "header line of 300 KB"}},
	{"trap: a time-out inside DATA is answered by 554, and the connection goes on with commands",
		[]string{"data without end", "dot without CRLF"}},
	{"trap: a chunk that arrives in one piece is too long a line (RFC 3030 §2: it has none)",
		[]string{"BDAT of a single long line"}},
	{"trap: a malformed BDAT makes what follows run as commands",
		[]string{"BDAT without size", "BDAT negative", "BDAT plus", "BDAT overflow", "BDAT 2^63-1", "BDAT huge out of order", "BDAT with junk", "BDAT LASTING", "BDAT malformed second"}},
	{"RFC 3030 §2: 503 out of order, not 502",
		[]string{"BDAT then DATA", "BDAT EHLO", "BINARYMIME by DATA"}},
	{"trap: no bound on errors and on what does nothing",
		[]string{"BDAT out of order many times", "NOOP flood", "RSET flood", "EHLO flood", "VRFY flood", "RCPT flood", "MAIL flood", "empty lines"}},
	{"trap: at a time-out or a close the beginning of a line is taken for a whole command",
		[]string{"BDAT cut in the command", "BDAT of commands"}},
	{"RFC 5321 §4.2.4: 523 would send the client to STARTTLS, which isn't offered either",
		[]string{"AUTH not offered"}},
	{"trap: commands behind QUIT and behind too many errors still run, and deliver",
		[]string{"QUIT and on", "errors and on"}},
	{"trap: lines that end in a bare LF or CR are taken (RFC 5321 §2.3.8)",
		[]string{"bare LF lines", "bare CR lines"}},
})

type difference struct {
	why   string
	cases []string
}

func byName(groups []difference) map[string]string {
	m := map[string]string{}
	for _, d := range groups {
		for _, name := range d.cases {
			m[name] = d.why
		}
	}
	return m
}
