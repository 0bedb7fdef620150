package signin

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"postern/config"
)

// verifies is a server's side of a mechanism: it takes a response and gives the
// next challenge; done: it accepts. An error refuses.
type verifies func(response []byte) (challenge []byte, done bool, err error)

// bindRequest and bindResponse are those of LDAP (RFC 4511 §4.2), as far as a
// sign-in by SASL needs them.
type bindRequest struct {
	Version     int
	Name        []byte
	Mechanism   []byte
	Credentials asn1.RawValue `asn1:"optional"` // absent is something else than empty
}

type bindResponse struct {
	Result      asn1.Enumerated
	Diagnostic  []byte
	Credentials []byte
}

// directory is a Conn that carries an exchange in bind requests to a server in
// memory.
type directory struct {
	t         *testing.T
	mechanism string
	server    verifies
	requests  [][]byte
	canceled  bool
}

func (d *directory) Begin(mechanism string, initial []byte) (Answer, error) {
	d.mechanism = mechanism
	return d.bind(initial)
}
func (d *directory) Respond(response []byte) (Answer, error) { return d.bind(response) }
func (d *directory) Cancel()                                 { d.canceled = true }

func (d *directory) bind(credentials []byte) (Answer, error) {
	request := bindRequest{Version: 3, Mechanism: []byte(d.mechanism)}
	if credentials != nil {
		request.Credentials = asn1.RawValue{Tag: asn1.TagOctetString, Bytes: credentials}
	}
	sent, err := asn1.Marshal(request)
	if err != nil {
		return Answer{}, err
	}
	d.requests = append(d.requests, sent)
	var response bindResponse
	if _, err := asn1.Unmarshal(d.answer(sent), &response); err != nil {
		return Answer{}, err
	}
	meaning := map[asn1.Enumerated]Meaning{0: Accepted, 14: Challenge, 49: WrongCredentials, 7: NotAvailable, 51: NotNow}[response.Result]
	return Answer{Meaning: meaning, Challenge: response.Credentials,
		Reply: Reply{Code: int(response.Result), Text: string(response.Diagnostic)}}, nil
}

// answer is the server's side of a bind request.
func (d *directory) answer(sent []byte) []byte {
	var request bindRequest
	if rest, err := asn1.Unmarshal(sent, &request); err != nil || len(rest) > 0 || string(request.Mechanism) != d.mechanism {
		d.t.Fatal(request, rest, err)
	}
	var credentials []byte
	if request.Credentials.FullBytes != nil {
		credentials = request.Credentials.Bytes
	}
	challenge, done, err := d.server(credentials)
	response := bindResponse{Result: 14, Credentials: challenge}
	switch {
	case err != nil:
		response = bindResponse{Result: 49, Diagnostic: []byte("invalid credentials")}
	case done:
		response = bindResponse{Result: 0}
	}
	answer, err := asn1.Marshal(response)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer
}

// smtpServer is a server's side of a mechanism in the frames of SMTP.
func smtpServer(t *testing.T, server verifies) lines {
	return func(line []byte) (Reply, error) {
		text, begins := strings.CutPrefix(string(line), "AUTH ")
		given := true
		if begins {
			_, text, given = strings.Cut(text, " ")
		}
		response, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "="))
		switch {
		case string(line) == "*":
			return say(501, "cancelled"), nil
		case err != nil:
			t.Fatal(err)
		case !given:
			response = nil
		}
		challenge, done, err := server(response)
		switch {
		case err != nil:
			return say(535, "invalid credentials"), nil
		case done:
			return say(235, "ok"), nil
		}
		return ask(string(challenge)), nil
	}
}

var errWrong = errors.New("wrong")

// expects is a server that wants these responses in turn, and asks for each but
// the first by the challenge before it.
func expects(want []string, challenges ...string) func(*testing.T) verifies {
	return func(*testing.T) verifies {
		n, want := 0, slices.Clone(want)
		return func(response []byte) ([]byte, bool, error) {
			if n > 0 || response != nil {
				if want[0] != string(response) {
					return nil, false, errWrong
				}
				want = want[1:]
			}
			n++
			if len(want) == 0 {
				return nil, true, nil
			}
			return []byte(challenges[n-1]), false, nil
		}
	}
}

func provesSCRAM(hash scram.HashGeneratorFcn) func(*testing.T) verifies {
	return func(t *testing.T) verifies {
		client, err := hash.NewClient(user, password, "")
		if err != nil {
			t.Fatal(err)
		}
		stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt and pepper", Iters: 4096})
		if err != nil {
			t.Fatal(err)
		}
		other, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
		if err != nil {
			t.Fatal(err)
		}
		conv := other.NewConversation()
		return func(response []byte) ([]byte, bool, error) {
			if conv.Done() {
				return nil, conv.Valid(), nil
			}
			out, err := conv.Step(string(response))
			return []byte(out), false, err
		}
	}
}

// TestProtocols: an account signs in by the same mechanisms whatever protocol
// carries them, and a wrong password is refused by each.
func TestProtocols(t *testing.T) {
	digest := hmac.New(md5.New, []byte(password))
	digest.Write([]byte("<1@a>"))
	for _, c := range []struct {
		mechanism string
		server    func(*testing.T) verifies
	}{
		{"PLAIN", expects([]string{"\x00" + user + "\x00" + password})},
		{"LOGIN", expects([]string{user, password}, "Username:", "Password:")},
		{"CRAM-MD5", expects([]string{user + " " + hex.EncodeToString(digest.Sum(nil))}, "<1@a>")},
		{"SCRAM-SHA-1", provesSCRAM(scram.SHA1)},
		{"SCRAM-SHA-256", provesSCRAM(scram.SHA256)},
		{"SCRAM-SHA-512", provesSCRAM(scram.SHA512)},
		{"XOAUTH2", expects([]string{"user=" + user + "\x01auth=Bearer token\x01\x01"})},
		{"OAUTHBEARER", expects([]string{"n,a=" + user + ",\x01host=dir.example.com\x01port=636\x01auth=Bearer token\x01\x01"})},
		{"EXTERNAL", expects([]string{user})},
	} {
		account := &config.Account{
			Name: "directory", Auth: config.Mechanism(strings.ToLower(c.mechanism)), Username: user,
			Password: config.NewSecret(password), CertFile: "client.pem",
		}
		signIn := func(conn Conn) (string, error) {
			r := NewRequest(account)
			r.Service, r.Host, r.Port, r.TLS, r.Offered = "ldap", "dir.example.com", 636, true, []string{c.mechanism}
			r.Token = func(context.Context, string) (string, error) { return "token", nil }
			return Do(t.Context(), conn, r)
		}
		conns := func(server func(*testing.T) verifies) map[string]Conn {
			return map[string]Conn{"LDAP": &directory{t: t, server: server(t)}, "SMTP": smtpServer(t, server(t))}
		}
		for protocol, conn := range conns(c.server) {
			if name, err := signIn(conn); err != nil || name != c.mechanism {
				t.Errorf("%s by %s: %q, %v", c.mechanism, protocol, name, err)
			}
		}
		refuses := func(*testing.T) verifies {
			return func([]byte) ([]byte, bool, error) { return nil, false, errWrong }
		}
		for protocol, conn := range conns(refuses) {
			var refused *Refused
			if _, err := signIn(conn); !errors.As(err, &refused) || refused.Meaning != WrongCredentials || strings.Contains(err.Error(), password) {
				t.Errorf("%s by %s, refused: %v", c.mechanism, protocol, err)
			}
		}
	}
}
