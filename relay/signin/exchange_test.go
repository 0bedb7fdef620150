package signin

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"postern/config"
)

const (
	user     = "user@example.com"
	password = "pe ncil \"ü"
)

// server answers lines; it is the other side of an exchange in the frames of
// SMTP.
type server struct {
	t      *testing.T
	lines  []string
	answer func(n int, line string) Reply
}

func (s *server) exchange(line []byte) (Reply, error) {
	s.lines = append(s.lines, string(line))
	r := s.answer(len(s.lines)-1, string(line))
	if r.Code == 0 {
		return Reply{}, errors.New("the connection is gone")
	}
	return r, nil
}

func (s *server) Begin(mechanism string, initial []byte) (Answer, error) {
	return lines(s.exchange).Begin(mechanism, initial)
}
func (s *server) Respond(response []byte) (Answer, error) { return lines(s.exchange).Respond(response) }
func (s *server) Cancel()                                 { lines(s.exchange).Cancel() }

// lines is a Conn with the frames of SMTP: a first response that is too long
// for the command waits for the first challenge. The real one is
// relay/upstream's, and tested there.
type lines func(line []byte) (Reply, error)

func (l lines) Begin(mechanism string, initial []byte) (Answer, error) {
	line := "AUTH " + mechanism
	encoded := " " + base64.StdEncoding.EncodeToString(initial)
	switch {
	case initial == nil:
	case len(initial) == 0:
		line += " ="
	case len(line)+len(encoded) > 510:
		a, err := answerOf(l([]byte(line)))
		if err != nil || a.Meaning != Challenge {
			return a, err
		}
		return l.Respond(initial)
	default:
		line += encoded
	}
	return answerOf(l([]byte(line)))
}

func (l lines) Respond(response []byte) (Answer, error) {
	return answerOf(l([]byte(base64.StdEncoding.EncodeToString(response))))
}

func (l lines) Cancel() { _, _ = l([]byte("*")) }

func answerOf(r Reply, err error) (Answer, error) {
	a := Answer{Reply: r, Meaning: map[int]Meaning{
		235: Accepted, 334: Challenge, 535: WrongCredentials, 454: NotNow, 504: NotAvailable, 534: NotAvailable,
	}[r.Code]}
	if a.Meaning == Challenge {
		decoded, wrong := base64.StdEncoding.DecodeString(r.Text)
		if a.Challenge = decoded; wrong != nil {
			a.Challenge = []byte{} // text for people
		}
	}
	return a, err
}

func say(code int, text string) Reply { return Reply{Code: code, Text: text} }

func ask(challenge string) Reply {
	return say(334, base64.StdEncoding.EncodeToString([]byte(challenge)))
}

func decode(t *testing.T, text string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return string(b)
}

func request(auth string, offered ...string) *Request {
	return &Request{
		Auth: config.Mechanism(auth), Username: user, Offered: offered, TLS: true,
		Password: func(context.Context) (string, error) { return password, nil },
	}
}

// do signs in, and checks that no error and no later line gives the secret away.
func do(t *testing.T, r *Request, answer func(n int, line string) Reply) (string, []string, error) {
	t.Helper()
	s := &server{t: t, answer: answer}
	name, err := Do(t.Context(), s, r)
	if err != nil {
		for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(password))} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q gives the password away", err)
			}
		}
	}
	return name, s.lines, err
}

func TestPlain(t *testing.T) {
	name, lines, err := do(t, request("plain", "LOGIN", "plain"), func(int, string) Reply { return say(235, "ok") })
	if err != nil || name != "PLAIN" || len(lines) != 1 {
		t.Fatal(name, lines, err)
	}
	ir, ok := strings.CutPrefix(lines[0], "AUTH PLAIN ")
	if got := decode(t, ir); !ok || got != "\x00"+user+"\x00"+password {
		t.Errorf("%q", got)
	}
}

func TestCRAM(t *testing.T) {
	const challenge = "<1896.697170952@postoffice.example>"
	_, lines, err := do(t, request("cram-md5", "CRAM-MD5"), func(n int, _ string) Reply {
		return []Reply{ask(challenge), say(235, "ok")}[n]
	})
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	if got, want := decode(t, lines[1]), user+" "+hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestLogin(t *testing.T) {
	for name, prompts := range map[string][2]string{
		"usual":      {"Username:", "Password:"},
		"spaces":     {"User Name\x00", "Password\x00"},
		"none":       {"", ""},
		"upper case": {"USERNAME", "PASSWORD"},
		"own words":  {"qui ?", "mot de passe ?"},
	} {
		t.Run(name, func(t *testing.T) {
			_, lines, err := do(t, request("login", "LOGIN"), func(n int, _ string) Reply {
				return []Reply{ask(prompts[0]), ask(prompts[1]), say(235, "ok")}[n]
			})
			if err != nil || decode(t, lines[1]) != user || decode(t, lines[2]) != password {
				t.Error(lines, err)
			}
		})
	}
	t.Run("the other way round", func(t *testing.T) {
		_, lines, err := do(t, request("login", "LOGIN"), func(n int, _ string) Reply {
			return []Reply{ask("Password:"), say(501, "cancelled")}[n]
		})
		if err == nil || lines[len(lines)-1] != "*" {
			t.Error(lines, err)
		}
	})
}

// scramServer is the other side by the library, which can be made to lie.
func scramServer(t *testing.T, name string, hash scram.HashGeneratorFcn, lie bool) func(int, string) Reply {
	client, err := hash.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt and pepper", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if lie {
		stored.ServerKey[0] ^= 1
	}
	other, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	conv := other.NewConversation()
	return func(n int, line string) Reply {
		if line == "*" {
			return say(501, "cancelled")
		}
		if n == 0 {
			line = strings.TrimPrefix(line, "AUTH "+name+" ")
		}
		if conv.Done() {
			if line != "" {
				t.Errorf("%q in answer to the proof, not an empty line", line)
			}
			return say(235, "ok")
		}
		out, err := conv.Step(decode(t, line))
		if err != nil {
			return say(535, err.Error())
		}
		return ask(out)
	}
}

