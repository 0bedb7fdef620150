package oauth

import (
	"errors"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"postern/config/wire"
	"postern/relay/told"
)

// Kind says whose turn it is.
type Kind uint8

// The kinds of trouble.
const (
	// Unreachable: the network, or the provider's own trouble. It ends by
	// itself.
	Unreachable Kind = iota
	// NeedsLogin: somebody has to run `postern upstream login`.
	NeedsLogin
	// Refused: the provider refuses this client or what it asks for.
	Refused
	// Local: a file, a key or a secret on this machine.
	Local
)

var kindNames = [...]string{"unreachable", "needs-login", "refused", "local"}

func (k Kind) String() string { return kindNames[k] }

// Error is why there is no token. It holds no secret.
type Error struct {
	Kind     Kind
	Upstream string
	Code     string // of RFC 6749 §5.2, "invalid_grant"; empty: none
	Text     string // what happened, with the hint what to do at its end
	cause    error  // on this machine; nil for what a provider or a network did
	garbled  bool   // the provider said yes, and nobody knows to what
}

func (e *Error) Error() string { return e.Text }

// Unwrap is the cause of a Local error.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports that waiting is all there is to do.
func (e *Error) Temporary() bool { return e.Kind == Unreachable }

// maxDescription bounds what a provider says, in bytes: the hint behind it
// has to fit into one line of a log.
const maxDescription = 160

// refusal turns an error of the token endpoint of host into an Error. secrets
// are what the request held.
func refusal(host string, err error, secrets []string) *Error {
	var answer *oauth2.RetrieveError
	var transport *url.Error
	switch {
	case errors.As(err, &answer):
		return judge(host, answer, secrets)
	case errors.As(err, &transport):
		cause := transport.Err // without the URL, and never with a body
		if transport.Timeout() {
			return &Error{Kind: Unreachable, Text: host + " did not answer in time"}
		}
		return &Error{Kind: Unreachable, Text: host + " cannot be reached: " + clean(cause.Error(), secrets)}
	}
	// A 200 that holds no token. Whatever it is, it is not a no.
	return &Error{Kind: Unreachable, Text: host + " gave an answer that is not a token", garbled: true}
}

// judge reads RFC 6749 §5.2. Everything unknown is temporary.
func judge(host string, answer *oauth2.RetrieveError, secrets []string) *Error {
	status := 0
	if answer.Response != nil {
		status = answer.Response.StatusCode
	}
	code := clean(answer.ErrorCode, secrets)
	e := &Error{Kind: Unreachable, Code: code, Text: host + " answered " + code}
	if code == "" {
		e.Text = host + " answered " + statusText(status)
	}
	if d := clean(answer.ErrorDescription, secrets); d != "" {
		e.Text += " (" + d + ")"
	}
	if status >= 500 || status == 429 {
		return e
	}
	switch code {
	case "invalid_grant", "interaction_required", "consent_required", "login_required", "expired_token":
		e.Kind = NeedsLogin
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		"invalid_request", "access_denied", "invalid_target", "invalid_resource":
		e.Kind = Refused
	}
	return e
}

func statusText(status int) string {
	if status == 0 {
		return "nothing that is understood"
	}
	digits := []byte{byte('0' + status/100%10), byte('0' + status/10%10), byte('0' + status%10)}
	return "HTTP " + string(digits)
}

// concealed stands for text that repeats a secret in disguise.
const concealed = "[words not shown]"

// clean is text of a provider as one harmless line, without anything of secrets, which some providers repeat. Where one is
// repeated in another form, nothing of the text is left.
func clean(text string, secrets []string) string {
	var disguised told.Secrets
	for _, s := range secrets {
		disguised.Add(s)
		if len(s) < 4 {
			continue
		}
		text = strings.ReplaceAll(text, s, "[secret]")
		text = strings.ReplaceAll(text, url.QueryEscape(s), "[secret]")
	}
	if disguised.Repeats([]byte(text)) {
		return concealed
	}
	return wire.Abridged(strings.Join(strings.Fields(text), " "), maxDescription, "…") // some send several lines
}

// withHint adds whose turn it is.
func (e *Error) withHint(upstream string, person bool) *Error {
	e.Upstream = upstream
	switch {
	case e.Kind == NeedsLogin && person:
		if book, ok := strings.CutPrefix(upstream, "book:"); ok {
			e.Text += "; run `postern book login " + book + "`"
		} else {
			e.Text += "; run `postern upstream login " + upstream + "`"
		}
	case e.Kind == NeedsLogin:
		// Nobody logs in there: the proof itself was refused.
		e.Kind = Refused
		e.Text += "; check the clock of this machine, the assertion or key, its subject, and what the provider allows it"
	case e.Kind == Refused && e.Code == "invalid_client":
		e.Text += "; check client_id and the secret or certificate, which may have expired"
	}
	return e
}
