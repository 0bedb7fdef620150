package submission

import (
	"bytes"
	"strings"
	"testing"

	"postern/config/wire"
)

func TestUsableDates(t *testing.T) {
	for v, want := range map[string]bool{
		" Sat, 28 Nov 2026 10:00:00 +0100": true, "28 Nov 26 10:00 GMT": true, "Sat,  8 Nov 2026 10:00:00 +0000 (UTC)": true,
		"Sat, 28 Nov 2026\r\n\t10:00:00 +0100": true,
		"":                                     false, "2026-11-28 10:00:00": false, "x": false, "Sat, 38 Nov 2026 10:00:00 +0100": false,
	} {
		if isDate([]byte(v)) != want {
			t.Errorf("Date %q: not %t", v, want)
		}
	}
}

// TestNamesInFrom: a name can't end its field or become an address.
func TestNamesInFrom(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "John Doe": `"John Doe" `, `a"b\`: `"a\"b\\" `, "x\r\nBcc: y": `"x? Bcc: y" `,
		"Jürgen": "=?utf-8?q?J=C3=BCrgen?= ", "a@b": "", strings.Repeat("x", 200): "",
	} {
		if got := string(wire.AppendPhrase(nil, name)); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// What the short way calls a date is one for the long way, and the forms that
// programs write take the short way.
func TestUsualDate(t *testing.T) {
	for _, v := range []string{
		"Sat, 28 Nov 2026 07:40:00 +0000 (UTC)", "Sat, 28 Nov 2026 07:40:00 +0000", "Sun, 1 Feb 2026 23:59:59 -0930", "Sun, 01 Mar 2026 00:00:00 +1400 (CET)",
	} {
		if !usualDate([]byte(v)) {
			t.Errorf("%q took the long way", v)
		}
		for i := range v {
			for _, c := range "09 (:+-,)AaM\x00\xff" {
				for _, changed := range []string{v[:i] + string(c) + v[i+1:], v[:i] + string(c) + v[i:], v[:i], v[i:]} {
					if usualDate([]byte(changed)) && !anyDate([]byte(changed)) {
						t.Errorf("%q is no date", changed)
					}
				}
			}
		}
	}
}

// TestLeadGoesOn: lines before the header that come one by one are looked at
// once each. To begin anew with each made 256 KiB of them take half a minute.
func TestLeadGoesOn(t *testing.T) {
	for _, begin := range []string{"", string(bom)} {
		b := []byte(begin)
		n := 0
		for range 100 {
			b = append(b, "From a@b\r\n"...)
			var sure bool
			if n, sure = lead(b, n); sure || n != len(b) {
				t.Fatalf("%q: %d octets of %d, %v", begin, n, len(b), sure)
			}
			copy(b[len(begin):], bytes.Repeat([]byte("x"), n)) // no longer such lines
		}
		if got, sure := lead(append(b, "To: a@b\r\n"...), n); got != n || !sure {
			t.Errorf("%q: a field follows: %d, %v", begin, got, sure)
		}
		if got, sure := lead(append(b, "Hello\r\n"...), n); got != 0 || !sure {
			t.Errorf("%q: text follows: %d, %v", begin, got, sure)
		}
	}
}

// TestManyDates: of a header that is full of dates only so many are read as
// such: each tries fifty forms, and 256 KiB of them made five million errors.
func TestManyDates(t *testing.T) {
	h := []byte(strings.Repeat("Date: x\r\n", maxHeader/9))
	var f fields
	allocs := testing.AllocsPerRun(1, func() { f = readFields(h, true) })
	if len(f.drop) != maxHeader/9 || f.hasDate {
		t.Errorf("%d of %d are renamed; a usable one: %v", len(f.drop), maxHeader/9, f.hasDate)
	}
	if allocs > 200*maxJudged {
		t.Errorf("%v allocations", allocs)
	}
}

// BenchmarkHostileHeader is a header of the largest size that has to be
// repaired everywhere.
func BenchmarkHostileHeader(b *testing.B) {
	h := []byte(strings.Repeat("Date:\r\n", maxHeader/2/7) + strings.Repeat("Message-ID:\r\n", maxHeader/2/13))
	b.SetBytes(int64(len(h)))
	for b.Loop() {
		readFields(h, true)
	}
}
