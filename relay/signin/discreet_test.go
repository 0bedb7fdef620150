package signin

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// An upstream that repeats what it was told, in its own words and in ours,
// whole and cut off, does not get it into an error.
func TestUpstreamThatRepeats(t *testing.T) {
	token := strings.Repeat("tok.en-", 300)
	for _, auth := range []string{"plain", "login", "cram-md5", "xoauth2", "oauthbearer"} {
		r := request(auth, strings.ToUpper(auth))
		r.Token = func(context.Context, string) (string, error) { return token, nil }
		var said []string
		_, _, err := do(t, r, func(n int, line string) Reply {
			line = strings.TrimPrefix(line, "AUTH "+strings.ToUpper(auth))
			line = strings.TrimSpace(line)
			said = append(said, line)
			plain, _ := base64.StdEncoding.DecodeString(line)
			switch {
			case n == 0 && line == "":
				return ask("Username:")
			case n == 1 && auth == "login":
				return ask("Password:")
			}
			text := "you said " + line + ", which is " + strings.Trim(string(plain), "\x00\x01") + ", or " + password
			return say(535, text[:min(len(text), 500)])
		})
		var refused *Refused
		if !errors.As(err, &refused) {
			t.Fatal(auth, err)
		}
		if !strings.Contains(err.Error(), "you said "+hidden) {
			t.Errorf("%s: %v", auth, err)
		}
		for _, secret := range append(said, token[:20], password) {
			if secret != "" && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %q is in %v", auth, secret, err)
			}
		}
	}
}
