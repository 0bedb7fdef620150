package signin

import (
	"errors"

	"github.com/emersion/go-sasl"
)

// gssContext is the initiator's side of a security context of GSS-API (RFC
// 2743), by our own Kerberos or by that of Windows.
type gssContext interface {
	// first returns the first token.
	first() ([]byte, error)
	// next takes a token of the acceptor. done: the context stands, and the
	// acceptor has proven itself; out may be empty then.
	next(token []byte) (out []byte, done bool, err error)
	// unwrap checks a message of the acceptor, wrap protects one of ours;
	// integrity, no secrecy.
	unwrap(message []byte) ([]byte, error)
	wrap(message []byte) ([]byte, error)
	close()
}

// noSecurityLayer is the bit and the answer of RFC 4752 §3.1: nothing but TLS
// protects what follows.
const noSecurityLayer = 1

// gssapi is GSSAPI (RFC 4752), or GSS-SPNEGO, which nothing specifies: Cyrus
// and Windows have done when the context stands, Dovecot goes on to agree on
// layers as in GSSAPI.
type gssapi struct {
	name    string
	context gssContext
	layers  bool // have to be agreed on
	stands  bool
	agreed  bool
}

var _ sasl.Client = (*gssapi)(nil)

func (g *gssapi) Start() (string, []byte, error) {
	token, err := g.context.first()
	return g.name, token, err
}

func (g *gssapi) Next(challenge []byte) ([]byte, error) {
	switch {
	case g.agreed:
		return nil, errMore
	case g.stands:
		return g.layer(challenge)
	}
	out, done, err := g.context.next(challenge)
	if err != nil {
		return nil, err
	}
	g.stands = done
	if out == nil {
		out = []byte{} // RFC 4752 §3.1: an empty response, where there is nothing to say
	}
	return out, nil
}

// layer declines every security layer, of which TLS is the better one.
func (g *gssapi) layer(challenge []byte) ([]byte, error) {
	offer, err := g.context.unwrap(challenge)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 {
		return nil, errors.New("the upstream's offer of security layers is not valid")
	}
	if offer[0]&noSecurityLayer == 0 {
		return nil, errors.New("the upstream insists on a security layer of Kerberos, which is not supported; TLS has to do")
	}
	g.agreed = true
	// The size is zero without a layer; no authorization identity: that of
	// the ticket.
	return g.context.wrap([]byte{noSecurityLayer, 0, 0, 0})
}

func (g *gssapi) verified() error {
	if !g.stands || g.layers && !g.agreed {
		return errors.New("the upstream accepted before it had proven itself")
	}
	return nil
}

// suspect tells where to look after a refusal without a reason, which is all
// that mail servers give.
func (g *gssapi) suspect() string {
	if g.stands {
		return "it knows who we are: the account may not use it"
	}
	return "the KDC gave a ticket for it: look at its clock, its keytab, and whether that is newer than the ticket"
}

// Close forgets keys and tickets.
func (g *gssapi) Close() error {
	g.context.close()
	return nil
}
