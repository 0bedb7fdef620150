package wire

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParameters(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "  SIZE=1  body=8BITMIME": "SIZE=1 BODY=8BITMIME", " SMTPUTF8": "SMTPUTF8", " X-A=<b>;c": "X-A=<b>;c", "a=ü": "A=ü",
		"-A": "bad", "A_B=1": "bad", "=1": "bad", "A=": "bad", "A=1=2": "bad", "A=\xff": "bad", "A=\x7f": "bad", "A\t": "bad", "é=1": "bad",
	} {
		var got []string
		for p, ok := range Parameters(in) {
			switch {
			case !ok:
				got = append(got, "bad")
			case p.Given:
				got = append(got, p.Key+"="+p.Value)
			default:
				got = append(got, p.Key)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestForeignProtocol(t *testing.T) {
	for line, want := range map[string]string{
		"GET / HTTP/1.1": "HTTP", "PRI * HTTP/2.0": "HTTP", "Host: a": "a header field", "X_Y-Z:1": "a header field",
		"EHLO a": "", "get /": "", "MAIL FROM:<a@b>": "", ":": "", "": "", "a.b:": "", "RSET": "",
	} {
		if got := ForeignProtocol(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestAppendReply(t *testing.T) {
	for want, got := range map[string][]byte{
		"250-a\r\n":            AppendReply(nil, 250, [3]int{}, "a", true),
		"250 2.1.10 ok\r\n":    AppendReply(nil, 250, [3]int{2, 1, 10}, "ok", false),
		"334 YQ==\r\n":         AppendReply(nil, 334, [3]int{3, 0, 0}, "YQ==", false),
		"550 5.7.1 a??b?\r\n":  AppendReply(nil, 550, [3]int{5, 7, 1}, "a\r\nb\x7f", false),
		"x221 2.0.0 grüße\r\n": AppendReply([]byte("x"), 221, [3]int{2, 0, 0}, "grüße", false),
		"250 -1\r\n":           AppendReply(nil, 250, [3]int{-1, -1, -1}, "-1", false),
		"250 " + strings.Repeat("x", 480) + "\r\n": AppendReply(nil, 250, [3]int{}, strings.Repeat("x", 600), false),
	} {
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	out := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { out = AppendReply(out[:0], 250, [3]int{2, 1, 5}, "ok", false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReply: whatever the text, it is one line of a reply.
func FuzzReply(f *testing.F) {
	f.Add("ok", true)
	f.Add("a\r\n250 b\x00", false)
	f.Add(strings.Repeat("ü", 300), false)
	f.Fuzz(func(t *testing.T, text string, more bool) {
		b := AppendReply(nil, 550, [3]int{5, 7, 999}, text, more)
		line, whole := bytes.CutSuffix(b, crlf)
		if !whole || len(b) > 512 || HasControl(string(line)) || (line[3] == '-') != more || !bytes.HasPrefix(line[4:], []byte("5.7.999 ")) {
			t.Fatalf("%q", b)
		}
		if !HasControl(text) && len(text) <= maxReply && string(line[12:]) != text {
			t.Fatalf("%q became %q", text, line)
		}
	})
}

// FuzzParameters: what is well-formed is written again as it was, and goes out
// as one parameter.
func FuzzParameters(f *testing.F) {
	f.Add(" SIZE=1 BODY=8BITMIME SMTPUTF8 X=é a==b -c")
	f.Fuzz(func(t *testing.T, s string) {
		rest := s
		for p, ok := range Parameters(s) {
			rest = strings.TrimLeft(rest, " ")
			word, after, _ := strings.Cut(rest, " ")
			rest = after
			if !ok {
				continue
			}
			key, value, _ := strings.Cut(word, "=")
			if p.Value != value || p.Key != strings.ToUpper(key) || p.Given != strings.Contains(word, "=") || HasControl(word) ||
				!IsASCII(p.Key) || !utf8.ValidString(word) || !FitsParameter(value) || ForeignProtocol(p.Key) == "a header field" {
				t.Fatalf("%q: %+v", word, p)
			}
		}
		if strings.Trim(rest, " ") != "" {
			t.Fatalf("%q: %q was not looked at", s, rest)
		}
	})
}