func TestSCRAM(t *testing.T) {
	for name, hash := range map[string]scram.HashGeneratorFcn{
		"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-512": scram.SHA512,
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ToLower(name)
			if _, lines, err := do(t, request(key, name), scramServer(t, name, hash, false)); err != nil || len(lines) != 3 {
				t.Error(lines, err)
			}
			wrong := request(key, name)
			wrong.Password = func(context.Context) (string, error) { return "wrong", nil }
			var refused *Refused
			if _, _, err := do(t, wrong, scramServer(t, name, hash, false)); !errors.As(err, &refused) || refused.Reply.Code != 535 {
				t.Errorf("a wrong password: %v", err)
			}
			if _, lines, err := do(t, request(key, name), scramServer(t, name, hash, true)); err == nil || lines[len(lines)-1] != "*" {
				t.Errorf("a server without the password: %v", err)
			}
		})
	}
}

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		auth    string
		offered string
		tls     bool
		clear   bool
		want    string // mechanisms in order; empty: an error
	}{
		{"auto", "LOGIN PLAIN", true, false, "PLAIN LOGIN"},
		{"auto", "LOGIN PLAIN", false, false, ""},
		{"auto", "LOGIN PLAIN", false, true, ""},
		{"auto", "login plain cram-md5", false, false, "CRAM-MD5"},
		{"auto", "PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 CRAM-MD5 X-OTHER", true, false,
			"SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN"},
		{"auto", "GSSAPI NTLM", true, false, ""},
		{"auto", "", true, false, ""},
		{"plain", "PLAIN", true, false, "PLAIN"},
		{"plain", "PLAIN", false, false, ""},
		{"plain", "PLAIN", false, true, "PLAIN"},
		{"plain", "LOGIN", true, false, ""},
		{"scram-sha-256", "SCRAM-SHA-256", false, false, "SCRAM-SHA-256"},
		{"scram-sha-256", "PLAIN", true, false, ""},
		{"unknown", "PLAIN", true, false, ""},
	} {
		r := request(c.auth, strings.Fields(c.offered)...)
		r.TLS, r.AllowClear = c.tls, c.clear
		found, err := choose(r)
		var names []string
		for _, m := range found {
			names = append(names, m.name)
		}
		if got := strings.Join(names, " "); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestNothingToSignInWith(t *testing.T) {
	never := func(int, string) Reply { t.Error("something was sent"); return Reply{} }
	for name, change := range map[string]func(*Request){
		"no user":     func(r *Request) { r.Username = "" },
		"no password": func(r *Request) { r.Password = func(context.Context) (string, error) { return "", nil } },
		"secret is gone": func(r *Request) {
			r.Password = func(context.Context) (string, error) { return "", errors.New("no such file") }
		},
		"NUL in the user": func(r *Request) { r.Username = "a\x00b" },
	} {
		r := request("plain", "PLAIN")
		change(r)
		if _, _, err := do(t, r, never); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEndlessChallenges(t *testing.T) {
	r := &server{t: t, answer: func(n int, line string) Reply {
		if line == "*" {
			return say(501, "cancelled")
		}
		return ask("more")
	}}
	if err := exchange(r, "ENDLESS", patient{}); err == nil || len(r.lines) > maxRounds+3 {
		t.Error(len(r.lines), err)
	}
}

// patient answers whatever it is asked.
type patient struct{}

func (patient) Start() (string, []byte, error) { return "ENDLESS", []byte{}, nil }
func (patient) Next([]byte) ([]byte, error)    { return []byte{}, nil }

// Foreign bytes in every challenge: no panic, no success without a 235, no
// secret in an error, and an end.
func FuzzExchange(f *testing.F) {
	f.Add("plain", 334, "", 235, "")
	f.Add("login", 334, "VXNlcm5hbWU6", 334, "UGFzc3dvcmQ6")
	f.Add("cram-md5", 334, "PGE+", 235, "")
	f.Add("scram-sha-256", 334, "cj1hLHM9YixpPTQwOTY=", 334, "dj1h")
	f.Add("scram-sha-512", 334, "not base64", 999, "\x00")
	f.Fuzz(func(t *testing.T, auth string, code1 int, text1 string, code2 int, text2 string) {
		saw235 := false
		_, lines, err := do(t, request(auth, "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"),
			func(n int, line string) Reply {
				r := say(code2, text2)
				if n%2 == 0 {
					r = say(code1, text1)
				}
				saw235 = saw235 || r.Code == 235
				return r
			})
		if err == nil && !saw235 {
			t.Error("success without a 235")
		}
		if err == nil && strings.HasPrefix(auth, "scram") {
			t.Error("SCRAM succeeded with whoever that is")
		}
		if len(lines) > maxRounds+3 {
			t.Errorf("%d lines", len(lines))
		}
	})
}
