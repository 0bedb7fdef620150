package passwd

import (
	"strings"
	"testing"
)

// A token is found by its digest, and nothing else is: no weak secret can be
// stored so.
func TestTokens(t *testing.T) {
	token, stored := MakeToken()
	other, _ := MakeToken()
	want, ok := ParseToken(stored)
	if !ok || token == other || strings.Contains(stored, token[len(tokenPrefix):]) || len(token) != len(tokenPrefix)+randomChars {
		t.Fatalf("%q %q %v", token, stored, ok)
	}
	if d, ok := DigestOf(token); !ok || d != want {
		t.Error("its digest is not what is stored")
	}
	if d, ok := DigestOf(other); !ok || d == want {
		t.Error("another one has its digest")
	}
	for _, weak := range []string{"", "a", "postern_", "password", token[1:], token + "A", token[:len(token)-1], strings.ToLower(token),
		tokenPrefix + strings.Repeat("1", randomChars), tokenPrefix + strings.Repeat("A", randomChars-1) + "\x00", tokenPrefix + strings.Repeat("A", 15) + " " + strings.Repeat("A", 16)} {
		if _, ok := DigestOf(weak); ok {
			t.Errorf("%q is taken for a token", weak)
		}
	}
	for _, bad := range []string{"", "$sha256$", stored + "A", stored[:len(stored)-1], stored + "=", stored[:len(stored)-1] + "B", "$argon2id$v=19$m=64,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", strings.Replace(stored, "sha256", "sha512", 1)} {
		if _, ok := ParseToken(bad); ok && bad != stored {
			t.Errorf("%q is taken for a stored token", bad)
		}
	}
	if _, err := Parse(stored); err == nil {
		t.Error("a listener would take it for a password")
	}
}
