package wire

import (
	"strings"
	"testing"
)

func TestXtext(t *testing.T) {
	for in, want := range map[string]string{"": "", "a+2Bb": "a+b", "plain": "plain", "+20": " ", "+3D+2B": "=+"} {
		if got, ok := DecodeXtext(in, false); got != want || !ok {
			t.Errorf("%q: %q %t, want %q", in, got, ok, want)
		}
		if got := EncodeXtext(want); got != in {
			t.Errorf("%q is written as %q", want, got)
		}
	}
	for _, in := range []string{"a b", "a=b", "+", "+2", "a+2", "+zz", "+2b", "+0D+0A", "+C3+BC", "é", "\x00", "+7F", "+00"} {
		if got, ok := DecodeXtext(in, false); got != "" || ok {
			t.Errorf("%q: %q %t, want it refused", in, got, ok)
		}
	}
	if got, ok := DecodeXtext("a+2bb", true); got != "a+b" || !ok {
		t.Errorf("small digits: %q %t", got, ok)
	}
	for in, want := range map[string]string{"": "", "a+2Bb": "a+b", "a+3Db+": "a=b+", "+zz": "+zz", "plain": "plain", "+C3+BC": "ü", "+2": "+2"} {
		if got := XtextShown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestUTF8Xtext(t *testing.T) {
	for in, want := range map[string]string{"": "", "a@b": "a@b", `j\x{FC}@b`: "jü@b", "jü@b": "jü@b", `\x{2B}`: "+", `\x{1F600}`: "😀", `\x{20}`: " "} {
		if got, ok := DecodeUTF8Xtext(in, false); got != want || !ok {
			t.Errorf("%q: %q %t, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{`\`, `\x`, `\x{`, `\x{A}`, `\x{110000}`, `\x{D800}`, `\x{0D}`, `\x{7F}`, `\x{85}`, `\x{200B}`, `\x{fc}`, "a+b", "a=b", "a b", "\xff", "\u202e", `\x{0000FC}x{`, `\x{00000FC}`} {
		if got, ok := DecodeUTF8Xtext(in, false); ok && in != `\x{0000FC}x{` {
			t.Errorf("%q: %q, want it refused", in, got)
		}
	}
	if got, ok := DecodeUTF8Xtext(`\x{fc}`, true); got != "ü" || !ok {
		t.Errorf("small digits: %q %t", got, ok)
	}
	if got := EncodeUTF8Xtext(`ü+= \😀a`); got != `\x{FC}\x{2B}\x{3D}\x{20}\x{5C}\x{1F600}a` {
		t.Error(got)
	}
}

// FuzzXtext: what is decoded holds nothing that could end a line, and is
// written so that it is read as the same.
func FuzzXtext(f *testing.F) {
	for _, s := range []string{"", "a+2Bb", "+0D+0A", "+zz+", `j\x{FC}@b`, `\x{0D}`, "\xff\u200b", `\x{D800}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, lenient := range []bool{false, true} {
			if text, ok := DecodeXtext(s, lenient); ok {
				if back, ok := DecodeXtext(EncodeXtext(text), false); !Printable(text) || back != text || !ok || XtextShown(s) != text {
					t.Fatalf("%q: %q, %q", s, text, back)
				}
			}
			if text, ok := DecodeUTF8Xtext(s, lenient); ok {
				wire := EncodeUTF8Xtext(text)
				back, ok := DecodeUTF8Xtext(wire, false)
				if strings.ContainsFunc(text, invisible) || back != text || !ok || !Printable(wire) || !FitsParameter(wire) {
					t.Fatalf("%q: %q, %q, %q", s, text, wire, back)
				}
			}
		}
		if wire := EncodeXtext(s); !Printable(wire) || !FitsParameter(wire) || XtextShown(wire) != s {
			t.Fatalf("%q is written as %q", s, wire)
		}
	})
}
