package passwd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// tokenPrefix tells what a token is to whoever finds it in a file.
const tokenPrefix = "postern_"

// tokenForm is what a stored token begins with.
const tokenForm = "$sha256$"

// randomChars are the characters of a token behind its prefix: base32, of which
// each has 5 bits of chance. What has 160 cannot be guessed, so that a hash is
// enough which costs nothing; salts and costs are for what people think of.
const randomChars = 32

// TokenDigest is the hash of a token.
type TokenDigest [sha256.Size]byte

// MakeToken makes a token that nobody can guess, and what is stored of it.
func MakeToken() (token, stored string) {
	token = tokenPrefix + (rand.Text() + rand.Text())[:randomChars]
	d := sha256.Sum256([]byte(token))
	return token, tokenForm + base64.RawStdEncoding.EncodeToString(d[:])
}

// ParseToken reads what MakeToken stores; false: it has another form, which
// Parse may know.
func ParseToken(stored string) (d TokenDigest, ok bool) {
	text, ok := strings.CutPrefix(stored, tokenForm)
	if !ok {
		return d, false
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(d) {
		return d, false
	}
	return TokenDigest(b), true
}

// DigestOf is the digest of what a client gave as its token; false: MakeToken
// never made it, so it is none of those whose stored form is a digest, however
// that came about.
func DigestOf(secret string) (d TokenDigest, ok bool) {
	text, ok := strings.CutPrefix(secret, tokenPrefix)
	if !ok || len(text) != randomChars || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return d, false
	}
	return sha256.Sum256([]byte(secret)), true
}
