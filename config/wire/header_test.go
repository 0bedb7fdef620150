package wire

import (
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Lines of a header that are too long are folded at blanks, and say the same
// when they are unfolded.
func TestFoldLong(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct{ header, want string }{
		{"To: a\r\n", "To: a\r\n"},
		{"To: " + long(994) + "\r\n", "To: " + long(994) + "\r\n"},
		{"To: a " + long(993) + "\r\n", "To: a\r\n " + long(993) + "\r\n"},
		{"To: a  \t" + long(994) + " b\r\n", "To: a\r\n  \t" + long(994) + "\r\n b\r\n"},
		{"To: " + long(600) + " " + long(600) + " " + long(600) + "\r\nCc: c\r\n", "To: " + long(600) + "\r\n " + long(600) + "\r\n " + long(600) + "\r\nCc: c\r\n"},
		{"To: " + strings.Repeat("a, ", 700) + "b\r\n", ""},
		{"To: " + long(995) + "\r\n", "To: " + long(995) + "\r\n"},
		{"To:   " + long(1200) + "   \r\n", "To:   " + long(1200) + "   \r\n"},
		{"To: " + long(1200) + " b c\r\n", "To: " + long(1200) + "\r\n b c\r\n"},
		{"To: a\r\n " + long(500) + "\t" + long(500) + "\r\n", "To: a\r\n " + long(500) + "\r\n\t" + long(500) + "\r\n"},
		{"X : a " + long(1000), "X : a\r\n " + long(1000)},
	} {
		got := string(FoldLong([]byte(c.header)))
		if c.want != "" && got != c.want {
			t.Errorf("%q\nbecame %q", c.header, got)
		}
		if Unfold([]byte(got)) != Unfold([]byte(c.header)) {
			t.Errorf("%q\nsays something else: %q", c.header, got)
		}
		for _, line := range strings.Split(got, "\r\n") {
			if len(line) > MaxTextLine && strings.ContainsAny(strings.TrimSpace(line[4:]), " ") {
				t.Errorf("a line of %d octets could be folded: %q", len(line), line)
			}
		}
	}
}

func TestField(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct{ name, value, want string }{
		{"Status", "5.1.1", "Status: 5.1.1\r\n"},
		{"Status", "", "Status:\r\n"},
		{"X", "a  b\tc", "X: a b c\r\n"},
		{"X", long(75) + " b", "X: " + long(75) + "\r\n b\r\n"},
		{"X", long(73) + " b", "X: " + long(73) + " b\r\n"},
		{"X", "a " + long(76), "X: a\r\n " + long(76) + "\r\n"},
		{"X", long(200) + " b", "X: " + long(200) + "\r\n b\r\n"},
		{"X", long(1000) + " b", "X: " + long(900) + "\r\n " + long(100) + "\r\n b\r\n"},
	} {
		if got := Field(c.name, c.value); got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
}

func TestAppendPhrase(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "  ": "", "root": `"root" `, `a"b\c`: `"a\"b\\c" `, "Jürgen": "=?utf-8?q?J=C3=BCrgen?= ", "Jürg <x>": "=?utf-8?b?SsO8cmcgPHg+?= ", "a@b": "", strings.Repeat("x", 101): "", "a\r\nBcc: x": `"a? Bcc: x" `,
	} {
		if got := string(AppendPhrase(nil, name)); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestMessageID(t *testing.T) {
	for in, want := range map[string]bool{
		"<x@y>": true, "<a.b@[10.0.0.1]>": true, "<a@b@c>": true, `<a"b(@c>`: true,
		"": false, "12345": false, "<x@>": false, "<@y>": false, "x@y": false, "<x@y> <z@y>": false, "<x y@z>": false, "<x@ü>": false, " <x@y>": false,
	} {
		if IsMessageID(in) != want || IsMessageID([]byte(in)) != want {
			t.Errorf("%q: not %t", in, want)
		}
	}
	for in, want := range map[string]string{
		" <x@y>\r\n": "<x@y>", "<a\r\n b@c>": "<ab@c>", "\x00<\xffü\u007f@b>\ufffd": "<ü@b>", strings.Repeat("ü", 300): strings.Repeat("ü", 256),
		"x" + strings.Repeat("ü", 300): "x" + strings.Repeat("ü", 255),
	} {
		if got := MessageID([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzHeader: whatever a value holds, a field stays one field; its lines are
// short enough, and say the same when they are unfolded. Folding a header
// changes nothing that it says.
func FuzzHeader(f *testing.F) {
	f.Add("550 5.1.1 no such user", []byte("To: a\r\n b\r\n"))
	f.Add("a\r\nX: b", []byte("To: "+strings.Repeat("a, ", 700)+"\r\nno header"))
	f.Add(strings.Repeat("x", 2000)+" ü", []byte("X : a "+strings.Repeat("b", 1000)))
	f.Fuzz(func(t *testing.T, value string, h []byte) {
		field := Field("X-Field", FieldText(value))
		for line := range strings.SplitSeq(strings.TrimSuffix(field, "\r\n"), "\r\n") {
			if len(line) > MaxTextLine || !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "X-Field:") || !Printable(line) {
				t.Fatalf("%q: %q", value, field)
			}
			if words := strings.Fields(line); len(line) > usualLine && len(words) > 2 {
				t.Fatalf("%q could be folded", line)
			}
		}
		m, err := mail.ReadMessage(strings.NewReader(field + "\r\n"))
		if err != nil || len(m.Header) != 1 {
			t.Fatalf("%q: %v %v", field, m, err)
		}
		got := strings.ReplaceAll(m.Header.Get("X-Field"), " ", "")
		if want := strings.ReplaceAll(FieldText(value), " ", ""); got != want {
			t.Fatalf("%q says %q, want %q", field, got, want)
		}
		if folded := FoldLong(h); Unfold(folded) != Unfold(h) || len(folded) < len(h) {
			t.Fatalf("%q became %q", h, folded)
		}
		if id := MessageID([]byte(value)); len(id) > maxMessageID || !utf8.ValidString(id) || HasControl(id) || strings.Contains(id, " ") ||
			IsMessageID(value) && !strings.HasPrefix(value, id) {
			t.Fatalf("%q: %q", value, id)
		}
		if phrase := string(AppendPhrase(nil, value)); phrase != "" {
			if a, err := mail.ParseAddress(phrase + "<a@b>"); err != nil || a.Address != "a@b" || !Printable(phrase) {
				t.Fatalf("%q: %q %v", value, phrase, err)
			}
		}
	})
}

// TestValues: only what is asked for is kept of a header, which may have
// tens of thousands of fields.
func TestValues(t *testing.T) {
	h := []byte("X-Job: a\r\nx-job: b\r\n c\r\nSubject: x\r\n" + strings.Repeat("X: y\r\n", 30_000))
	var got textproto.MIMEHeader
	allocs := testing.AllocsPerRun(1, func() { got = Values(h, []string{"X-Job", "To"}) })
	if len(got) != 1 || !slices.Equal(got["X-Job"], []string{"a", "b c"}) {
		t.Errorf("%v", got)
	}
	if allocs > 20 {
		t.Errorf("%v allocations", allocs)
	}
}
