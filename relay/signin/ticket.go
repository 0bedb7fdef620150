package signin

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

const (
	// leastRounds and mostRounds bound the iterations of PBKDF2 that a KDC may
	// ask for: RFC 3962 §4 has 4,096, RFC 8009 §4 has 32,768. Fewer would help
	// whoever wants to guess the password, more keep a processor busy.
	leastRounds = 4096
	mostRounds  = 1_000_000
	// maxReferrals bounds the realms on the way to a ticket.
	maxReferrals = 5
	// confounder is the length of what stands before an encrypted text: RFC
	// 3962 §6, RFC 8009 §5.
	confounder = 16
)

// granted is a ticket with the key that belongs to it.
type granted struct {
	ticket messages.Ticket
	key    types.EncryptionKey
	ends   time.Time
}

func (g *granted) valid(now time.Time) bool { return now.Before(g.ends) }

// secret is what a user proves to be one by.
type secret interface {
	// key is the user's for an encryption type. kvno is the version wanted, 0:
	// the newest; hint is what the KDC says of deriving it.
	key(user types.PrincipalName, realm string, kvno int, hint *keyHint) (types.EncryptionKey, error)
}

// keyHint is what a KDC says of a user's key, after it was found to be sound.
type keyHint struct {
	kind       int32 // one of aes
	salt       string
	parameters []byte // of the derivation; none: the default
}

// kerberosUser is a user at the KDCs.
type kerberosUser struct {
	kdcs   kdcs
	user   types.PrincipalName
	realm  string
	secret secret    // nil: tickets alone
	tgt    granted   // of the user's realm
	cached []granted // for services
}

// signIn gets the ticket-granting ticket: RFC 4120 §3.1. The first request
// proves nothing; where the KDC wants a proof, it says which.
func (u *kerberosUser) signIn(ctx context.Context) error {
	var key types.EncryptionKey
	var proof types.PADataSequence
	for referrals := 0; ; {
		request, err := messages.NewASReqForTGT(u.realm, u.kdcs.conf, u.user)
		if err != nil {
			return err
		}
		request.PAData = proof
		raw, err := request.Marshal()
		if err != nil {
			return err
		}
		reply, err := u.kdcs.ask(ctx, u.realm, raw)
		if err != nil {
			return err
		}
		refused := refusalOf(reply)
		switch {
		case refused == nil:
			u.tgt, err = u.open(reply, &request, key)
			return err
		case refused.ErrorCode == errorcode.KDC_ERR_PREAUTH_REQUIRED && proof == nil:
			if key, proof, err = u.prove(refused.EData); err != nil {
				return err
			}
		case refused.ErrorCode == errorcode.KDC_ERR_WRONG_REALM && proof == nil && referrals < maxReferrals && refused.CRealm != "":
			u.realm = refused.CRealm // RFC 6806 §7
			referrals++
		default:
			return explainKerberos(refused)
		}
	}
}

// prove makes the encrypted timestamp of RFC 4120 §5.2.7.2.
func (u *kerberosUser) prove(data []byte) (types.EncryptionKey, types.PADataSequence, error) {
	var offered types.PADataSequence
	if err := unharmed(func() error { return offered.Unmarshal(data) }); err != nil {
		return types.EncryptionKey{}, nil, errors.New("the KDC wants a proof and says none that can be read")
	}
	hint, err := hintOf(offered)
	if err != nil {
		return types.EncryptionKey{}, nil, err
	}
	if hint == nil {
		hint = &keyHint{kind: aes[0]}
	}
	key, err := u.secret.key(u.user, u.realm, 0, hint)
	if err != nil {
		return types.EncryptionKey{}, nil, err
	}
	var proof []byte
	err = unharmed(func() error {
		stamp, err := types.GetPAEncTSEncAsnMarshalled()
		if err != nil {
			return err
		}
		sealed, err := crypto.GetEncryptedData(stamp, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, 0)
		if err != nil {
			return err
		}
		proof, err = sealed.Marshal()
		return err
	})
	if err != nil {
		return types.EncryptionKey{}, nil, err
	}
	return key, types.PADataSequence{{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: proof}}, nil
}

