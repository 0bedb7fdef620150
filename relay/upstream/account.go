package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/signin"
)

// requestOf is what the configuration alone knows of a sign-in.
func requestOf(up *config.Upstream) *signin.Request {
	r := signin.NewRequest(&up.Account)
	r.Service, r.Host, r.Port = "smtp", up.Host, up.Port
	// Whoever names the mechanism and turns TLS off means it, for instance for
	// a bridge on the same machine.
	r.AllowClear = up.TLS == config.TLSOff
	return r
}

// Foresee tells which mechanisms a session with the upstream can sign in by,
// the one that goes first at the top, and why not by the others. It asks
// nobody: of those that it can, the session takes the first that the upstream
// offers. encrypted says whether there is TLS, which only "opportunistic"
// leaves open. nil: no sign-in is configured.
func Foresee(up *config.Upstream, encrypted bool) []signin.Verdict {
	if !up.SignsIn() {
		return nil
	}
	r := requestOf(up)
	r.TLS = encrypted
	if up.OAuth != nil {
		r.Token = func(context.Context, string) (string, error) { return "", errors.New("nobody is connected") }
	}
	return signin.Foresee(r)
}

const (
	// maxInitialLine is the longest AUTH command with an initial response, in
	// bytes with CRLF. RFC 4954 §4 leaves it at the 512 of RFC 5321
	// §4.5.3.1.4, and servers do break off beyond it.
	maxInitialLine = 512
	// maxResponseLine bounds every other line: RFC 4954 §4.
	maxResponseLine = 12288
)

// authLines carries an exchange in lines of AUTH (RFC 4954 §4). It is for one
// sign-in.
type authLines struct {
	// exchange sends a line, to which it adds CRLF, and reads the answer.
	exchange  func(line []byte) (reply, error)
	mechanism string // that was begun last
}

// Begin sends AUTH. An initial response that makes the line too long goes out
// in answer to the first challenge, which is empty then.
func (a *authLines) Begin(mechanism string, initial []byte) (signin.Answer, error) {
	a.mechanism = mechanism
	line := append([]byte("AUTH "), mechanism...)
	pending := false
	if initial != nil {
		full := append(line[:len(line):len(line)], ' ')
		if len(initial) == 0 {
			full = append(full, '=') // RFC 4954 §4: an empty one is a "="
		}
		full = base64.StdEncoding.AppendEncode(full, initial)
		if pending = len(full)+2 > maxInitialLine; !pending {
			line = full
		}
	}
	answer, err := a.send(line)
	switch {
	case err != nil || !pending:
		return answer, err
	case answer.Meaning == signin.Accepted:
		return answer, fmt.Errorf("%s: the upstream accepted before it was told who we are", mechanism)
	case answer.Meaning == signin.Challenge:
		return a.Respond(initial)
	}
	return answer, nil
}

// Respond answers a challenge.
func (a *authLines) Respond(response []byte) (signin.Answer, error) {
	line := base64.StdEncoding.AppendEncode(nil, response)
	if len(line)+2 > maxResponseLine {
		a.Cancel()
		return signin.Answer{}, fmt.Errorf("%s: response of %d bytes is too long", a.mechanism, len(line))
	}
	return a.send(line)
}

// Cancel sends the line that ends an exchange.
func (a *authLines) Cancel() {
	_, _ = a.exchange([]byte("*")) // whatever comes: the reason is known
}

func (a *authLines) send(line []byte) (signin.Answer, error) {
	r, err := a.exchange(line)
	if err != nil {
		return signin.Answer{}, wordless(err)
	}
	answer := signin.Answer{
		Meaning: meaningOf(r.code),
		Reply:   signin.Reply{Code: r.code, Enhanced: r.enhanced, Text: wire.Text(string(r.text), maxText)},
	}
	if answer.Meaning == signin.Challenge {
		answer.Challenge = challenge(string(r.text[r.last:]))
	}
	return answer, nil
}

// meaningOf: RFC 4954 §4 and §6.
func meaningOf(code int) signin.Meaning {
	switch code {
	case 235:
		return signin.Accepted
	case 334:
		return signin.Challenge
	case 535:
		return signin.WrongCredentials
	case 454:
		return signin.NotNow
	case 504, 534:
		return signin.NotAvailable
	}
	return signin.Refusal
}

// challenge decodes the text of a 334. Text that is not base64, such as
// "334 NTLM supported", counts as an empty challenge: it is legal where the
// mechanism expects none, and a mechanism that does expect one refuses it.
func challenge(text string) []byte {
	text = strings.TrimSpace(text)
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		decoded, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return []byte{}
	}
	return decoded
}
