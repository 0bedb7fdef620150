package sendmail

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRead(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, c := range []struct {
		name, in   string
		ignoreDots bool
		to, want   string
	}{
		{"LF", "To: a@x\nSubject: s\n\nhello\n", true, "a@x", "To: a@x\r\nSubject: s\r\n\r\nhello\r\n"},
		{"php 8: header CRLF, body LF", "To: a@x\r\nSubject: s\r\n\r\none\ntwo\r\n", true, "a@x", "To: a@x\r\nSubject: s\r\n\r\none\r\ntwo\r\n"},
		{"bare CR", "To: a@x\r\rold mac\r", true, "a@x", "To: a@x\r\n\r\nold mac\r\n"},
		{"no end", "To: a@x\n\nhello", true, "a@x", "To: a@x\r\n\r\nhello\r\n"},
		{"dot ends", "To: a@x\n\none\n.\ntwo\n", false, "a@x", "To: a@x\r\n\r\none\r\n"},
		{"dot ends without line end", "To: a@x\n\none\n.", false, "a@x", "To: a@x\r\n\r\none\r\n"},
		{"dot with CRLF ends", "To: a@x\r\n\r\none\r\n.\r\ntwo\r\n", false, "a@x", "To: a@x\r\n\r\none\r\n"},
		{"dot stays with -i", "To: a@x\n\none\n.\ntwo\n", true, "a@x", "To: a@x\r\n\r\none\r\n.\r\ntwo\r\n"},
		{"doubled dots without -i", "To: a@x\n\n..one\n.two\n...\n", false, "a@x", "To: a@x\r\n\r\n.one\r\n.two\r\n..\r\n"},
		{"dots with -i", "To: a@x\n\n..one\n", true, "a@x", "To: a@x\r\n\r\n..one\r\n"},
		{"cc and bcc", "To: a@x\nCc: b@x,\n c@x\nBcc: d@x\n\n", true, "a@x b@x c@x d@x", "To: a@x\r\nCc: b@x,\r\n c@x\r\nBcc: d@x\r\n\r\n"},
		{"only bcc", "To: undisclosed-recipients:;\nBcc: d@x\n\n", true, "d@x", "To: undisclosed-recipients:;\r\nBcc: d@x\r\n\r\n"},
		{"resent", "Resent-To: r@x\nResent-Bcc: s@x\nTo: a@x\nResent-To: old@x\n\n", true, "r@x s@x", "Resent-To: r@x\r\nResent-Bcc: s@x\r\nTo: a@x\r\nResent-To: old@x\r\n\r\n"},
		{"resent twice without fields between", "Resent-From: q@x\nResent-To: r@x\nResent-From: p@x\nResent-To: old@x\nTo: a@x\n\n", true, "r@x",
			"Resent-From: q@x\r\nResent-To: r@x\r\nResent-From: p@x\r\nResent-To: old@x\r\nTo: a@x\r\n\r\n"},
		{"no header", "hello\nTo: a@x\n", true, "", "\r\nhello\r\nTo: a@x\r\n"},
		{"text after the header", "To: a@x\nhello there\n", true, "a@x", "To: a@x\r\n\r\nhello there\r\n"},
		{"mbox", "From root Sat Nov 28 18:17:27 2026\nTo: a@x\n\nFrom here\n", true, "a@x", "To: a@x\r\n\r\nFrom here\r\n"},
		{"empty", "", true, "", "\r\n"},
		{"only a header", "To: a@x\nSubject: s", true, "a@x", "To: a@x\r\nSubject: s\r\n\r\n"},
		{"raw UTF-8", "Subject: Grüße\nX: ü\nTo: a@x\n\nü\n", true, "a@x", "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nX: ü\r\nTo: a@x\r\n\r\nü\r\n"},
		{"latin-1", "Subject: Gr\xfc\xdfe\nTo: a@x\n\n", true, "a@x", "Subject: Gr\xfc\xdfe\r\nTo: a@x\r\n\r\n"},
		{"encoded in part", "Subject: =?utf-8?Q?a?= ü\nTo: a@x\n\n", true, "a@x", "Subject: =?utf-8?Q?a?= ü\r\nTo: a@x\r\n\r\n"},
		{"long lines", "To: a@x\n\n" + long + "\n" + long, true, "a@x", "To: a@x\r\n\r\n" + long + "\r\n" + long + "\r\n"},
	} {
		for way, in := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in)), "with EOF": iotest.DataErrReader(strings.NewReader(c.in))} {
			m, err := read(in, c.ignoreDots, true)
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, way, err)
				continue
			}
			var got bytes.Buffer
			if _, err := m.WriteTo(&got); err != nil {
				t.Fatal(err)
			}
			if to := strings.Join(m.to, " "); got.String() != c.want || to != c.to || m.Size() != int64(got.Len()) {
				t.Errorf("%s, %s: to %q, size %d\n got %.300q\nwant %.300q", c.name, way, to, m.Size(), got.String(), c.want)
			}
			m.Close()
		}
	}
}

func TestReadFails(t *testing.T) {
	for name, c := range map[string]struct {
		in   io.Reader
		code int
	}{
		"header without end": {strings.NewReader("A: " + strings.Repeat("x", maxHeader)), DataErr},
		"no address":         {strings.NewReader("To: Ann Example\n\n"), DataErr},
		"broken input":       {iotest.ErrReader(io.ErrClosedPipe), NoInput},
		"broken body":        {io.MultiReader(strings.NewReader("To: a@x\n\nbody"), iotest.ErrReader(io.ErrClosedPipe)), NoInput},
	} {
		_, err := read(c.in, true, true)
		if f, ok := err.(*Failure); !ok || f.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: lines end in CRLF, whatever they ended with, and nothing else is
// done to a body.
func FuzzRead(f *testing.F) {
	f.Add("To: a@x\n\n..\n.\r", true)
	f.Add("\r\n\r.\n", false)
	f.Fuzz(func(t *testing.T, in string, ignoreDots bool) {
		m, err := read(iotest.OneByteReader(strings.NewReader(in)), ignoreDots, false)
		whole, other := read(strings.NewReader(in), ignoreDots, true)
		if err != nil {
			return
		}
		defer m.Close()
		var a, b bytes.Buffer
		_, _ = m.WriteTo(&a)
		if other == nil {
			defer whole.Close()
			if _, _ = whole.WriteTo(&b); a.String() != b.String() {
				t.Fatalf("%q: %q in pieces, %q whole", in, a.String(), b.String())
			}
		}
		text := strings.ReplaceAll(a.String(), "\r\n", "")
		if strings.ContainsAny(text, "\r\n") || !strings.HasSuffix(a.String(), "\r\n") {
			t.Fatalf("%q: line ends in %q", in, a.String())
		}
	})
}