// hintOf finds the first sound entry of PA-ETYPE-INFO2: RFC 4120 §5.2.7.5. nil:
// there is no such element. PA-ETYPE-INFO is of a time before AES.
func hintOf(elements types.PADataSequence) (*keyHint, error) {
	for _, e := range elements {
		if e.PADataType != patype.PA_ETYPE_INFO2 {
			continue
		}
		var entries types.ETypeInfo2
		if err := unharmed(func() error { return entries.Unmarshal(e.PADataValue) }); err != nil {
			return nil, errors.New("what the KDC says of the user's key cannot be read")
		}
		for _, entry := range entries {
			if !slices.Contains(aes, entry.EType) {
				continue
			}
			if err := soundRounds(entry.S2KParams); err != nil {
				return nil, err
			}
			return &keyHint{kind: entry.EType, salt: entry.Salt, parameters: entry.S2KParams}, nil
		}
		return nil, errors.New("the KDC offers no AES for the user: allow AES for the account " +
			"(msDS-SupportedEncryptionTypes = 24) and set its password anew. RC4 is not supported: " +
			"where the KDC did offer AES before, somebody may be answering in its place")
	}
	return nil, nil
}

// soundRounds looks at the number of iterations: RFC 3962 §4.
func soundRounds(parameters []byte) error {
	if len(parameters) == 0 {
		return nil
	}
	if len(parameters) != 4 {
		return errors.New("what the KDC says of the user's key cannot be read")
	}
	rounds := uint64(parameters[0])<<24 | uint64(parameters[1])<<16 | uint64(parameters[2])<<8 | uint64(parameters[3])
	if rounds == 0 {
		rounds = 1 << 32 // as the RFC has it
	}
	if rounds < leastRounds || rounds > mostRounds {
		return fmt.Errorf("the KDC wants the password's key made in %d rounds, which is not between %d and %d: "+
			"somebody may be answering in its place", rounds, leastRounds, mostRounds)
	}
	return nil
}

// open takes an answer to an AS-REQ: RFC 4120 §3.1.5. proven is the key of the
// proof; empty: none was asked for.
func (u *kerberosUser) open(reply []byte, request *messages.ASReq, proven types.EncryptionKey) (granted, error) {
	var answer messages.ASRep
	if err := unharmed(func() error { return answer.Unmarshal(reply) }); err != nil {
		return granted{}, errInvalidReply
	}
	body := &request.ReqBody
	if !answer.CName.Equal(body.CName) || answer.CRealm != body.Realm {
		return granted{}, errors.New("the KDC answers for another user than it was asked for")
	}
	if err := soundCipher(&answer.EncPart); err != nil {
		return granted{}, err
	}
	key := proven
	if key.KeyType != answer.EncPart.EType {
		hint, err := hintOf(answer.PAData)
		if err != nil {
			return granted{}, err
		}
		if hint == nil || hint.kind != answer.EncPart.EType {
			hint = &keyHint{kind: answer.EncPart.EType}
		}
		if key, err = u.secret.key(u.user, u.realm, answer.EncPart.KVNO, hint); err != nil {
			return granted{}, err
		}
	}
	var part messages.EncKDCRepPart
	err := unharmed(func() error {
		plain, err := crypto.DecryptEncPart(answer.EncPart, key, keyusage.AS_REP_ENCPART)
		if err != nil {
			return errors.New("the KDC's answer cannot be read: the password or the keytab is wrong")
		}
		return part.Unmarshal(plain)
	})
	switch skew := time.Since(part.AuthTime).Abs(); {
	case err != nil:
		return granted{}, err
	case part.Nonce != body.Nonce || part.SRealm != body.Realm || !part.SName.Equal(body.SName):
		return granted{}, errors.New("the KDC's answer belongs to another question")
	case skew > u.kdcs.conf.LibDefaults.Clockskew:
		return granted{}, explainKerberos(errors.New("clock skew"))
	}
	return grant(&answer.Ticket, &part)
}

var errInvalidReply = errors.New("the KDC's answer is not valid")

// grant checks the key that a KDC has given; the ticket is for others to read.
func grant(ticket *messages.Ticket, part *messages.EncKDCRepPart) (granted, error) {
	if !soundKey(&part.Key) {
		return granted{}, errors.New("the KDC gave a ticket without AES; RC4 is not supported")
	}
	return granted{ticket: *ticket, key: part.Key, ends: part.EndTime}, nil
}

// soundKey looks at type and length. What the library says of the length is
// wrong for one of the types.
func soundKey(key *types.EncryptionKey) bool {
	switch key.KeyType {
	case etypeID.AES128_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA256_128:
		return len(key.KeyValue) == 16
	case etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES256_CTS_HMAC_SHA384_192:
		return len(key.KeyValue) == 32
	}
	return false
}

