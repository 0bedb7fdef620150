package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"postern/config"
)

// token is what is kept for one account. It never shows itself.
type token struct {
	// Identity says for which client, user and scopes it was given out.
	Identity string    `json:"identity"`
	Access   string    `json:"access_token"`
	Refresh  string    `json:"refresh_token,omitempty"`
	Obtained time.Time `json:"obtained"`
	Expires  time.Time `json:"expires,omitzero"` // zero: not known
	// RefreshEnds is when the refresh token does; zero: the provider does not say.
	RefreshEnds time.Time `json:"refresh_ends,omitzero"`
	// Prolonged: the last renewal moved that end.
	Prolonged bool `json:"prolonged,omitempty"`
}

// String hides the token.
func (t *token) String() string { return "[token]" }

// Format hides the token whatever the verb.
func (t *token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[token]") }

const (
	// earliest is how long before its end a token is renewed, at most.
	earliest = 5 * time.Minute
	// share of its life that is left when a short-lived token is renewed.
	earlyShare = 5
	// edge is how long a token has to go on for a sign-in to begin with it.
	edge = 10 * time.Second
)

func newToken(identity string, t *oauth2.Token) *token {
	return &token{
		Identity: identity, Access: t.AccessToken, Refresh: t.RefreshToken,
		Obtained: time.Now(), Expires: t.Expiry, RefreshEnds: refreshEnds(t, time.Now()),
	}
}

// longestLogin is the longest life of a login that is believed; beyond it, it
// may as well have no end.
const longestLogin = 10 * 365 * 24 * time.Hour

// refreshEnds is when the refresh token ends that came with t. RFC 6749 has no
// name for that: Google and Microsoft call it refresh_token_expires_in, Keycloak
// refresh_expires_in (0: never).
func refreshEnds(t *oauth2.Token, now time.Time) time.Time {
	if t.RefreshToken == "" {
		return time.Time{}
	}
	for _, key := range []string{"refresh_token_expires_in", "refresh_expires_in"} {
		if seconds, ok := t.Extra(key).(float64); ok && seconds >= 1 && seconds <= longestLogin.Seconds() {
			return now.Add(time.Duration(seconds) * time.Second)
		}
	}
	return time.Time{}
}

// after is told which token t replaces by a renewal; nil: none.
func (t *token) after(old *token) {
	if old == nil || old.RefreshEnds.IsZero() {
		return
	}
	if t.RefreshEnds.IsZero() && t.Refresh == old.Refresh {
		t.RefreshEnds = old.RefreshEnds
	}
	t.Prolonged = t.RefreshEnds.IsZero() || t.RefreshEnds.Sub(old.RefreshEnds) > t.Obtained.Sub(old.Obtained)/2
}

// ended reports whether the token is of no use any more. One without an end
// is good until the upstream says otherwise.
func (t *token) ended(now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires.Add(-edge))
}

// ending reports whether it is time for the next one.
func (t *token) ending(now time.Time) bool {
	if t.Expires.IsZero() {
		return false
	}
	margin := min(earliest, t.Expires.Sub(t.Obtained)/earlyShare)
	return !now.Before(t.Expires.Add(-margin))
}

// identity tells clients, users and scopes apart: a token for one of them is
// nothing to another. What somebody has logged in for goes to no other server
// either: whoever may define upstreams could have it sent to one of their own.
func identity(a *config.Account) string {
	c := a.OAuth
	scopes := slices.Clone(c.Scopes)
	slices.Sort(scopes)
	of := fmt.Appendf(nil, "%q %q %q %q %q %q %q %q %v", c.Provider, c.Tenant, strings.TrimSuffix(c.Issuer, "/"),
		c.ClientID, c.Subject, c.ServiceAccountFile, a.Username, scopes, c.NeedsPerson())
	if c.NeedsPerson() {
		of = fmt.Appendf(of, " %q", a.Server)
	}
	sum := sha256.Sum256(of)
	return hex.EncodeToString(sum[:])
}
