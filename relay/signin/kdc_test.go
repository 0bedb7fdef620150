package signin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"postern/config"
)

const testRealm = "EXAMPLE.TEST"

// kdc is a KDC of one realm, or somebody in its place: answer makes of each
// request what is sent back, the n-th from zero; nil: nothing.
type kdc struct {
	addr   string
	answer func(n int, request []byte) []byte

	mu    sync.Mutex
	asked int
}

func startKDC(t testing.TB, answer func(n int, request []byte) []byte) *kdc {
	t.Helper()
	k := &kdc{answer: answer}
	var tcp net.Listener
	var udp net.PacketConn
	for range 50 { // until both ports of one number are free
		var err error
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			break
		}
		tcp.Close()
	}
	k.addr = tcp.Addr().String()
	var served sync.WaitGroup
	t.Cleanup(func() { tcp.Close(); udp.Close(); served.Wait() })
	served.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := k.reply(buffer[:n]); reply != nil {
				udp.WriteTo(reply, from)
			}
		}
	})
	served.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			served.Go(func() { k.stream(conn) })
		}
	})
	return k
}

func (k *kdc) reply(request []byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.asked
	k.asked++
	return k.answer(n, append([]byte(nil), request...))
}

func (k *kdc) stream(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return
	}
	request := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	if reply := k.reply(request); reply != nil {
		conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
	}
}

// request is one of a user of the realm whose KDC this is.
func (k *kdc) request(t testing.TB, password string) *Request {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "krb5.conf")
	text := fmt.Sprintf("[libdefaults]\n default_realm = %s\n[realms]\n %s = {\n  kdc = %s\n }\n", testRealm, testRealm, k.addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Request{
		Auth: "gssapi", Username: "alice", Host: "mail.example.test", Offered: []string{"GSSAPI"},
		Password: func(context.Context) (string, error) { return password, nil }, Kerberos: config.Kerberos{Conf: conf},
	}
}

// realm is what an honest KDC knows.
type realm struct {
	password string
	kind     int32
	salt     string
	rounds   []byte // s2kparams; nil: the default
	tgt      types.EncryptionKey
}

func (r *realm) userKey() types.EncryptionKey {
	key, err := byPassword(r.password).key(types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "alice"), testRealm, 0,
		&keyHint{kind: r.kind, salt: r.salt, parameters: r.rounds})
	if err != nil {
		panic(err)
	}
	return key
}

// wantProof is KDC_ERR_PREAUTH_REQUIRED with what is said of the user's key.
func wantProof(entries ...types.ETypeInfo2Entry) []byte {
	info, err := asn1.Marshal(types.ETypeInfo2(entries))
	if err != nil {
		panic(err)
	}
	data, err := asn1.Marshal(types.PADataSequence{{PADataType: patype.PA_ETYPE_INFO2, PADataValue: info}})
	if err != nil {
		panic(err)
	}
	return kdcError(errorcode.KDC_ERR_PREAUTH_REQUIRED, data)
}

func kdcError(code int32, data []byte) []byte {
	e := messages.NewKRBError(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, "krbtgt/"+testRealm), testRealm, code, "")
	e.EData = data
	raw, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	return raw
}

// answer is what an honest KDC answers.
func (r *realm) answer(_ int, request []byte) []byte {
	var as messages.ASReq
	if as.Unmarshal(request) == nil {
		if !as.PAData.Contains(patype.PA_ENC_TIMESTAMP) {
			return wantProof(types.ETypeInfo2Entry{EType: r.kind, Salt: r.salt, S2KParams: r.rounds})
		}
		key := r.userKey()
		var sealed types.EncryptedData
		sealed.Unmarshal(as.PAData[0].PADataValue)
		if _, err := crypto.DecryptEncPart(sealed, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP); err != nil {
			return kdcError(errorcode.KDC_ERR_PREAUTH_FAILED, nil)
		}
		var fields messages.KDCRepFields
		fields, r.tgt = r.grant(as.ReqBody, key, keyusage.AS_REP_ENCPART, 11)
		raw, err := (&messages.ASRep{KDCRepFields: fields}).Marshal()
		if err != nil {
			panic(err)
		}
		return raw
	}
	var tgs messages.TGSReq
	if err := tgs.Unmarshal(request); err != nil {
		panic(err)
	}
	tgs.ReqBody.CName = types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "alice")
	fields, _ := r.grant(tgs.ReqBody, r.tgt, keyusage.TGS_REP_ENCPART_SESSION_KEY, 13)
	raw, err := (&messages.TGSRep{KDCRepFields: fields}).Marshal()
	if err != nil {
		panic(err)
	}
	return raw
}

