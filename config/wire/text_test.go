package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextHidesNothing(t *testing.T) {
	for in, want := range map[string]string{
		"550 5.1.1 no such user":        "550 5.1.1 no such user",
		"grüße, 日本, ü\u0301":            "grüße, 日本, ü\u0301",
		"two\r\nlines\tand more":        "two? lines and more",
		"\x1b[2J\x00\x7f\u009b":         "?[2J???",
		"zero\u200bwidth\u200d\ufeff":   "zero?width??",
		"turned\u202e\u2066 a\u200fw":   "turned?? a?w",
		"tags\U000e0041\U000e007f":      "tags??",
		"v\ufe0f\U000e0100s":            "v??s",
		"fill\u3164\u115f\u034f\u2800":  "fill????",
		"soft\u00adhyphen\u2028\u2029x": "soft?hyphen??x",
		"private\ue000\U000f0000":       "private??",
		"not UTF-8 \xff\xc3":            "not UTF-8 ??",
		"unassigned \U0003fffd":         "unassigned ?",
	} {
		if got := Text(in, 100); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Text("aüü", 4); got != "aü" {
		t.Errorf("cut: %q", got)
	}
}

// What one kind of reader needs and another must not get.
func TestTextForEachReader(t *testing.T) {
	long := strings.Repeat("x", 1001)
	for _, c := range []struct{ name, got, want string }{
		{"a long line", Line(long), long[:1000] + "…"},
		{"a line of just the length", Line(long[1:]), long[1:]},
		{"cut at a character", Line(strings.Repeat("x", 999) + "éé"), strings.Repeat("x", 999) + "…"},
		{"cut within ASCII", Abridged("no such user", 7, "..."), "no such..."},
		{"several lines", EachLine("a\x1b\nb\u200b\n"), "a?\nb?\n"},
		{"exact and visible", Exact("grüße"), "grüße"},
		{"exact with what hides", Exact("a\u2800b\ufe0f\u3164\x1b\xff\U000e0041ü"), `"a\u2800b\ufe0f\u3164\x1b\xff\U000e0041ü"`},
		{"quoted", Quote("a\u2800\"\n"), `"a\u2800\"\n"`},
		{"JSON", JSON([]byte("{\n \"a\": \"ü\x7f\u009b\u202e\U000e0041\"\n}")), "{\n \"a\": \"ü\\u007f\\u009b\\u202e\\udb40\\udc41\"\n}"},
		{"a comment", Comment("a b)(\\\r\nü\t"), "a?b???????"},
		{"a field", FieldText("a\r\nX: b ü\x00"), "a? X: b ??"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	if got := FieldText(strings.Repeat("ü", 2000)); got != strings.Repeat("?", 1100) {
		t.Errorf("a long field has %d bytes", len(got))
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u200b\U000e0041\xff\r\n", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1<<12)
		got := Text(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !Visible(r) }) {
			t.Errorf("%q, %d: %q", s, limit, got)
		}
		if again := Text(got, limit); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
		for name, shown := range map[string]string{"Line": Line(s), "Quote": Quote(s), "Exact": Exact(s), "Comment": Comment(s), "FieldText": FieldText(s),
			"EachLine": strings.ReplaceAll(EachLine(s), "\n", ""), "JSON": strings.ReplaceAll(JSON([]byte(s)), "\n", "")} {
			if !utf8.ValidString(shown) || strings.ContainsFunc(shown, invisible) {
				t.Errorf("%s of %q: %q", name, s, shown)
			}
		}
		if back, err := strconv.Unquote(Quote(s)); back != s || err != nil {
			t.Errorf("%q is quoted as %s", s, Quote(s))
		}
		doc, err := json.Marshal(s)
		var back string
		if err != nil || json.Unmarshal([]byte(JSON(doc)), &back) != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("%q is read as %q", s, back)
		}
	})
}
