package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/config/wire"
)

func TestClean(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain", 100, "plain"},
		{"two\nlines\tand a tab", 100, "two lines and a tab"},
		{"\x00\x1b[2J\x7f\u0085", 100, "??[2J??"},
		{"broken \xff\xfe utf-8 \xe2\x82", 100, "broken ?? utf-8 ??"},
		{"turned \u202e\u2066 around\u2028", 100, "turned ?? around?"},
		{"é and more", 1, ""},
		{"éé", 3, "é"},
		{strings.Repeat("x", 2000), 1000, strings.Repeat("x", 1000)},
	} {
		if got := wire.Text(c.in, c.limit); got != c.want {
			t.Errorf("Text(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

// Whatever an upstream sends: the parser ends, within its limits, and what it
// hands on can be shown.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"250 ok\r\n", "250\r\n", "250-a\r\n250 b\r\n", "250-2.1.0 a\n250 2.1.0 b\n", "250ok\r\n", "25", "\r\n",
		"550 5.1.1 <x>: no\r\n", "550 5.1.1\r\n", "354 \x00\xff\x1b\r\n", "999 x\r\n", "000 x\r\n",
		"250-a\r\n550 b\r\n", "220 HTTP/1.1 200 OK\r\n", "550 5.\r\n", "550 5.1.\r\n", "421 4.7.0 bye\r\n250 ok\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := replies{in: bufio.NewReaderSize(bytes.NewReader(data), maxLine)}
		for {
			r, err := p.next()
			var protocol protocolError
			if errors.As(err, &protocol) || errors.Is(err, io.EOF) {
				if !utf8.ValidString(describe(err)) || len(describe(err)) > maxText {
					t.Fatalf("%q cannot be shown", describe(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.code < 100 || r.code > 999 || len(r.text) > maxReply || r.last > len(r.text) {
				t.Fatalf("%+v", r)
			}
			if r.enhanced != "" && int(r.enhanced[0]-'0') != r.code/100 {
				t.Fatalf("%q contradicts %d", r.enhanced, r.code)
			}
			text := wire.Text(string(r.text), maxText)
			if !utf8.ValidString(text) || len(text) > maxText || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Fatalf("%q cannot be shown", text)
			}
		}
	})
}

// Each mechanism counts once, in whichever form of AUTH and however often it is
// announced; a reply full of names is cut.
func TestMechanismsOnce(t *testing.T) {
	x := parseExtensions("mx\nAUTH PLAIN LOGIN\nAUTH=LOGIN PLAIN\nauth login CRAM-MD5", nil)
	if want := []string{"PLAIN", "LOGIN", "CRAM-MD5"}; !slices.Equal(x.auth, want) {
		t.Errorf("%q, want %q", x.auth, want)
	}
	text := "mx\nAUTH"
	for i := range 20_000 {
		text += " " + strconv.FormatInt(int64(i), 36)
	}
	if x = parseExtensions(text, nil); len(x.auth) != maxMechanisms {
		t.Errorf("%d mechanisms, want %d", len(x.auth), maxMechanisms)
	}
}

// The announcements of an upstream are hostile too.
func FuzzExtensions(f *testing.F) {
	f.Add("mx\nSIZE 10\nAUTH PLAIN LOGIN\nLIMITS RCPTMAX=5 MAILMAX=2\nDELIVERBY 60")
	f.Add("mx\nAUTH=LOGIN\nsize\n\x00\nSIZE 99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		x := parseExtensions(text, nil)
		if x.maxSize < 0 || x.minBy < 0 || x.maxRcpt < 0 || x.maxMail < 0 {
			t.Fatalf("%+v", x)
		}
		for _, name := range x.auth {
			if len(name) > 60 || !utf8.ValidString(name) || strings.ContainsAny(name, "\r\n\x00") {
				t.Fatalf("mechanism %q", name)
			}
		}
	})
}
