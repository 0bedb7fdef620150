package signin

import (
	"bytes"
	"crypto/tls"
	stdasn1 "encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	krbgss "github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// acceptor is the upstream's side of Kerberos. It was given the session's key
// by other means than a ticket, and can be made to misbehave.
type acceptor struct {
	t               *testing.T
	session, subkey types.EncryptionKey
	ticket          types.EncryptionKey // what we believe to be the session's key
	offer           []byte              // security layers
	rotate          int
	spoil           func(step int, token []byte) []byte
	checksum        []byte // of the authenticator
	answer          []byte // the last message, unwrapped
	step            int
}

func key(b byte) types.EncryptionKey {
	return types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: bytes.Repeat([]byte{b}, 32)}
}

func newAcceptor(t *testing.T) *acceptor {
	return &acceptor{
		t: t, session: key(1), ticket: key(1), subkey: key(2), offer: []byte{7, 0, 0x10, 0},
		spoil: func(_ int, token []byte) []byte { return token },
	}
}

// client is ours, with a ticket that nobody has to read.
func (a *acceptor) client(r *Request, name string) sasl.Client {
	a.t.Helper()
	i := &initiator{session: a.ticket}
	ticket := messages.Ticket{
		TktVNO: 5, Realm: "EXAMPLE.COM", SName: types.NewPrincipalName(1, r.service()),
		EncPart: types.EncryptedData{EType: etypeID.AES256_CTS_HMAC_SHA1_96, Cipher: make([]byte, 900)},
	}
	if err := i.ask(r, ticket, "EXAMPLE.COM", types.NewPrincipalName(1, "alice")); err != nil {
		a.t.Fatal(err)
	}
	if name == "GSSAPI" {
		return &gssapi{name: name, context: i, layers: true}
	}
	return &gssapi{name: name, context: &spnegoContext{i}}
}

// accept answers an AP-REQ by the AP-REP of RFC 4120 §5.5.2.
func (a *acceptor) accept(token []byte) []byte {
	var request spnego.KRB5Token
	if err := request.Unmarshal(token); err != nil || !request.IsAPReq() {
		a.t.Fatal("not an AP-REQ", err)
	}
	plain, err := crypto.DecryptEncPart(request.APReq.EncryptedAuthenticator, a.ticket, keyusage.AP_REQ_AUTHENTICATOR)
	if err != nil {
		a.t.Fatal(err)
	}
	var authenticator types.Authenticator
	if err := authenticator.Unmarshal(plain); err != nil {
		a.t.Fatal(err)
	}
	if !types.IsFlagSet(&request.APReq.APOptions, 2) {
		a.t.Error("no mutual authentication was asked for")
	}
	a.checksum = authenticator.Cksum.Checksum
	return a.reply(authenticator.CTime, authenticator.Cusec)
}

func (a *acceptor) reply(at time.Time, micros int) []byte {
	part, err := asn1.Marshal(messages.EncAPRepPart{CTime: at, Cusec: micros, Subkey: a.subkey, SequenceNumber: 1})
	if err != nil {
		a.t.Fatal(err)
	}
	sealed, err := crypto.GetEncryptedData(asn1tools.AddASNAppTag(part, asnAppTag.EncAPRepPart), a.session, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	body, err := asn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: sealed})
	if err != nil {
		a.t.Fatal(err)
	}
	body = append([]byte{2, 0}, asn1tools.AddASNAppTag(body, asnAppTag.APREP)...)
	token, err := framed(stdasn1.ObjectIdentifier(krbgss.OIDKRB5.OID()), body)
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// layers offers them, turned as Windows does it.
func (a *acceptor) layers() []byte {
	token := krbgss.WrapToken{Flags: 1 | wrapAcceptor, EC: 12, SndSeqNum: 1, Payload: a.offer}
	if err := token.SetCheckSum(a.subkey, keyusage.GSSAPI_ACCEPTOR_SEAL); err != nil {
		a.t.Fatal(err)
	}
	out, err := token.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	binary.BigEndian.PutUint16(out[6:], uint16(a.rotate))
	body := bytes.Clone(out[wrapHead:])
	n := a.rotate % len(body)
	copy(out[wrapHead:], body[len(body)-n:])
	copy(out[wrapHead+n:], body)
	return out
}

func (a *acceptor) finish(message []byte) {
	var token krbgss.WrapToken
	if err := token.Unmarshal(message, false); err != nil {
		a.t.Fatal(err)
	}
	if ok, err := token.Verify(a.subkey, keyusage.GSSAPI_INITIATOR_SEAL); !ok {
		a.t.Error("our last message:", err)
	}
	a.answer = token.Payload
}

