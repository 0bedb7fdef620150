// Package told faces whoever is told a secret and then says something: it knows
// in which forms the secret can come back. It shows nothing and keeps nothing
// beyond the forms.
package told

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

// shortest is the length from which a secret is looked for. Words of a reply
// would be taken for a shorter one.
const shortest = 6

// Secrets are what somebody was told: nothing that they say from then on is to
// be shown where it repeats that, whole, reversed, in hex or in base64, also
// with other characters in between. Whoever means to can find a form that isn't
// known here; but then no password is safe with them. The zero value is none.
type Secrets struct{ forms [][]byte }

// Add notes a secret.
func (t *Secrets) Add(secret string) {
	b := []byte(secret)
	mirrored := slices.Clone(b)
	slices.Reverse(mirrored)
	for _, form := range [][]byte{b, mirrored, []byte(hex.EncodeToString(b)), inBase64(b, 0), inBase64(b, 1), inBase64(b, 2)} {
		if form = essence(form); len(form) >= shortest {
			t.forms = append(t.forms, form)
		}
	}
}

// inBase64 is what is always the same of b in base64 behind n bytes of a group
// of three.
func inBase64(b []byte, n int) []byte {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, n, n+len(b)), b...))
	from, to := (8*n+5)/6, 8*(n+len(b))/6
	return []byte(text[from:max(from, to)])
}

// Repeats says whether text holds a secret.
func (t *Secrets) Repeats(text []byte) bool {
	if len(t.forms) == 0 || len(text) < shortest {
		return false
	}
	text = essence(text)
	return slices.ContainsFunc(t.forms, func(form []byte) bool { return bytes.Contains(text, form) })
}

// essence is text without what can stand between its letters, in lower case.
func essence(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case 'A' <= c && c <= 'Z':
			out = append(out, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c >= 0x80:
			out = append(out, c)
		}
	}
	return out
}
