package signin

import (
	"context"
	"strings"
)

// discreet is a Conn to an upstream that may repeat what it was told. Its
// replies end in logs, so they come back without the secrets of the exchange,
// in whatever form they went out.
type discreet struct {
	Conn
	secrets []string
}

const (
	hidden = "[secret]"
	// shortSecret is how short a secret is that is left alone, in bytes: to
	// hide every "a" of a reply would tell more than the reply.
	shortSecret = 4
	// telling is how much of a secret gives it away, in bytes.
	telling = 12
)

func (d *discreet) hide(secret string) {
	if len(secret) >= shortSecret {
		d.secrets = append(d.secrets, secret)
	}
}

// Exchange hides the line itself from now on, too. Of AUTH and its mechanism
// nothing is secret, but of what follows them.
func (d *discreet) Exchange(line []byte) (Reply, error) {
	said := string(line)
	if words := strings.SplitN(said, " ", 3); words[0] == "AUTH" {
		said = ""
		if len(words) == 3 {
			said = words[2]
		}
	}
	d.hide(said)
	r, err := d.Conn.Exchange(line)
	for _, secret := range d.secrets {
		r.Text = without(r.Text, secret)
	}
	return r, err
}

// without hides a secret in a text, which may have been cut off within it.
func without(text, secret string) string {
	text = strings.ReplaceAll(text, secret, hidden)
	if len(secret) > telling {
		if at := strings.Index(text, secret[:telling]); at >= 0 {
			text = text[:at] + hidden
		}
	}
	return text
}

// watched is the request, with d told of every secret that is fetched.
func (r *Request) watched(d *discreet) *Request {
	own := *r
	if r.Password != nil {
		own.Password = func(ctx context.Context) (string, error) {
			password, err := r.Password(ctx)
			d.hide(password)
			return password, err
		}
	}
	if r.Token != nil {
		own.Token = func(ctx context.Context, refused string) (string, error) {
			token, err := r.Token(ctx, refused)
			d.hide(token)
			return token, err
		}
	}
	return &own
}
