package signin

import (
	"encoding/asn1"
	"errors"

	krbgss "github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/spnego"
)

var spnegoOID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}

// spnegoContext offers Kerberos, and nothing else, by SPNEGO (RFC 4178).
type spnegoContext struct{ inner *initiator }

func (s *spnegoContext) first() ([]byte, error) {
	token, err := s.inner.first()
	if err != nil {
		return nil, err
	}
	offer := spnego.NegTokenInit{MechTokenBytes: token}
	offer.MechTypes = append(offer.MechTypes, krbgss.OIDKRB5.OID())
	body, err := offer.Marshal()
	if err != nil {
		return nil, err
	}
	return framed(spnegoOID, body)
}

func (s *spnegoContext) next(token []byte) (out []byte, done bool, err error) {
	defer guard(&err)
	var reply spnego.NegTokenResp
	if err := reply.Unmarshal(token); err != nil {
		return nil, false, errors.New("the upstream's token is not one of SPNEGO")
	}
	switch {
	case reply.State() == spnego.NegStateReject:
		return nil, false, errors.New("the upstream wants something else than Kerberos")
	case len(reply.ResponseToken) == 0:
		return nil, false, errors.New("the upstream did not prove who it is")
	}
	// One mechanism, offered first and accepted: no MIC is needed over the
	// list (RFC 4178 §5).
	return s.inner.next(reply.ResponseToken)
}

func (s *spnegoContext) unwrap(message []byte) ([]byte, error) { return s.inner.unwrap(message) }
func (s *spnegoContext) wrap(message []byte) ([]byte, error)   { return s.inner.wrap(message) }
func (s *spnegoContext) close()                                { s.inner.close() }
