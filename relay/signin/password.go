package signin

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"
)

var errMore = errors.New("the upstream asks for more than the mechanism has")

// plain is PLAIN (RFC 4616). go-sasl's client writes the message; this one
// keeps NUL, which separates its parts, out of them, and answers no challenge.
type plain struct{ sasl.Client }

func plainClient(user, password string) (sasl.Client, error) {
	if strings.ContainsRune(user, 0) || strings.ContainsRune(password, 0) {
		return nil, errors.New("PLAIN: user name or password holds a NUL")
	}
	return plain{sasl.NewPlainClient("", user, password)}, nil
}

func (plain) Next([]byte) ([]byte, error) { return nil, errMore }

// login is LOGIN, which has no specification but a draft. Servers disagree
// about the prompts ("Username:", "User Name", "VXNlcg…", nothing), so the
// order decides, and a prompt only where it leaves no doubt.
type login struct {
	user, password string
	step           int
}

func loginClient(user, password string) (sasl.Client, error) {
	return &login{user: user, password: password}, nil
}

func (l *login) Start() (string, []byte, error) { return "LOGIN", nil, nil }

func (l *login) Next(prompt []byte) ([]byte, error) {
	l.step++
	switch {
	case l.step == 1 && !bytes.Contains(bytes.ToLower(prompt), []byte("password")):
		return []byte(l.user), nil
	case l.step == 2 && !bytes.Contains(bytes.ToLower(prompt), []byte("username")):
		return []byte(l.password), nil
	case l.step <= 2:
		return nil, errors.New("the upstream asks in an unknown order")
	}
	return nil, errMore
}

// cram is CRAM-MD5 (RFC 2195).
type cram struct {
	user, password string
	answered       bool
}

func cramClient(user, password string) (sasl.Client, error) {
	return &cram{user: user, password: password}, nil
}

func (c *cram) Start() (string, []byte, error) { return "CRAM-MD5", nil, nil }

func (c *cram) Next(challenge []byte) ([]byte, error) {
	if c.answered {
		return nil, errMore
	}
	// RFC 2195 §2: the challenge is a fresh message identifier. An empty one
	// would make the response good for every other exchange like it.
	if len(challenge) == 0 {
		return nil, errors.New("the challenge is empty or not base64")
	}
	c.answered = true
	mac := hmac.New(md5.New, []byte(c.password))
	mac.Write(challenge)
	return append([]byte(c.user+" "), hex.EncodeToString(mac.Sum(nil))...), nil
}

func (c *cram) verified() error {
	if !c.answered {
		return errors.New("the upstream accepted without a challenge")
	}
	return nil
}
