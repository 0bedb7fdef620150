package upstream

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

// concealed stands for a reply that repeats a secret.
const concealed = "[words not shown: they repeat the password]"

// shortest is the length from which a secret is looked for. Words of a reply
// would be taken for a shorter one.
const shortest = 6

// told is what an upstream was told in secret: nothing that it says from then on
// is shown where it repeats that, whole, reversed, in hex or in base64, also
// with other characters in between. Whoever means to can find a form that isn't
// known here; but then no password is safe with them.
type told struct{ forms [][]byte }

// add notes a secret.
func (t *told) add(secret string) {
	b := []byte(secret)
	mirrored := slices.Clone(b)
	slices.Reverse(mirrored)
	for _, form := range [][]byte{b, mirrored, []byte(hex.EncodeToString(b)), inBase64(b, 0), inBase64(b, 1), inBase64(b, 2)} {
		if form = essence(form); len(form) >= shortest {
			t.forms = append(t.forms, form)
		}
	}
}

// password adds what get returns.
func (t *told) password(get func(context.Context) (string, error)) func(context.Context) (string, error) {
	if get == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		secret, err := get(ctx)
		t.add(secret)
		return secret, err
	}
}

// token adds what get returns.
func (t *told) token(get func(context.Context, string) (string, error)) func(context.Context, string) (string, error) {
	if get == nil {
		return nil
	}
	return func(ctx context.Context, refused string) (string, error) {
		secret, err := get(ctx, refused)
		t.add(secret)
		return secret, err
	}
}

// inBase64 is what is always the same of b in base64 behind n bytes of a group
// of three.
func inBase64(b []byte, n int) []byte {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, n, n+len(b)), b...))
	from, to := (8*n+5)/6, 8*(n+len(b))/6
	return []byte(text[from:max(from, to)])
}

// repeats says whether text holds a secret.
func (t *told) repeats(text []byte) bool {
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
