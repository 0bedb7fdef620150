package submission

import (
	"strings"
	"testing"
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
		got := string(foldLong([]byte(c.header)))
		if c.want != "" && got != c.want {
			t.Errorf("%q\nbecame %q", c.header, got)
		}
		if unfold([]byte(got)) != unfold([]byte(c.header)) {
			t.Errorf("%q\nsays something else: %q", c.header, got)
		}
		for _, line := range strings.Split(got, "\r\n") {
			if len(line) > maxTextLine && strings.ContainsAny(strings.TrimSpace(line[4:]), " ") {
				t.Errorf("a line of %d octets could be folded: %q", len(line), line)
			}
		}
	}
}