// converse is the upstream's side of the whole exchange.
func (a *acceptor) converse(_ int, line string) Reply {
	step := a.step
	a.step++
	tell := func(token []byte) Reply {
		return say(334, base64.StdEncoding.EncodeToString(a.spoil(step, token)))
	}
	switch {
	case line == "*":
		return say(501, "cancelled")
	case step == 0:
		if line != "AUTH GSSAPI" {
			a.t.Errorf("%q: a ticket is too long for the command", line)
		}
		return say(334, "")
	case step == 1:
		return tell(a.accept([]byte(decode(a.t, line))))
	case step == 2:
		if line != "" {
			a.t.Errorf("%q in answer to the AP-REP", line)
		}
		return tell(a.layers())
	case step == 3:
		a.finish([]byte(decode(a.t, line)))
	}
	return say(235, "ok")
}

func (a *acceptor) signIn(r *Request) ([]string, error) {
	s := &server{t: a.t, answer: a.converse}
	err := exchange(s, "GSSAPI", a.client(r, "GSSAPI"))
	return s.lines, err
}

func TestGSSAPI(t *testing.T) {
	ours, _ := connection(t, tls.VersionTLS13)
	for _, rotation := range []int{0, 12, 5, 16, 4000} {
		a := newAcceptor(t)
		a.rotate = rotation
		r := &Request{Host: "Mail.Example.com", State: &ours}
		if _, err := a.signIn(r); err != nil {
			t.Errorf("rotated by %d: %v", rotation, err)
		}
		if !bytes.Equal(a.answer, []byte{noSecurityLayer, 0, 0, 0}) {
			t.Errorf("%x: not the refusal of every layer", a.answer)
		}
		if !bytes.Equal(a.checksum[4:20], windowsBinding(&ours)) {
			t.Error("the sign-in is not bound to TLS")
		}
	}
}

// A refusal says where to look, which depends on how far the exchange went.
func TestGSSAPIRefused(t *testing.T) {
	for at, want := range []string{"the KDC gave a ticket for it", "the KDC gave a ticket for it", "the account may not use it", "the account may not use it"} {
		a := newAcceptor(t)
		s := &server{t: t, answer: func(n int, line string) Reply {
			if n == at {
				return say(535, "no")
			}
			return a.converse(n, line)
		}}
		var refused *Refused
		err := exchange(s, "GSSAPI", a.client(&Request{Host: "mail.example.com"}, "GSSAPI"))
		if !errors.As(err, &refused) || !strings.Contains(refused.Detail, want) {
			t.Errorf("at %d: %v", at, err)
		}
	}
}

