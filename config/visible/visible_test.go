package visible_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"postern/config/visible"
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
		if got := visible.Text(in, 100); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := visible.Text("aüü", 4); got != "aü" {
		t.Errorf("cut: %q", got)
	}
}

// TestLookAlikesAreNotAddressable: what other servers may map to ASCII can
// stand in no address; letters of other scripts can.
func TestLookAlikesAreNotAddressable(t *testing.T) {
	for _, r := range "ａＡ１．＠。｡Ｋſ𝐜ℯ①²ﬁ℡\u200b\u3000" {
		if visible.Addressable(r) {
			t.Errorf("%q may stand in an address", r)
		}
	}
	for _, r := range "äßéøİёя例えテ한ขक\u0301❤" {
		if !visible.Addressable(r) {
			t.Errorf("%q may not stand in an address", r)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u200b\U000e0041\xff\r\n", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1<<12)
		got := visible.Text(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !visible.Rune(r) }) {
			t.Errorf("%q, %d: %q", s, limit, got)
		}
		if again := visible.Text(got, limit); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	})
}
