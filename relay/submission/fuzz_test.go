package submission

import (
	"testing"

	"postern/config/wire"
)

// FuzzHeader: the header is found where it ends, however it arrives.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"a: b\r\n\r\nc", "a: b\r\n c\r\nd", "\r\n", "a: b\r\n", " x\r\n", "Bcc: x\r\nDate: y\r\n\r\n", "Message-ID: <a@b>\r\n\r\n"} {
		f.Add([]byte(s), uint(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint) {
		end, body, found := wire.HeaderEnd(b, 0)
		k := int(cut % uint(len(b)+1))
		next, _, early := wire.HeaderEnd(b[:k], 0)
		if !early {
			e2, b2, f2 := wire.HeaderEnd(b, next)
			if e2 != end || b2 != body || f2 != found {
				t.Fatalf("%q at %d: %d %d %t, whole %d %d %t", b, k, e2, b2, f2, end, body, found)
			}
		}
		if found {
			readFields(b[:end], true)
			for name := range wire.Values(b[:end], []string{"Subject", "A"}) {
				if name != "Subject" && name != "A" {
					t.Fatalf("%q: %q was not asked for", b, name)
				}
			}
		}
	})
}
