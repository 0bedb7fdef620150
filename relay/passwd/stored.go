// Package passwd faces stored passwords: it makes them for the administrator
// (`postern passwd`) and checks clients' passwords against them.
//
// It owns three forms of them, each a single line without blanks: argon2id in the PHC
// form, bcrypt in the form of crypt(3), and SCRAM-SHA-256 verifiers in the
// form of RFC 5803; and one of tokens that it has made itself, which are random
// and therefore need no hash that is slow. It never keeps a password, never prints one, and never
// tells how a check failed.
package passwd

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Bounds on the cost that a stored password may ask for, so that a slip of
// the pen in the configuration can't take the machine down.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 64
	maxIterations  = 10_000_000
	minIterations  = 4096 // RFC 7677 §4
	maxBcryptCost  = 20
)

// ErrForm: what is stored has none of the forms that are understood.
var ErrForm = errors.New("not a stored password; make one with `postern passwd`")

// Stored is a stored password. It is immutable and may be used concurrently.
type Stored struct {
	argon  *argonKey
	bcrypt []byte
	scram  *SCRAM
}

type argonKey struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

// SCRAM is what a server keeps for SCRAM-SHA-256 (RFC 5802 §3).
type SCRAM struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// Parse reads a stored password. The error says what is wrong and never shows
// what was stored.
func Parse(s string) (*Stored, error) {
	var v Stored
	var err error
	switch {
	case strings.HasPrefix(s, "$argon2id$"):
		v.argon, err = parseArgon(s)
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		v.bcrypt, err = parseBcrypt(s)
	case strings.HasPrefix(s, "SCRAM-SHA-256$"):
		v.scram, err = parseSCRAM(strings.TrimPrefix(s, "SCRAM-SHA-256$"))
	case strings.HasPrefix(s, "{SCRAM-SHA-256}"):
		v.scram, err = parseSCRAM(strings.TrimPrefix(s, "{SCRAM-SHA-256}"))
	default:
		err = ErrForm
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// parseArgon reads $argon2id$v=19$m=65536,t=3,p=4$salt$key.
func parseArgon(s string) (*argonKey, error) {
	bad := func(what string) (*argonKey, error) {
		return nil, fmt.Errorf("argon2id: bad %s; make it anew with `postern passwd`", what)
	}
	f := strings.Split(s, "$")
	if len(f) != 6 {
		return bad("form")
	}
	if f[2] != "v="+strconv.Itoa(argon2.Version) {
		return bad("version")
	}
	var k argonKey
	for _, p := range strings.Split(f[3], ",") {
		name, value, _ := strings.Cut(p, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return bad("parameters")
		}
		switch name {
		case "m":
			k.memory = uint32(n)
		case "t":
			k.time = uint32(n)
		case "p":
			if n > 255 {
				return bad("parameters")
			}
			k.threads = uint8(n)
		default:
			return bad("parameters")
		}
	}
	if k.memory < 8 || k.memory > maxArgonMemory || k.time < 1 || k.time > maxArgonTime || k.threads < 1 {
		return bad("parameters")
	}
	var err1, err2 error
	k.salt, err1 = base64.RawStdEncoding.DecodeString(f[4])
	k.key, err2 = base64.RawStdEncoding.DecodeString(f[5])
	if err1 != nil || err2 != nil || len(k.salt) < 8 || len(k.key) < 16 || len(k.key) > 128 || len(k.key)%8 != 0 {
		// Keys of other lengths than 16, 24, 32 and so on nobody makes: one was
		// cut off when it was pasted, and would fit no password.
		return bad("salt or key")
	}
	return &k, nil
}

func parseBcrypt(s string) ([]byte, error) {
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || len(s) != 60 || cost > maxBcryptCost {
		return nil, errors.New("bcrypt: bad form or cost; make it anew with `postern passwd`")
	}
	return []byte(s), nil
}

// parseSCRAM reads iterations:salt$StoredKey:ServerKey (RFC 5803), or the
// form with commas that Dovecot prints: iterations,salt,StoredKey,ServerKey.
func parseSCRAM(s string) (*SCRAM, error) {
	f := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '$' || r == ',' })
	bad := errors.New("SCRAM-SHA-256: bad form; make it anew with `postern passwd`")
	if len(f) != 4 {
		return nil, bad
	}
	n, err := strconv.Atoi(f[0])
	if err != nil || n < minIterations || n > maxIterations {
		return nil, fmt.Errorf("SCRAM-SHA-256: iterations must be %d to %d", minIterations, maxIterations)
	}
	v := SCRAM{Iterations: n}
	for i, into := range []*[]byte{&v.Salt, &v.StoredKey, &v.ServerKey} {
		if *into, err = base64.StdEncoding.DecodeString(f[i+1]); err != nil {
			return nil, bad
		}
	}
	if len(v.Salt) < 8 || len(v.StoredKey) != sha256.Size || len(v.ServerKey) != sha256.Size {
		return nil, bad
	}
	return &v, nil
}

// Check tells whether password is the one. It takes the same time whether it
// is or not, and that time is tens of milliseconds of CPU.
func (v *Stored) Check(password string) bool {
	switch {
	case v.argon != nil:
		k := v.argon
		got := argon2.IDKey([]byte(password), k.salt, k.time, k.memory, k.threads, uint32(len(k.key)))
		return subtle.ConstantTimeCompare(got, k.key) == 1
	case v.bcrypt != nil:
		// bcrypt looks at 72 bytes; a longer one was never stored by us, and
		// must not match by its beginning.
		ok := bcrypt.CompareHashAndPassword(v.bcrypt, []byte(password)[:min(len(password), 72)]) == nil
		return ok && len(password) <= 72
	}
	got, ok := storedKey(password, v.scram.Salt, v.scram.Iterations)
	return ok && subtle.ConstantTimeCompare(got, v.scram.StoredKey) == 1
}

// SCRAM is the verifier, or nil where the stored form is another.
func (v *Stored) SCRAM() *SCRAM { return v.scram }

// Decoy is a stored password that no password matches and that takes just as
// long to check: for users who don't exist.
func (v *Stored) Decoy() *Stored {
	switch {
	case v.argon != nil:
		k := *v.argon
		k.key = make([]byte, len(k.key))
		return &Stored{argon: &k}
	case v.bcrypt != nil:
		// A valid form of the same cost, whose key can't come out of any
		// password in practice.
		return &Stored{bcrypt: append(append([]byte{}, v.bcrypt[:29]...), strings.Repeat(".", 31)...)}
	}
	s := *v.scram
	s.StoredKey = make([]byte, sha256.Size)
	return &Stored{scram: &s}
}

// saltedPassword: RFC 5802 §3, with SASLprep where it applies.
func saltedPassword(password string, salt []byte, n int) ([]byte, error) {
	if p, err := stringprep.SASLprep.Prepare(password); err == nil {
		password = p
	}
	return pbkdf2.Key(sha256.New, password, salt, n, sha256.Size)
}

func storedKey(password string, salt []byte, n int) ([]byte, bool) {
	sp, err := saltedPassword(password, salt, n)
	if err != nil {
		return nil, false
	}
	key := sha256.Sum256(mac(sp, "Client Key"))
	return key[:], true
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