// soundCipher refuses what the library reads past the end of.
func soundCipher(data *types.EncryptedData) error {
	if !slices.Contains(aes, data.EType) {
		return errors.New("the KDC answers without AES; RC4 is not supported: somebody may be answering in its place")
	}
	kind, err := crypto.GetEtype(data.EType)
	if err != nil || len(data.Cipher) <= confounder+kind.GetHMACBitLength()/8 {
		return errInvalidReply
	}
	return nil
}

// service gets a ticket for a service, over as many realms as it takes: RFC
// 4120 §3.3, RFC 6806 §8.
func (u *kerberosUser) service(ctx context.Context, name string) (granted, error) {
	principal := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, name)
	now := time.Now()
	for _, g := range u.cached {
		if g.valid(now) && slices.Equal(g.ticket.SName.NameString, principal.NameString) {
			return g, nil
		}
	}
	tgt, realm := u.tgt, u.realm
	if other := u.kdcs.conf.ResolveRealm(principal.NameString[len(principal.NameString)-1]); other != "" && other != realm {
		krbtgt := types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", other}}
		var err error
		if tgt, err = u.exchange(ctx, realm, &tgt, krbtgt); err != nil {
			return granted{}, err
		}
		realm = other
	}
	for range maxReferrals + 1 {
		g, err := u.exchange(ctx, realm, &tgt, principal)
		if err != nil {
			return granted{}, err
		}
		names := g.ticket.SName.NameString
		if len(names) != 2 || names[0] != "krbtgt" {
			return g, nil
		}
		tgt, realm = g, names[1]
	}
	return granted{}, errors.New("the KDCs send us from one realm to the next")
}

// exchange asks a realm's KDC for a ticket.
func (u *kerberosUser) exchange(ctx context.Context, realm string, tgt *granted, name types.PrincipalName) (granted, error) {
	var request messages.TGSReq
	var raw []byte
	err := unharmed(func() (err error) {
		if request, err = messages.NewTGSReq(u.user, realm, u.kdcs.conf, tgt.ticket, tgt.key, name, false); err == nil {
			raw, err = request.Marshal()
		}
		return err
	})
	if err != nil {
		return granted{}, fmt.Errorf("the ticket cannot be used: %w", err)
	}
	reply, err := u.kdcs.ask(ctx, realm, raw)
	if err != nil {
		return granted{}, err
	}
	if refused := refusalOf(reply); refused != nil {
		return granted{}, explainKerberos(refused)
	}
	var answer messages.TGSRep
	if err := unharmed(func() error { return answer.Unmarshal(reply) }); err != nil {
		return granted{}, errInvalidReply
	}
	if answer.EncPart.EType != tgt.key.KeyType {
		return granted{}, errInvalidReply
	}
	if err := soundCipher(&answer.EncPart); err != nil {
		return granted{}, err
	}
	err = unharmed(func() error {
		if err := answer.DecryptEncPart(tgt.key); err != nil {
			return errors.New("the KDC's answer cannot be read: it is of another KDC, or was altered")
		}
		_, err := answer.Verify(u.kdcs.conf, request)
		return err
	})
	if err != nil {
		return granted{}, explainKerberos(err)
	}
	if len(answer.Ticket.SName.NameString) == 0 || !answer.DecryptedEncPart.SName.Equal(answer.Ticket.SName) {
		return granted{}, errInvalidReply
	}
	return grant(&answer.Ticket, &answer.DecryptedEncPart)
}

// byPassword derives keys from a password.
type byPassword string

func (p byPassword) key(user types.PrincipalName, realm string, _ int, hint *keyHint) (types.EncryptionKey, error) {
	kind, err := crypto.GetEtype(hint.kind)
	if err != nil {
		return types.EncryptionKey{}, err
	}
	salt, parameters := hint.salt, kind.GetDefaultStringToKeyParams()
	if salt == "" {
		salt = user.GetSalt(realm) // RFC 4120 §4
	}
	if len(hint.parameters) == 4 {
		parameters = hex.EncodeToString(hint.parameters)
	}
	value, err := kind.StringToKey(string(p), salt, parameters)
	return types.EncryptionKey{KeyType: hint.kind, KeyValue: value}, err
}