// grant makes a ticket, and its key for the user.
func (r *realm) grant(body messages.KDCReqBody, key types.EncryptionKey, usage uint32, kind int) (messages.KDCRepFields, types.EncryptionKey) {
	now := time.Now().UTC().Truncate(time.Second)
	keys := keytab.New()
	if err := keys.AddEntry(body.SName.PrincipalNameString(), testRealm, "service", now, 1, r.kind); err != nil {
		panic(err)
	}
	ticket, session, err := messages.NewTicket(body.CName, testRealm, body.SName, testRealm, types.NewKrbFlags(), keys, r.kind, 1,
		now, now, now.Add(time.Hour), now.Add(time.Hour))
	if err != nil {
		panic(err)
	}
	if r.kind == etypeID.AES256_CTS_HMAC_SHA384_192 { // the library makes it too short
		session.KeyValue = []byte(strings.Repeat("k", 32))
	}
	part := messages.EncKDCRepPart{
		Key: session, LastReqs: []messages.LastReq{{LRValue: now}}, Nonce: body.Nonce, Flags: types.NewKrbFlags(),
		AuthTime: now, StartTime: now, EndTime: now.Add(time.Hour), RenewTill: now.Add(time.Hour), SRealm: testRealm, SName: body.SName,
	}
	plain, err := part.Marshal()
	if err != nil {
		panic(err)
	}
	sealed, err := crypto.GetEncryptedData(plain, key, usage, 1)
	if err != nil {
		panic(err)
	}
	return messages.KDCRepFields{PVNO: 5, MsgType: kind, CRealm: testRealm, CName: body.CName, Ticket: ticket, EncPart: sealed}, session
}

func honest() *realm {
	return &realm{password: "secret", kind: etypeID.AES256_CTS_HMAC_SHA1_96, salt: "salt of the user"}
}

// firstToken signs in at a KDC, up to the first token for the upstream.
func firstToken(r *Request) error {
	client, err := gssapiClient("GSSAPI")(context.Background(), r)
	if err != nil {
		return err
	}
	if _, token, err := client.Start(); err != nil || len(token) == 0 {
		return fmt.Errorf("no token: %w", err)
	}
	return nil
}

func TestTicketsOfEachEncryptionType(t *testing.T) {
	for _, kind := range aes {
		r := honest()
		r.kind = kind
		k := startKDC(t, r.answer)
		if err := firstToken(k.request(t, "secret")); err != nil {
			t.Errorf("type %d: %v", kind, err)
		}
		if err := firstToken(k.request(t, "wrong")); err == nil || !strings.Contains(err.Error(), "the password or the keytab is wrong") {
			t.Errorf("type %d, wrong password: %v", kind, err)
		}
	}
}

// An answer that is too long for a datagram is asked for again by TCP.
func TestLongTicketsComeByTCP(t *testing.T) {
	r, n := honest(), 0
	k := startKDC(t, func(_ int, request []byte) []byte {
		if n++; n == 1 {
			return kdcError(errorcode.KRB_ERR_RESPONSE_TOO_BIG, nil)
		}
		return r.answer(0, request)
	})
	if err := firstToken(k.request(t, "secret")); err != nil {
		t.Error(err)
	}
}

