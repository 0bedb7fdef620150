package signin

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is made of it
	"golang.org/x/crypto/md4"

	"postern/config"
)

func utf16le(s string) []byte {
	var out []byte
	for _, c := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, c)
	}
	return out
}

func pair(id uint16, value []byte) []byte {
	head := binary.LittleEndian.AppendUint16(nil, id)
	return append(binary.LittleEndian.AppendUint16(head, uint16(len(value))), value...)
}

var nonce = []byte("8 bytes!")

// ntlmChallenge is a CHALLENGE message; info is its target information.
func ntlmChallenge(flags uint32, info []byte) []byte {
	target := utf16le("POSTERN")
	m := append([]byte(ntlmSignature), 2, 0, 0, 0)
	field := func(n, offset int) {
		m = binary.LittleEndian.AppendUint16(m, uint16(n))
		m = binary.LittleEndian.AppendUint16(m, uint16(n))
		m = binary.LittleEndian.AppendUint32(m, uint32(offset))
	}
	field(len(target), 56)
	m = binary.LittleEndian.AppendUint32(m, flags)
	m = append(append(m, nonce...), make([]byte, 8)...)
	field(len(info), 56+len(target))
	m = append(m, make([]byte, 8)...) // version
	return append(append(m, target...), info...)
}

const usualFlags = 0xA2898205 // as Samba sends them, without key exchange

func usualInfo() []byte {
	return append(pair(2, utf16le("POSTERN")), append(pair(7, []byte("filetime")), 0, 0, 0, 0)...)
}

// field reads one of the variable fields of an AUTHENTICATE message.
func ntlmField(t *testing.T, m []byte, at int) []byte {
	t.Helper()
	if len(m) < at+8 {
		t.Fatalf("%q is cut short", m)
	}
	n, offset := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
	if offset+n > len(m) {
		t.Fatalf("a field of %q lies outside", m)
	}
	return m[offset : offset+n]
}

// checkNTLM proves the response by [MS-NLMP] §3.3.2, and returns the pairs
// that it covers.
func checkNTLM(t *testing.T, m []byte, user, domain, password string) []byte {
	t.Helper()
	if got := ntlmField(t, m, 28); !bytes.Equal(got, utf16le(domain)) {
		t.Errorf("domain %q", got)
	}
	if got := ntlmField(t, m, 36); !bytes.Equal(got, utf16le(user)) {
		t.Errorf("user %q", got)
	}
	hash := md4.New()
	hash.Write(utf16le(password))
	v2 := hmac.New(md5.New, hash.Sum(nil))
	v2.Write(utf16le(strings.ToUpper(user) + domain))
	response := ntlmField(t, m, 20)
	if len(response) < 48 {
		t.Fatalf("an NT response of %d bytes is not of NTLMv2", len(response))
	}
	proof := hmac.New(md5.New, v2.Sum(nil))
	proof.Write(nonce)
	proof.Write(response[16:])
	if !hmac.Equal(proof.Sum(nil), response[:16]) {
		t.Error("the response does not prove the password")
	}
	return response[16+28:]
}

func ntlmRequest() *Request {
	r := request("ntlm", "NTLM")
	r.Username, r.Domain = "alice", "POSTERN"
	return r
}

func TestNTLM(t *testing.T) {
	ours, _ := connection(t, tls.VersionTLS13)
	for name, c := range map[string]struct {
		user, domain         string
		wantUser, wantDomain string
		state                *tls.ConnectionState
		first                string // what the first 334 says, if it is not the challenge
	}{
		"domain":               {"alice", "POSTERN", "alice", "POSTERN", nil, ""},
		"in the name":          {`OTHER\alice`, "POSTERN", "alice", "OTHER", nil, ""},
		"principal name":       {"alice@ad.example.com", "POSTERN", "alice@ad.example.com", "", nil, ""},
		"bound":                {"alice", "POSTERN", "alice", "POSTERN", &ours, ""},
		"text before":          {"alice", "POSTERN", "alice", "POSTERN", &ours, "NTLM supported"},
		"empty line before":    {"alice", "POSTERN", "alice", "POSTERN", nil, "-"},
		"without a domain key": {"alice", "", "alice", "", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := ntlmRequest()
			r.Username, r.Domain, r.State = c.user, c.domain, c.state
			answers := []Reply{say(334, base64.StdEncoding.EncodeToString(ntlmChallenge(usualFlags, usualInfo()))), say(235, "ok")}
			if c.first != "" {
				answers = append([]Reply{say(334, strings.Trim(c.first, "-"))}, answers...)
			}
			got, lines, err := do(t, r, func(n int, _ string) Reply { return answers[n] })
			if err != nil || got != "NTLM" {
				t.Fatal(err, lines)
			}
			first := []byte(decode(t, strings.TrimPrefix(lines[0], "AUTH NTLM ")))
			if first[ntlmFlags]&ntlmRequestTarget == 0 {
				t.Error("the target is not asked for")
			}
			if c.first != "" && decode(t, lines[1]) != string(first) {
				t.Error("the text was not answered by the first message")
			}
			pairs := checkNTLM(t, []byte(decode(t, lines[len(lines)-1])), c.wantUser, c.wantDomain, password)
			binding := pair(avChannelBindings, windowsBinding(&ours))
			if bytes.Contains(pairs, binding) != (c.state != nil) {
				t.Errorf("bound: %q", pairs)
			}
			if !bytes.HasPrefix(pairs, pair(2, utf16le("POSTERN"))) {
				t.Errorf("the target information is lost: %q", pairs)
			}
		})
	}
}

