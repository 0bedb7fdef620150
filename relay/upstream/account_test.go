package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/signin"
)

// script answers lines of AUTH by code and text, from what it is told: how
// many came before, and the line.
type script struct {
	t      *testing.T
	lines  []string
	answer func(n int, line string) (code int, text string)
}

func (s *script) line(line []byte) (reply, error) {
	s.lines = append(s.lines, string(line))
	if len(line)+2 > maxResponseLine {
		s.t.Errorf("a line of %d bytes", len(line))
	}
	code, text := s.answer(len(s.lines)-1, string(line))
	if code == 0 {
		return reply{}, errors.New("the connection is gone")
	}
	return reply{code: code, text: []byte(text)}, nil
}

// auth signs in by a mechanism, in lines of AUTH.
func auth(t *testing.T, r *signin.Request, answer func(n int, line string) (int, string)) (string, []string, error) {
	t.Helper()
	s := &script{t: t, answer: answer}
	r.TLS, r.Password = true, func(context.Context) (string, error) { return "pe ncil", nil }
	name, err := signin.Do(t.Context(), &authLines{exchange: s.line}, r)
	return name, s.lines, err
}

func plainOf(t *testing.T, encoded string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatalf("%q: %v", encoded, err)
	}
	return string(b)
}

func plainRequest(user string) *signin.Request {
	return &signin.Request{Auth: "plain", Username: user, Offered: []string{"PLAIN"}}
}

func TestInitialResponse(t *testing.T) {
	name, lines, err := auth(t, plainRequest("app"), func(int, string) (int, string) { return 235, "ok" })
	if err != nil || name != "PLAIN" || len(lines) != 1 {
		t.Fatal(name, lines, err)
	}
	if got := plainOf(t, strings.TrimPrefix(lines[0], "AUTH PLAIN ")); got != "\x00app\x00pe ncil" {
		t.Errorf("%q", got)
	}
}

// RFC 4954 §4: an empty initial response is a "=".
func TestEmptyInitialResponse(t *testing.T) {
	r := &signin.Request{Auth: "external", Certificate: true, Offered: []string{"EXTERNAL"}}
	if _, lines, err := auth(t, r, func(int, string) (int, string) { return 235, "ok" }); err != nil || lines[0] != "AUTH EXTERNAL =" {
		t.Error(lines, err)
	}
}

// RFC 4954 §4: an initial response that makes the line too long waits for the
// first challenge, whatever that says.
func TestLongInitialResponse(t *testing.T) {
	for _, challenge := range []string{"", "PLAIN supported", "VXNlcm5hbWU6"} {
		user := strings.Repeat("u", 600)
		_, lines, err := auth(t, plainRequest(user), func(n int, _ string) (int, string) {
			if n == 0 {
				return 334, challenge
			}
			return 235, "ok"
		})
		if err != nil || len(lines) != 2 || lines[0] != "AUTH PLAIN" {
			t.Fatal(lines, err)
		}
		if got := plainOf(t, lines[1]); got != "\x00"+user+"\x00pe ncil" {
			t.Errorf("%q", got)
		}
	}
}

func TestLongInitialResponseNeverAskedFor(t *testing.T) {
	if _, _, err := auth(t, plainRequest(strings.Repeat("u", 600)), func(int, string) (int, string) { return 235, "ok" }); err == nil {
		t.Error("a sign-in without the credentials succeeded")
	}
}

func TestResponseBeyondEveryLimit(t *testing.T) {
	_, lines, err := auth(t, plainRequest(strings.Repeat("u", maxResponseLine)), func(n int, _ string) (int, string) {
		if n == 0 {
			return 334, ""
		}
		return 501, "cancelled"
	})
	if err == nil || lines[len(lines)-1] != "*" {
		t.Error(len(lines), err)
	}
}

// What was offered and is not to be had leaves the next one (RFC 4954 §6).
func TestMechanismThatIsNotToBeHad(t *testing.T) {
	for code, want := range map[int]int{504: 2, 534: 2, 535: 1, 454: 1, 554: 1} {
		r := &signin.Request{Auth: "auto", Username: "app", Offered: []string{"PLAIN", "LOGIN"}}
		name, lines, err := auth(t, r, func(int, string) (int, string) { return code, "no" })
		var refused *signin.Refused
		if !errors.As(err, &refused) || refused.Reply.Code != code || len(lines) != want || (name == "LOGIN") != (want == 2) {
			t.Errorf("%d: %s, %q, %v", code, name, lines, err)
		}
	}
}

// Foreign bytes in every answer: no panic, no success without a 235, and an
// end.
func FuzzAuthLines(f *testing.F) {
	f.Add("plain", 334, "", 235, "")
	f.Add("login", 334, "VXNlcm5hbWU6", 334, "UGFzc3dvcmQ6")
	f.Add("cram-md5", 334, "PGE+", 235, "")
	f.Add("scram-sha-256", 334, "cj1hLHM9YixpPTQwOTY=", 334, "dj1h")
	f.Add("scram-sha-512", 334, "not base64", 999, "\x00")
	f.Fuzz(func(t *testing.T, name string, code1 int, text1 string, code2 int, text2 string) {
		saw235 := false
		r := plainRequest("app")
		r.Auth = config.Mechanism(name)
		r.Offered = []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"}
		_, lines, err := auth(t, r, func(n int, _ string) (int, string) {
			code, text := code2, text2
			if n%2 == 0 {
				code, text = code1, text1
			}
			saw235 = saw235 || code == 235
			return code, text
		})
		if err == nil && !saw235 {
			t.Error("success without a 235")
		}
		if len(lines) > 20 {
			t.Errorf("%d lines", len(lines))
		}
	})
}