func TestGSSAPIFromSomebodyElse(t *testing.T) {
	flip := func(step int) func(int, []byte) []byte {
		return func(n int, token []byte) []byte {
			if n == step {
				token[len(token)-1] ^= 1
			}
			return token
		}
	}
	cut := func(step, at int) func(int, []byte) []byte {
		return func(n int, token []byte) []byte {
			if n == step {
				return token[:min(at, len(token))]
			}
			return token
		}
	}
	cases := map[string]func(a *acceptor){
		"another key":        func(a *acceptor) { a.session = key(9) },
		"a spoilt proof":     func(a *acceptor) { a.spoil = flip(1) },
		"a spoilt offer":     func(a *acceptor) { a.spoil = flip(2) },
		"our own token":      func(a *acceptor) { a.spoil = func(int, []byte) []byte { return []byte("hello") } },
		"insists on a layer": func(a *acceptor) { a.offer = []byte{4, 0, 0x10, 0} },
		"a short offer":      func(a *acceptor) { a.offer = []byte{1} },
		"another time": func(a *acceptor) {
			a.spoil = func(n int, token []byte) []byte {
				if n == 1 {
					return a.reply(time.Now().Add(-time.Minute), 7)
				}
				return token
			}
		},
	}
	for at := range 60 {
		cases["a proof cut at "+time.Duration(at).String()] = func(a *acceptor) { a.spoil = cut(1, at) }
		if at < 32 {
			cases["an offer cut at "+time.Duration(at).String()] = func(a *acceptor) { a.spoil = cut(2, at) }
		}
	}
	for name, change := range cases {
		a := newAcceptor(t)
		change(a)
		if lines, err := a.signIn(&Request{Host: "mail.example.com"}); err == nil || lines[len(lines)-1] != "*" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A success before the proof is none.
	for _, early := range []int{1, 2} {
		a := newAcceptor(t)
		s := &server{t: t, answer: func(n int, line string) Reply {
			if n == early {
				return say(235, "ok")
			}
			return a.converse(n, line)
		}}
		if err := exchange(s, "GSSAPI", a.client(&Request{Host: "mail.example.com"}, "GSSAPI")); err == nil {
			t.Errorf("signed in at step %d", early)
		}
	}
	a := newAcceptor(t)
	s := &server{t: t, answer: func(n int, line string) Reply {
		if n == 3 {
			return say(535, "no")
		}
		return a.converse(n, line)
	}}
	var refused *Refused
	if err := exchange(s, "GSSAPI", a.client(&Request{Host: "mail.example.com"}, "GSSAPI")); !errors.As(err, &refused) {
		t.Error(err)
	}
}

func TestSPNEGO(t *testing.T) {
	for name, c := range map[string]struct {
		state  int
		spoil  func([]byte) []byte
		layers bool // are offered, as Dovecot does
		answer bool
	}{
		"accepted":    {0, nil, false, true},
		"with layers": {0, nil, true, true},
		"rejected":    {2, nil, false, false},
		"no proof":    {0, func([]byte) []byte { return nil }, false, false},
		"not proof":   {0, func([]byte) []byte { return []byte("hello") }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAcceptor(t)
			s := &server{t: t, answer: func(n int, line string) Reply {
				switch {
				case line == "*":
					return say(501, "cancelled")
				case n == 0:
					return say(334, "")
				case n == 1:
					var token spnego.SPNEGOToken
					if err := token.Unmarshal([]byte(decode(t, line))); err != nil || !token.Init {
						t.Fatal(err)
					}
					proof := a.accept(token.NegTokenInit.MechTokenBytes)
					if c.spoil != nil {
						proof = c.spoil(proof)
					}
					reply := spnego.NegTokenResp{NegState: asn1.Enumerated(c.state), SupportedMech: krbgss.OIDKRB5.OID(), ResponseToken: proof}
					out, err := reply.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					return say(334, base64.StdEncoding.EncodeToString(out))
				case n == 2 && c.layers:
					return say(334, base64.StdEncoding.EncodeToString(a.layers()))
				case n == 3:
					a.finish([]byte(decode(t, line)))
				}
				return say(235, "ok")
			}}
			err := exchange(s, "GSS-SPNEGO", a.client(&Request{Host: "mail.example.com"}, "GSS-SPNEGO"))
			if (err == nil) != c.answer {
				t.Error(err)
			}
		})
	}
}

func TestKerberosErrors(t *testing.T) {
	for code, want := range map[int32]string{6: "no such user", 7: "smtp/", 14: "AES", 18: "locked", 23: "new one", 24: "wrong", 32: "kinit", 37: "NTP", 68: "another realm"} {
		err := explainKerberos(messages.KRBError{ErrorCode: code})
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", code, err)
		}
	}
	for text, want := range map[string]string{
		"clock skew with KDC too large":            "NTP",
		"communication error with KDC via TCP: no": "answers",
		"something\nelse":                          "something else",
	} {
		if err := explainKerberos(errors.New(text)); !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	// What waits, and what needs somebody.
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("communication error with KDC via TCP: no"), true},
		{messages.KRBError{ErrorCode: 29}, true},
		{messages.KRBError{ErrorCode: 24}, false},
	} {
		var e *kerberosError
		if !errors.As(explainKerberos(c.err), &e) || e.Temporary() != c.want {
			t.Errorf("%v: %v", c.err, e)
		}
	}
}

func FuzzGSSAPI(f *testing.F) {
	f.Add([]byte{0x60, 3, 6, 1, 5}, []byte{5, 4, 5, 0xff, 0, 12, 0, 0})
	f.Fuzz(func(t *testing.T, proof, offer []byte) {
		a := newAcceptor(t)
		client := a.client(&Request{Host: "mail.example.com"}, "GSSAPI").(*gssapi)
		if _, err := client.Next(proof); err == nil {
			t.Error("that was no proof")
		}
		client.stands = true
		if _, err := client.Next(offer); err == nil || client.verified() == nil {
			t.Error("that was no offer")
		}
		if _, err := a.client(&Request{Host: "mail.example.com"}, "GSS-SPNEGO").Next(proof); err == nil {
			t.Error("that was no proof")
		}
	})
}
