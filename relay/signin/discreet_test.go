package signin

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestUpstreamThatRepeats: an upstream that repeats what it was told, in
// whatever disguise, does not get it into an error.
func TestUpstreamThatRepeats(t *testing.T) {
	token := strings.Repeat("tok.en-", 30)
	reversed := func(s string) string {
		b := []byte(s)
		slices.Reverse(b)
		return string(b)
	}
	for name, disguise := range map[string]func(string) string{
		"as it is": func(s string) string { return s },
		"reversed": reversed,
		"hex":      func(s string) string { return hex.EncodeToString([]byte(s)) },
		"base64":   func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"spaced":   func(s string) string { return strings.Join(strings.Split(s, ""), " ") },
		"capitals": strings.ToUpper,
		"a part":   func(s string) string { return s[:5] },
	} {
		for _, auth := range []string{"plain", "login", "cram-md5", "xoauth2", "oauthbearer"} {
			for _, code := range []int{535, 454, 421, 250} {
				r := request(auth, strings.ToUpper(auth))
				r.Token = func(context.Context, string) (string, error) { return token, nil }
				secrets := []string{disguise(password), disguise(token)}
				_, _, err := do(t, r, func(n int, line string) Reply {
					switch line = strings.TrimSpace(strings.TrimPrefix(line, "AUTH "+strings.ToUpper(auth))); {
					case n == 0 && line == "":
						return ask("Username:")
					case n == 1 && auth == "login":
						return ask("Password:")
					case n == 0 && (auth == "xoauth2" || auth == "oauthbearer"):
						return ask(fmt.Sprintf(`{"status":%q,"scope":%q}`, secrets[1], secrets[0]))
					}
					return say(code, "authentication failed: "+secrets[0]+" "+secrets[1]+" "+disguise(line+"......"))
				})
				var refused *Refused
				if !errors.As(err, &refused) {
					t.Fatal(auth, err)
				}
				said := fmt.Sprintf("%v %+v", err, *refused)
				for _, secret := range secrets {
					if strings.Contains(said, secret) {
						t.Errorf("%s, %s: %q is in %s", name, auth, secret, said)
					}
				}
				if want := fmt.Sprintf("%d authentication failed", code); !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", auth, err, want)
				}
			}
		}
	}
}

// TestKnownWords: what servers say stays readable, and nothing else stays.
func TestKnownWords(t *testing.T) {
	for said, want := range map[string]string{
		"": "",
		"Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled": "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox",
		"Error: authentication failed: UGFzc3dvcmQ6":  "authentication failed",
		"USERNAME AND PASSWORD NOT ACCEPTED. hunter2": "Username and Password not accepted",
		"hunter2": withheld,
	} {
		if got := known(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
	for i, words := range knownWords {
		for _, later := range lowerWords[i+1:] {
			if strings.Contains(later, strings.ToLower(words)) {
				t.Errorf("%q comes after a part of it, %q", later, words)
			}
		}
	}
}
