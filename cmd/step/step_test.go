package step

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/relay/merge"
)

// scripted is a server that answers as told, and keeps what it was sent.
type scripted struct {
	address string
	got     chan string // all of one connection
}

// serve answers each line by answer, which may return "" for none; data is the
// text of a message up to the dot.
func serve(t *testing.T, extensions string, answer func(line string) string) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &scripted{l.Addr().String(), make(chan string, 10)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if said := converse(c, extensions, answer); len(s.got) < cap(s.got) {
					s.got <- said
				}
			}()
		}
	}()
	return s
}

// greeting is that of a Postern, unless a test says otherwise.
var greeting = "relay.example.com ESMTP Postern"

func converse(c net.Conn, extensions string, answer func(line string) string) string {
	defer c.Close()
	var all strings.Builder
	in := bufio.NewReader(io.TeeReader(c, &all))
	fmt.Fprint(c, "220 "+greeting+"\r\n")
	data := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return all.String()
		}
		line = strings.TrimRight(line, "\r\n")
		reply := answer(line)
		var n int
		switch {
		case data && line != ".":
			continue
		case data:
			data = false
		case strings.HasPrefix(line, "EHLO"):
			reply = "250-hello\r\n" + extensions + "250 HELP"
		case strings.HasPrefix(line, "BDAT"):
			fmt.Sscanf(line, "BDAT %d", &n)
			if _, err := io.CopyN(io.Discard, in, int64(n)); err != nil {
				return all.String()
			}
		case line == "DATA" && reply == "":
			data, reply = true, "354 go on"
		case line == "QUIT":
			return all.String()
		}
		if reply == "" {
			reply = "250 2.0.0 queued as id1"
		}
		if reply == "drop" {
			return all.String()
		}
		fmt.Fprint(c, reply+"\r\n")
	}
}

func letter(text string) *envelope {
	return &envelope{from: "a@example.com", to: []string{"b@example.org", "c@example.org"}, key: "k1", size: int64(len(text)), body: writes(text)}
}

// writes is a message that is its text.
type writes string

func (w writes) WriteTo(to io.Writer) (int64, error) {
	n, err := io.WriteString(to, string(w))
	return int64(n), err
}

// TestTransactions: what is said to servers of different abilities, and what
// their answers mean.
func TestTransactions(t *testing.T) {
	const text = "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"
	yes := func(string) string { return "" }
	no := func(prefix, reply string) func(string) string {
		return func(line string) string {
			if strings.HasPrefix(line, prefix) {
				return reply
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		extensions string
		answer     func(string) string
		id, err    string
		temporary  bool
		sent       []string
	}{
		"plain":     {"", yes, "id1", "", false, []string{"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n", "\r\n..dot\r\n...two\r\nend\r\n.\r\n", "Postern-Idempotency-Key: k1\r\nSubject: x\r\n"}},
		"chunks":    {"250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 1000\r\n", yes, "id1", "", false, []string{"MAIL FROM:<a@example.com> SIZE=32\r\n", "BDAT 61 LAST\r\nPostern", "\r\n.dot\r\n..two\r\n"}},
		"repeated":  {"", no(".", "250 2.0.0 queued before as id9"), "id9", "", false, nil},
		"recipient": {"250-PIPELINING\r\n250-CHUNKING\r\n", no("RCPT TO:<c", "550 5.7.1 no route"), "", "550 5.7.1 no route", false, []string{"RSET"}},
		"sender":    {"", no("MAIL", "451 4.3.0 later"), "", "451 4.3.0 later", true, []string{"RSET"}},
		"content":   {"250-CHUNKING\r\n", no("BDAT", "554 5.6.0 no"), "", "554 5.6.0 no", false, nil},
		"full":      {"", no("DATA", "452 4.3.1 full"), "", "452 4.3.1 full", true, nil},
		"closing":   {"", no("MAIL", "421 4.3.2 stopping"), "", "421 4.3.2 stopping", true, nil},
		"gone":      {"", no("DATA", "drop"), "", "the relay did not answer: EOF", true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.extensions, c.answer)
			pool := newSessions(s.address, "me.example.com")
			a := pool.submit(context.Background(), letter(text))
			pool.close()
			got := ""
			if a.err != nil {
				got = a.err.Error()
				if a.err.Temporary != c.temporary {
					t.Errorf("temporary: %v", a.err.Temporary)
				}
			}
			if a.id != c.id || got != c.err {
				t.Errorf("id %q, error %q", a.id, got)
			}
			said := <-s.got
			for _, want := range c.sent {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in %q", want, said)
				}
			}
		})
	}
}

// TestBroken: a message that can't be written is not the relay's fault, and is
// never taken for a whole one.
func TestBroken(t *testing.T) {
	for _, extensions := range []string{"", "250-CHUNKING\r\n"} {
		s := serve(t, extensions, func(string) string { return "" })
		pool := newSessions(s.address, "me.example.com")
		m := letter("")
		m.body = breaks{}
		a := pool.submit(context.Background(), m)
		pool.close()
		if a.err == nil || a.err.Temporary || a.err.Away || a.err.Text != "the file has changed" {
			t.Errorf("%+v", a)
		}
		if said := <-s.got; strings.Contains(said, "LAST") || strings.HasSuffix(said, "\r\n.\r\n") {
			t.Errorf("it was ended: %q", said)
		}
	}
}

type breaks struct{}

