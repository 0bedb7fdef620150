package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"postern/config/wire"
)

// bearer is a client that shows an access token: XOAUTH2, which has no
// specification but Google's and Microsoft's pages, or OAUTHBEARER (RFC 7628).
type bearer struct {
	name    string
	initial string
	// goodbye answers the error that comes in place of a refusal, so that
	// the refusal can follow.
	goodbye string
	problem string // what that error said; "-": nothing of use
}

func xoauth2(r *Request, token string) *bearer {
	return &bearer{name: "XOAUTH2", initial: "user=" + r.Username + "\x01auth=Bearer " + token + "\x01\x01"}
}

// oauthBearer: RFC 7628 §3.1, with the header of RFC 5801 §4.
func oauthBearer(r *Request, token string) *bearer {
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(r.Username)
	text := "n,a=" + user + ",\x01"
	if r.Host != "" {
		text += "host=" + r.Host + "\x01port=" + strconv.Itoa(r.Port) + "\x01"
	}
	return &bearer{name: "OAUTHBEARER", initial: text + "auth=Bearer " + token + "\x01\x01", goodbye: "\x01"}
}

func (b *bearer) Start() (string, []byte, error) { return b.name, []byte(b.initial), nil }

// Next is reached by a server that does not like the token (RFC 7628 §3.2.2).
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	if b.problem != "" {
		return nil, errMore
	}
	b.problem = problemOf(challenge)
	return []byte(b.goodbye), nil
}

func (b *bearer) verified() error {
	if b.problem != "" {
		return errors.New("the upstream accepted after it had refused the token")
	}
	return nil
}

// problemOf reads the status of an error. It is a word in RFC 7628 and an
// HTTP status in XOAUTH2, as text or as a number.
func problemOf(challenge []byte) string {
	var said struct {
		Status any    `json:"status"`
		Scope  string `json:"scope"`
	}
	if json.Unmarshal(challenge, &said) != nil {
		return "-"
	}
	var status string
	switch v := said.Status.(type) {
	case string:
		status = v
	case float64:
		status = strconv.FormatFloat(v, 'f', -1, 64)
	}
	// The upstream has the token, and could repeat it here.
	if !slices.Contains(knownStatus, status) {
		return "-"
	}
	for _, scope := range strings.Fields(said.Scope) {
		if slices.Contains(knownScopes, scope) {
			return status + ", scope " + scope
		}
	}
	return status
}

// stale reports whether another token may do better. A revoked one was seen
// to give 454, not 535. One that lacks a scope is as good as its successor, and
// where there were too many sign-ins (Gmail: 454) one more makes it worse.
func (b *bearer) stale(refused *Refused) bool {
	if strings.Contains(strings.ToLower(refused.Reply.Text), "too many") {
		return false
	}
	status, _, _ := strings.Cut(b.problem, ",")
	switch status {
	case "403", "insufficient_scope":
		return false
	case "", "-":
		return refused.Meaning == WrongCredentials || refused.Meaning == NotNow
	}
	return true
}

// withToken signs in, and once more with another token where the upstream
// does not take the first.
func withToken(ctx context.Context, conn Conn, r *Request, m *mechanism) error {
	token, err := r.Token(ctx, "")
	if err != nil {
		return err
	}
	refused, err := m.show(conn, r, token)
	if refused == nil {
		return err
	}
	another, tokenErr := r.Token(ctx, token)
	switch {
	case tokenErr != nil:
		return fmt.Errorf("the upstream refused the token (%d), and there is no other: %w", refused.Reply.Code, tokenErr)
	case another == token:
		return refused
	}
	_, err = m.show(conn, r, another)
	return err
}

// show carries out one exchange. refused is set where another token is worth
// an attempt; err is set then, too.
func (m *mechanism) show(conn Conn, r *Request, token string) (refused *Refused, err error) {
	if token == "" || !wire.Printable(token) || strings.Contains(token, " ") {
		return nil, errors.New("the token is not one") // RFC 6750 §2.1
	}
	if strings.ContainsFunc(r.Username, unicode.IsControl) {
		return nil, errors.New("the user name holds a control character")
	}
	b := m.bearer(r, token)
	err = exchange(conn, m.name, b)
	if !errors.As(err, &refused) {
		return nil, err
	}
	if b.problem != "-" {
		refused.Detail = b.problem
	}
	if !b.stale(refused) {
		return nil, err
	}
	return refused, err
}
