package signin

import (
	"context"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/jcmturner/gokrb5/v8/crypto"
	krbgss "github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

const (
	wrapHead     = 16 // RFC 4121 §4.2.6.2
	wrapSealed   = 2  // in its flags: §4.2.2
	wrapAcceptor = 4  // in its flags: by the acceptor's subkey
)

// initiator is the Kerberos mechanism of GSS-API (RFC 4121).
type initiator struct {
	authenticator types.Authenticator
	token         []byte
	session       types.EncryptionKey // of the ticket
	subkey        types.EncryptionKey // of the acceptor; may be empty
}

// newInitiator gets the ticket for the upstream.
func newInitiator(ctx context.Context, r *Request, u *kerberosUser) (*initiator, error) {
	g, err := u.service(ctx, r.service())
	if err != nil {
		return nil, err
	}
	if !slices.Contains(aes, g.ticket.EncPart.EType) {
		return nil, fmt.Errorf("the KDC gave a ticket for %s without AES: allow AES for that account "+
			"(msDS-SupportedEncryptionTypes = 24) and set its password anew; RC4 is not supported", r.service())
	}
	i := &initiator{session: g.key}
	if err := i.ask(r, g.ticket, u.realm, u.user); err != nil {
		return nil, err
	}
	return i, nil
}

// ask makes the first token, an AP-REQ that wants an answer: RFC 4120 §3.2.2.
func (i *initiator) ask(r *Request, ticket messages.Ticket, realm string, user types.PrincipalName) error {
	var err error
	if i.authenticator, err = types.NewAuthenticator(realm, user); err != nil {
		return err
	}
	wanted := uint32(krbgss.ContextFlagMutual | krbgss.ContextFlagInteg)
	i.authenticator.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: contextChecksum(r, wanted)}
	request, err := messages.NewAPReq(ticket, i.session, i.authenticator)
	if err != nil {
		return err
	}
	types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	i.token, err = krbToken(&request)
	return err
}

// contextChecksum carries the flags and the channel binding: RFC 4121 §4.1.1.
func contextChecksum(r *Request, wanted uint32) []byte {
	sum := make([]byte, 24)
	binary.LittleEndian.PutUint32(sum, 16)
	copy(sum[4:20], windowsBinding(r.State))
	binary.LittleEndian.PutUint32(sum[20:], wanted)
	return sum
}

// krbToken frames an AP-REQ: RFC 4121 §4.1, RFC 2743 §3.1.
func krbToken(request *messages.APReq) ([]byte, error) {
	body, err := request.Marshal()
	if err != nil {
		return nil, err
	}
	return framed(asn1.ObjectIdentifier(krbgss.OIDKRB5.OID()), append([]byte{1, 0}, body...))
}

// framed is the initial token of RFC 2743 §3.1.
func framed(mechanism asn1.ObjectIdentifier, inner []byte) ([]byte, error) {
	oid, err := asn1.Marshal(mechanism)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, Tag: 0, IsCompound: true, Bytes: append(oid, inner...)})
}

func (i *initiator) first() ([]byte, error) { return i.token, nil }

// next takes the AP-REP, by which the upstream proves that it has the key of
// its principal: RFC 4120 §3.2.5.
func (i *initiator) next(token []byte) (out []byte, done bool, err error) {
	defer guard(&err)
	var reply spnego.KRB5Token
	if err := reply.Unmarshal(token); err != nil {
		return nil, false, errors.New("the upstream's token is not one of Kerberos")
	}
	if reply.IsKRBError() {
		return nil, false, explainKerberos(reply.KRBError)
	}
	if !reply.IsAPRep() {
		return nil, false, errors.New("the upstream did not prove who it is")
	}
	plain, err := crypto.DecryptEncPart(reply.APRep.EncPart, i.session, keyusage.AP_REP_ENCPART)
	if err != nil {
		return nil, false, errors.New("the upstream did not prove who it is: it does not have the ticket's key")
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return nil, false, errors.New("the upstream's proof cannot be read")
	}
	if part.Cusec != i.authenticator.Cusec || part.CTime.Unix() != i.authenticator.CTime.Unix() {
		return nil, false, errors.New("the upstream's proof belongs to another exchange")
	}
	i.subkey = part.Subkey
	return nil, true, nil
}

// guard turns a panic of the library, over bytes that came from the network,
// into an error.
func guard(err *error) {
	if recover() != nil {
		*err = errors.New("the upstream's token is not valid")
	}
}

// key is what a message with these flags is protected by.
func (i *initiator) key(flags byte) (types.EncryptionKey, error) {
	if flags&wrapAcceptor == 0 {
		return i.session, nil
	}
	if !slices.Contains(aes, i.subkey.KeyType) {
		return types.EncryptionKey{}, errors.New("the upstream uses a key that it has not given, or one without AES")
	}
	return i.subkey, nil
}

func (i *initiator) unwrap(message []byte) (plain []byte, err error) {
	defer guard(&err)
	if len(message) < wrapHead {
		return nil, errors.New("the upstream's message is cut short")
	}
	if message[2]&wrapSealed != 0 {
		return nil, errors.New("the upstream's message is sealed, which RFC 4752 excludes")
	}
	turned := rotated(message)
	var token krbgss.WrapToken
	if err := token.Unmarshal(turned, true); err != nil {
		return nil, errors.New("the upstream's message is not protected as it has to be")
	}
	key, err := i.key(token.Flags)
	if err != nil {
		return nil, err
	}
	if ok, err := token.Verify(key, keyusage.GSSAPI_ACCEPTOR_SEAL); err != nil || !ok {
		return nil, errors.New("the signature of the upstream's message is wrong")
	}
	return token.Payload, nil
}

// rotated undoes the rotation to the right that Windows likes: RFC 4121
// §4.2.5. The checksum is computed with a count of zero.
func rotated(message []byte) []byte {
	out := slices.Clone(message)
	body := message[wrapHead:]
	if len(body) > 0 {
		n := int(binary.BigEndian.Uint16(message[6:])) % len(body)
		copy(out[wrapHead:], body[n:])
		copy(out[len(out)-n:], body[:n])
	}
	out[6], out[7] = 0, 0
	return out
}

func (i *initiator) wrap(message []byte) ([]byte, error) {
	used := byte(0)
	if len(i.subkey.KeyValue) > 0 {
		used = wrapAcceptor // RFC 4121 §2: once it is there, it is the one
	}
	key, err := i.key(used)
	if err != nil {
		return nil, err
	}
	kind, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	token := krbgss.WrapToken{
		Flags: used, EC: uint16(kind.GetHMACBitLength() / 8),
		SndSeqNum: uint64(i.authenticator.SeqNumber), Payload: message,
	}
	if err := token.SetCheckSum(key, keyusage.GSSAPI_INITIATOR_SEAL); err != nil {
		return nil, err
	}
	return token.Marshal()
}

func (i *initiator) close() {}
