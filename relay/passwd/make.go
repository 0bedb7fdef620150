package passwd

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Costs of what is made here: about 20 ms each on one core. An intake may
// meet many clients at once, so the memory of argon2id is the smallest that
// OWASP recommends, not the 64 MiB of RFC 9106.
const (
	argonTime    = 2
	argonMemory  = 19 << 10 // KiB
	argonThreads = 1
	bcryptCost   = 10
	scramRounds  = 60_000
)

// ErrEmpty: an empty password is never stored.
var ErrEmpty = errors.New("the password is empty")

// Argon2id makes a stored password for PLAIN and LOGIN.
func Argon2id(password string) (string, error) { return argon2id(password, argonMemory) }

func argon2id(password string, memory uint32) (string, error) {
	if password == "" {
		return "", ErrEmpty
	}
	salt := random(16)
	key := argon2.IDKey([]byte(password), salt, argonTime, memory, argonThreads, 32)
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, argonTime, argonThreads,
		e.EncodeToString(salt), e.EncodeToString(key)), nil
}

// Bcrypt makes a stored password for PLAIN and LOGIN. It fails beyond 72
// bytes, of which bcrypt would see only the first.
func Bcrypt(password string) (string, error) { return bcryptHash(password, bcryptCost) }

func bcryptHash(password string, cost int) (string, error) {
	if password == "" {
		return "", ErrEmpty
	}
	b, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", fmt.Errorf("bcrypt: %w; use argon2id", err)
	}
	return string(b), nil
}

// SCRAMSHA256 makes a verifier for SCRAM-SHA-256, PLAIN and LOGIN.
func SCRAMSHA256(password string) (string, error) { return scramVerifier(password, scramRounds) }

func scramVerifier(password string, rounds int) (string, error) {
	if password == "" {
		return "", ErrEmpty
	}
	salt := random(16)
	sp, err := saltedPassword(password, salt, rounds)
	if err != nil {
		return "", err
	}
	stored, _ := storedKey(password, salt, rounds)
	e := base64.StdEncoding
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, e.EncodeToString(salt),
		e.EncodeToString(stored), e.EncodeToString(mac(sp, "Server Key"))), nil
}

// random never fails: crypto/rand ends the process where there is none.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