func TestNTLMRefused(t *testing.T) {
	var refused *Refused
	_, _, err := do(t, ntlmRequest(), func(n int, _ string) Reply {
		return []Reply{say(334, base64.StdEncoding.EncodeToString(ntlmChallenge(usualFlags, nil))), say(535, "5.7.3 no")}[n]
	})
	if !errors.As(err, &refused) || refused.Mechanism != "NTLM" {
		t.Error(err)
	}
}

// A challenge that is not one ends the exchange; so does a success before it.
func TestNTLMGarbage(t *testing.T) {
	ours, _ := connection(t, tls.VersionTLS13)
	whole := ntlmChallenge(usualFlags, usualInfo())
	garbage := map[string][]byte{
		"text": []byte("who goes there?"), "a first message": append([]byte(ntlmSignature), make([]byte, 60)...),
		"no end":      ntlmChallenge(usualFlags, pair(2, []byte("ab"))),
		"a long pair": ntlmChallenge(usualFlags, []byte{2, 0, 0xff, 0xff, 0, 0, 0, 0}),
		"LM":          ntlmChallenge(usualFlags|0x80, usualInfo()),
	}
	for n := 1; n < len(whole); n += 7 {
		garbage["cut at "+string(rune('A'+n/7))] = whole[:n]
	}
	for name, challenge := range garbage {
		r := ntlmRequest()
		r.State = &ours
		_, lines, err := do(t, r, func(_ int, line string) Reply {
			if line == "*" {
				return say(501, "cancelled")
			}
			return say(334, base64.StdEncoding.EncodeToString(challenge))
		})
		if err == nil || lines[len(lines)-1] != "*" {
			t.Errorf("%s: %q %v", name, lines, err)
		}
	}
	if _, _, err := do(t, ntlmRequest(), func(int, string) Reply { return say(235, "ok") }); err == nil {
		t.Error("a success without a challenge counted")
	}
}

func TestNTLMStaysUnderTLS(t *testing.T) {
	for _, c := range []struct {
		auth  config.Mechanism
		tls   bool
		clear bool
		ok    bool
	}{{"auto", true, false, true}, {"auto", false, true, false}, {"ntlm", false, false, false}, {"ntlm", false, true, true}} {
		r := ntlmRequest()
		r.Auth, r.TLS, r.AllowClear = c.auth, c.tls, c.clear
		if _, err := choose(r); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// The account of the process, as on Windows, names no mechanism.
	own := mechanism{name: "NTLM", key: "integrated", clear: true, lacks: func(*Request) string { return "" }}
	r := ntlmRequest()
	r.Auth, r.TLS, r.AllowClear = "integrated", false, true
	if own.obstacle(r) == "" {
		t.Error("NTLM of the process's account went without TLS")
	}
	r.TLS = true
	if own.obstacle(r) != "" {
		t.Error(own.obstacle(r))
	}
	r = ntlmRequest()
	r.Auth, r.Domain = "auto", ""
	if _, err := choose(r); err == nil {
		t.Error("NTLM was chosen for an account of which nobody says that it is one of Windows")
	}
}

func FuzzNTLM(f *testing.F) {
	f.Add(ntlmChallenge(usualFlags, usualInfo()))
	f.Add([]byte(ntlmSignature))
	f.Fuzz(func(t *testing.T, challenge []byte) {
		n := &ntlm{user: "alice", password: password, binding: make([]byte, 16)}
		if _, _, err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if response, err := n.Next(challenge); err == nil && response == nil {
			t.Error("no response")
		}
	})
}