func (breaks) WriteTo(w io.Writer) (int64, error) {
	n, _ := io.WriteString(w, "Subject: x\r\n")
	return int64(n), errors.New("the file has changed")
}

// TestLargeInChunks: a message of several chunks arrives whole.
func TestLargeInChunks(t *testing.T) {
	s := serve(t, "250-CHUNKING\r\n250-PIPELINING\r\n", func(string) string { return "" })
	pool := newSessions(s.address, "me.example.com")
	text := strings.Repeat("0123456789abcdef\r\n", 60_000)
	m := letter(text)
	m.body = pieces(text)
	if a := pool.submit(context.Background(), m); a.err != nil {
		t.Fatal(a.err)
	}
	pool.close()
	said := <-s.got
	if n := strings.Count(said, "0123456789abcdef\r\n"); n < 59_990 || strings.Count(said, "BDAT ") < 4 {
		t.Errorf("%d lines in %d chunks", n, strings.Count(said, "BDAT "))
	}
}

type pieces string

func (p pieces) WriteTo(w io.Writer) (int64, error) {
	for rest := string(p); rest != ""; {
		n := min(len(rest), 50_000)
		if _, err := io.WriteString(w, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return int64(len(p)), nil
}

// TestRaw: the header of a finished message, and its line ends.
func TestRaw(t *testing.T) {
	for name, c := range map[string]struct {
		in, from, to, out string
		args              []string
		err               string
	}{
		"LF":       {in: "From: A <a@example.com>\nTo: b@example.org\n\nx\ny", from: "a@example.com", to: "b@example.org", out: "From: A <a@example.com>\r\nTo: b@example.org\r\n\r\nx\r\ny\r\n"},
		"PHP":      {in: "From: a@example.com\r\nTo: b@example.org\r\n\r\nx\ny\r\n", from: "a@example.com", to: "b@example.org", out: "From: a@example.com\r\nTo: b@example.org\r\n\r\nx\r\ny\r\n"},
		"Bcc":      {in: "From: a@example.com\nBcc: b@example.org,\n c@example.org\nSubject: s\n\n", from: "a@example.com", to: "b@example.org c@example.org", out: "From: a@example.com\r\nSubject: s\r\n\r\n"},
		"hidden":   {in: "From: a@example.com\nTo: undisclosed-recipients:;\nBcc: b@example.org\n\n", from: "a@example.com", to: "b@example.org", out: "From: a@example.com\r\nTo: undisclosed-recipients:;\r\n\r\n"},
		"twice":    {in: "From: a@example.com\nTo: b@example.org\nCc: b@example.org\n\n", from: "a@example.com", to: "b@example.org", out: "From: a@example.com\r\nTo: b@example.org\r\nCc: b@example.org\r\n\r\n"},
		"nobody":   {in: "From: a@example.com\n\n", err: "to: the header names nobody"},
		"no field": {in: "hello\n\n", err: `standard input: cannot be read: the header has a line that is no field: "hello"`},
		"bad":      {in: "From: a@example.com\nTo: b@@example.org\n\n", err: "to: b@@example.org is no list of addresses\nto: the header names nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Raw{FromHeader: true, To: c.args}
			err := m.Read(strings.NewReader(c.in))
			defer m.Close()
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			var b bytes.Buffer
			if _, werr := m.WriteTo(&b); err != nil || werr != nil {
				t.Fatal(err, werr)
			}
			if m.From != c.from || strings.Join(m.To, " ") != c.to || b.String() != c.out {
				t.Errorf("from %s to %s: %q", m.From, m.To, b.String())
			}
		})
	}
}

// TestFields: FILE[:NAME[:TYPE]], with colons in templates and in names.
func TestFields(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a_b", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"x.pdf":                     "x.pdf||",
		"x.pdf:n.pdf":               "x.pdf|n.pdf|",
		"x.pdf:n.pdf:text/plain":    "x.pdf|n.pdf|text/plain",
		`{{date "15:04" .now}}:n`:   `{{date "15:04" .now}}|n|`,
		"x.pdf::application/pdf":    "x.pdf||application/pdf",
		filepath.Join(".", "a_b:n"): "a_b|n|",
	} {
		got, err := fields("--attach", value, 3)
		if err != nil || strings.Join(got[:], "|") != want {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
	if _, err := fields("--attach", "a:b:c:d", 3); err == nil {
		t.Error("four parts were taken")
	}
}

// TestStopped: a run that is stopped tells of every message that was not sent.
func TestStopped(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("email\n")
	for i := range 500 {
		fmt.Fprintf(&rows, "u%d@example.org\n", i)
	}
	step := &merge.Step{From: "a@example.com", To: []string{"{{.email}}"}, Text: merge.Content{Set: true, Text: "x"}, Rows: merge.Rows{File: "-"}}
	p, err := merge.Prepare(context.Background(), step, merge.Options{Stdin: strings.NewReader(rows.String())})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := serve(t, "250-PIPELINING\r\n250-CHUNKING\r\n", func(string) string { return "" })
	relay := SMTP(s.address, "me")
	defer relay.Close()
	n := 0
	total, err := Send(ctx, p, relay, func(r *Result) error {
		if n++; n == 20 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 500 || total.Queued < 20 || total.Queued+total.NotSent+total.Deferred != 500 || total.NotSent == 0 {
		t.Errorf("%v, %d results: %s", err, n, total)
	}
}
