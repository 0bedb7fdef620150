package signin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// withTokens is a request whose tokens come in turn; "" stands for none.
func withTokens(auth string, tokens ...string) *Request {
	r := request(auth, "XOAUTH2", "OAUTHBEARER", "PLAIN")
	next := 0
	r.Token = func(_ context.Context, refused string) (string, error) {
		if next > 0 && refused != tokens[next-1] {
			return "", fmt.Errorf("asked again although nothing was refused")
		}
		next++
		if next > len(tokens) || tokens[next-1] == "" {
			return "", errors.New("no token")
		}
		return tokens[next-1], nil
	}
	r.Password = func(context.Context) (string, error) { return "", errors.New("nobody needs a password here") }
	return r
}

func TestOAuthBearer(t *testing.T) {
	r := withTokens("oauthbearer", "tok")
	r.Username, r.Host, r.Port = "a,b=c@example.com", "mx.example.com", 587
	name, lines, err := do(t, r, func(int, string) Reply { return say(235, "ok") })
	if err != nil || name != "OAUTHBEARER" {
		t.Fatal(name, err)
	}
	_, ir, _ := strings.Cut(lines[0], "AUTH OAUTHBEARER ")
	// RFC 5801 §4: what separates is escaped.
	if got := decode(t, ir); got != "n,a=a=2Cb=3Dc@example.com,\x01host=mx.example.com\x01port=587\x01auth=Bearer tok\x01\x01" {
		t.Errorf("%q", got)
	}
}

// What could end a field of the message, or a line, never goes out.
func TestTokenThatBreaksOut(t *testing.T) {
	for _, token := range []string{"a\x01auth=Bearer b", "a b", "a\r\nQUIT", "ü", "\x00"} {
		if _, lines, err := do(t, withTokens("xoauth2", token), func(int, string) Reply { return say(235, "ok") }); err == nil || len(lines) > 0 {
			t.Errorf("%q: %v %v", token, lines, err)
		}
	}
	r := withTokens("xoauth2", "tok")
	r.Username = "a\x01auth=Bearer evil"
	if _, lines, err := do(t, r, func(int, string) Reply { return say(235, "ok") }); err == nil || len(lines) > 0 {
		t.Error(lines, err)
	}
}

func TestNoTokens(t *testing.T) {
	for _, r := range []*Request{withTokens("xoauth2"), request("xoauth2", "XOAUTH2")} {
		if _, lines, err := do(t, r, func(int, string) Reply { return say(235, "ok") }); err == nil || len(lines) > 0 {
			t.Error(lines, err)
		}
	}
	r := withTokens("xoauth2", "tok")
	r.TLS = false
	if _, lines, err := do(t, r, func(int, string) Reply { return say(235, "ok") }); err == nil || len(lines) > 0 ||
		!strings.Contains(err.Error(), "token in clear") {
		t.Error(lines, err)
	}
	if r.AllowClear = true; true {
		if _, _, err := do(t, r, func(int, string) Reply { return say(235, "ok") }); err != nil {
			t.Error(err)
		}
	}
	// "auto" takes what it has the means for, and says what it lacks.
	if _, _, err := do(t, request("auto", "XOAUTH2", "OAUTHBEARER"), func(int, string) Reply { return say(235, "ok") }); err == nil ||
		!strings.Contains(err.Error(), "XOAUTH2 needs an oauth table") {
		t.Error(err)
	}
}

// "auto" shows a token where it has no password, never without TLS, and moves
// on from a mechanism that is announced and not known.
func TestTokensInAuto(t *testing.T) {
	r := withTokens("auto", "tok", "tok")
	r.Password = nil
	r.Token = func(context.Context, string) (string, error) { return "tok", nil }
	name, lines, err := do(t, r, func(n int, _ string) Reply {
		if n == 0 {
			return say(504, "unrecognized authentication type")
		}
		return say(235, "ok")
	})
	if err != nil || name != "XOAUTH2" || len(lines) != 2 || !strings.HasPrefix(lines[0], "AUTH OAUTHBEARER ") {
		t.Error(name, lines, err)
	}
	r.TLS, r.AllowClear = false, true
	if _, lines, err := do(t, r, func(int, string) Reply { return say(235, "ok") }); err == nil || len(lines) > 0 {
		t.Error(lines, err)
	}
}

func TestProblemOf(t *testing.T) {
	for challenge, want := range map[string]string{
		`{"status":"401","schemes":"Bearer","scope":"https://mail.google.com/"}`: "401, scope https://mail.google.com/",
		`{"status":"403","scope":"of my own"}`:                                   "403",
		`{"status":401}`:                                                         "401",
		`{"status":"invalid_token"}`:                                             "invalid_token",
		`{"status":["x"]}`:                                                       "-",
		`{"status":"a\u0000\u001b[2J\u202eb"}`:                                   "-",
		`{"status":"` + strings.Repeat("é", 100) + `"}`:                          "-",
		`{}`:                         "-",
		``:                           "-",
		`no JSON`:                    "-",
		`{"status":"401"`:            "-",
		`{"status":"401","scope":7}`: "-",
	} {
		if got := problemOf([]byte(challenge)); got != want {
			t.Errorf("%s: %q, want %q", challenge, got, want)
		}
	}
}

// Whatever an upstream answers: at most two tokens are shown, no token is in
// an error, and nothing but a 235 is a success.
func FuzzBearer(f *testing.F) {
	f.Add("xoauth2", 334, "eyJzdGF0dXMiOiI0MDEifQ==", 535, "no")
	f.Add("oauthbearer", 454, "later", 235, "ok")
	f.Add("xoauth2", 334, "", 334, "")
	f.Fuzz(func(t *testing.T, auth string, code1 int, text1 string, code2 int, text2 string) {
		if auth != "xoauth2" {
			auth = "oauthbearer"
		}
		saw235, shown := false, 0
		r := withTokens(auth, "secret-token-1", "secret-token-2", "secret-token-3")
		_, _, err := do(t, r, func(n int, line string) Reply {
			if strings.HasPrefix(line, "AUTH ") {
				shown++
			}
			reply := say(code2, text2)
			if n%2 == 0 {
				reply = say(code1, text1)
			}
			saw235 = saw235 || reply.Code == 235
			return reply
		})
		if err == nil && !saw235 || shown > 2 {
			t.Errorf("success %v, %d tokens", err == nil, shown)
		}
		if err != nil && strings.Contains(err.Error(), "secret-token") && !strings.Contains(text1+text2, "secret-token") {
			t.Errorf("%v shows a token", err)
		}
	})
}