// Whoever answers in the place of a KDC has no key: whatever the answer, it is
// an error of this one sign-in, at once, with little memory.
func TestHostileKDC(t *testing.T) {
	entry := func(kind int32, rounds ...byte) types.ETypeInfo2Entry {
		return types.ETypeInfo2Entry{EType: kind, Salt: "chosen", S2KParams: rounds}
	}
	aes256 := etypeID.AES256_CTS_HMAC_SHA1_96
	asReply := func(request []byte, change func(*messages.ASRep)) []byte {
		var as messages.ASReq
		if err := as.Unmarshal(request); err != nil {
			panic(err)
		}
		fields, _ := honest().grant(as.ReqBody, honest().userKey(), keyusage.AS_REP_ENCPART, 11)
		reply := messages.ASRep{KDCRepFields: fields}
		change(&reply)
		raw, err := reply.Marshal()
		if err != nil {
			panic(err)
		}
		return raw
	}
	for name, c := range map[string]struct {
		answer func(n int, request []byte) []byte
		want   string
	}{
		"ETYPE-INFO2 without entries": {func(int, []byte) []byte { return wantProof() }, "no AES"},
		"ETYPE-INFO2 that is rubbish": {func(int, []byte) []byte {
			data, _ := asn1.Marshal(types.PADataSequence{{PADataType: patype.PA_ETYPE_INFO2, PADataValue: []byte{0x30, 0x84, 0xff}}})
			return kdcError(errorcode.KDC_ERR_PREAUTH_REQUIRED, data)
		}, "cannot be read"},
		"no data": {func(int, []byte) []byte { return kdcError(errorcode.KDC_ERR_PREAUTH_REQUIRED, nil) }, "can be read"},
		"RC4":     {func(int, []byte) []byte { return wantProof(entry(etypeID.RC4_HMAC)) }, "RC4"},
		"DES":     {func(int, []byte) []byte { return wantProof(entry(etypeID.DES3_CBC_SHA1_KD)) }, "RC4"},
		"one round": {func(int, []byte) []byte { return wantProof(entry(aes256, 0, 0, 0, 1)) },
			"somebody may be answering"},
		"2^32 rounds":     {func(int, []byte) []byte { return wantProof(entry(aes256, 0, 0, 0, 0)) }, "somebody may be answering"},
		"2^31 rounds":     {func(int, []byte) []byte { return wantProof(entry(aes256, 0x80, 0, 0, 0)) }, "somebody may be answering"},
		"short parameter": {func(int, []byte) []byte { return wantProof(entry(aes256, 1)) }, "cannot be read"},
		"the same error for ever": {func(int, []byte) []byte { return wantProof(entry(aes256)) },
			"KDC_ERR_PREAUTH_REQUIRED"},
		"referrals without end": {func(n int, _ []byte) []byte {
			e := messages.NewKRBError(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, "krbtgt/"+testRealm), testRealm, errorcode.KDC_ERR_WRONG_REALM, "")
			e.CRealm = testRealm
			raw, _ := e.Marshal()
			return raw
		}, "realm"},
		"a cipher of five bytes": {func(_ int, request []byte) []byte {
			return asReply(request, func(r *messages.ASRep) { r.EncPart.Cipher = []byte("12345") })
		}, "not valid"},
		"a cipher of RC4": {func(_ int, request []byte) []byte {
			return asReply(request, func(r *messages.ASRep) { r.EncPart.EType = etypeID.RC4_HMAC })
		}, "RC4"},
		"an answer with 2^32 rounds": {func(_ int, request []byte) []byte {
			return asReply(request, func(r *messages.ASRep) {
				info, _ := asn1.Marshal(types.ETypeInfo2{entry(aes256, 0, 0, 0, 0)})
				r.PAData = types.PADataSequence{{PADataType: patype.PA_ETYPE_INFO2, PADataValue: info}}
			})
		}, "somebody may be answering"},
		"an answer under another key": {func(_ int, request []byte) []byte {
			return asReply(request, func(r *messages.ASRep) {
				info, _ := asn1.Marshal(types.ETypeInfo2{entry(aes256)})
				r.PAData = types.PADataSequence{{PADataType: patype.PA_ETYPE_INFO2, PADataValue: info}}
			})
		}, "cannot be read"},
		"an answer for somebody else": {func(_ int, request []byte) []byte {
			return asReply(request, func(r *messages.ASRep) { r.CName = types.NewPrincipalName(1, "mallory") })
		}, "another user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := startKDC(t, c.answer)
			began := time.Now()
			err := firstToken(k.request(t, "secret"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A hostile answer in the second exchange, under the right key as well.
func TestHostileTicketForTheService(t *testing.T) {
	for name, change := range map[string]func(*messages.TGSRep){
		"a cipher of five bytes": func(r *messages.TGSRep) { r.EncPart.Cipher = []byte("12345") },
		"no name":                func(r *messages.TGSRep) { r.Ticket.SName.NameString = nil },
		"another name": func(r *messages.TGSRep) {
			r.Ticket.SName = types.NewPrincipalName(1, "smtp/other.example.test")
		},
		"another cipher": func(r *messages.TGSRep) { r.EncPart.EType = etypeID.AES128_CTS_HMAC_SHA1_96 },
	} {
		t.Run(name, func(t *testing.T) {
			r := honest()
			k := startKDC(t, func(n int, request []byte) []byte {
				reply := r.answer(n, request)
				if tagOf(reply) != tagTGSReply {
					return reply
				}
				var tgs messages.TGSRep
				if err := tgs.Unmarshal(reply); err != nil {
					panic(err)
				}
				change(&tgs)
				raw, err := tgs.Marshal()
				if err != nil {
					panic(err)
				}
				return raw
			})
			if err := firstToken(k.request(t, "secret")); err == nil {
				t.Error("it is taken")
			}
		})
	}
}

// A length of 4 GB is not allocated.
func TestKDCAnnouncesGigabytes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte{0xff, 0xff, 0xff, 0xf0})
			conn.Close()
		}
	}()
	k := &kdc{addr: listener.Addr().String()}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = firstToken(k.request(t, "secret"))
	runtime.ReadMemStats(&after)
	var away interface{ Temporary() bool }
	if !errors.As(err, &away) || !away.Temporary() {
		t.Errorf("got %v", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

// A silent KDC is not waited for beyond the context.
func TestSilentKDCEndsWithTheContext(t *testing.T) {
	k := startKDC(t, func(int, []byte) []byte { return nil })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := gssapiClient("GSSAPI")(ctx, k.request(t, "secret")); err == nil {
		t.Error("there was nobody")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A datagram that is no answer of Kerberos does not hide the one that is.
func TestForeignDatagramsAreSkipped(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	want := kdcError(errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN, nil)
	go func() {
		buffer := make([]byte, 2048)
		_, from, err := server.ReadFrom(buffer)
		if err != nil {
			return
		}
		for _, datagram := range [][]byte{{}, []byte("rubbish"), want[:len(want)-1], want} {
			server.WriteTo(datagram, from)
		}
	}()
	got, err := send(context.Background(), "udp", server.LocalAddr().String(), []byte("request"))
	if err != nil || string(got) != string(want) {
		t.Errorf("got %x, %v", got, err)
	}
}

// FuzzKDCReply: whatever answers in the place of a KDC, in either exchange,
// ends in an error and in nothing worse.
func FuzzKDCReply(f *testing.F) {
	r := honest()
	user := func() *kerberosUser {
		path := filepath.Join(f.TempDir(), "krb5.conf")
		if err := os.WriteFile(path, []byte("[libdefaults]\n default_realm = "+testRealm+"\n"), 0o600); err != nil {
			f.Fatal(err)
		}
		conf, err := loadKerberosConf(path)
		if err != nil {
			f.Fatal(err)
		}
		return newKerberosUser(conf, "alice", testRealm, byPassword("secret"))
	}()
	request, err := messages.NewASReqForTGT(testRealm, user.kdcs.conf, user.user)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := request.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.answer(0, raw))
	fields, _ := r.grant(request.ReqBody, r.userKey(), keyusage.AS_REP_ENCPART, 11)
	reply, err := (&messages.ASRep{KDCRepFields: fields}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply)
	f.Add(wantProof())
	f.Add(kdcError(errorcode.KDC_ERR_PREAUTH_REQUIRED, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, reply []byte) {
		began := time.Now()
		if !isReply(reply) {
			return
		}
		if refused := refusalOf(reply); refused != nil {
			_, _, _ = user.prove(refused.EData)
			_ = explainKerberos(refused)
		} else {
			_, _ = user.open(reply, &request, types.EncryptionKey{})
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// Hostile answers of every kind to many sign-ins at once, which are cancelled at
// any moment: each ends soon after its context, with an error or with the ticket
// that an honest answer brought.
func TestHostileKDCAmongMany(t *testing.T) {
	aes256 := etypeID.AES256_CTS_HMAC_SHA1_96
	r := honest()
	k := startKDC(t, func(n int, request []byte) []byte {
		reply := r.answer(n, request)
		switch n % 25 {
		case 0:
			return nil // silence
		case 1:
			return wantProof()
		case 2:
			return wantProof(types.ETypeInfo2Entry{EType: aes256, Salt: "chosen", S2KParams: []byte{0, 0, 0x20, 0}})
		case 3:
			return reply[:len(reply)/2]
		case 4: // one byte is another
			reply[n*31%len(reply)] ^= 0x55
		}
		return reply
	})
	request := k.request(t, "secret")
	var all sync.WaitGroup
	var good atomic.Int32
	for i := range 100 {
		all.Go(func() {
			limit := time.Duration(i*7%100) * 10 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			client, err := gssapiClient("GSSAPI")(ctx, request)
			if took := time.Since(began); took > limit+10*time.Second {
				t.Errorf("it took %s, of which it had %s", took, limit)
			}
			if err != nil {
				return
			}
			if _, token, err := client.Start(); err == nil && len(token) > 0 {
				good.Add(1)
			}
		})
	}
	all.Wait()
	t.Logf("%d of 100 had a ticket", good.Load())
}
