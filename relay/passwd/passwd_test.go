package passwd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
	"golang.org/x/crypto/bcrypt"
)

// The example of RFC 7677 §3, as a verifier for "pencil".
const (
	rfc7677 = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)

// cheap are the makers at costs that a test can afford many times.
var cheap = map[string]func(string) (string, error){
	"argon2id": func(pw string) (string, error) { return argon2id(pw, 64) },
	"bcrypt":   func(pw string) (string, error) { return bcryptHash(pw, bcrypt.MinCost) },
	"scram":    func(pw string) (string, error) { return scramVerifier(pw, minIterations) },
}

// TestRealCosts: what `postern passwd` makes is dear enough, and understood (that such
// ones match is shown with cheaper ones).
func TestRealCosts(t *testing.T) {
	for _, make := range []func(string) (string, error){Argon2id, Bcrypt, SCRAMSHA256} {
		s, err := make("geheim")
		if err != nil {
			t.Fatal(err)
		}
		v, err := Parse(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		weak := v.argon != nil && v.argon.memory*v.argon.time < 38<<10 || v.scram != nil && v.scram.Iterations < 60_000
		if cost, err := bcrypt.Cost(v.bcrypt); v.bcrypt != nil && (err != nil || cost < 10) || weak {
			t.Errorf("%s is too cheap", s)
		}
	}
}

func TestMadeOnesMatch(t *testing.T) {
	for name, make := range cheap {
		t.Run(name, func(t *testing.T) {
			for _, pw := range []string{"x", "pässwörd", "a:b$c,d"} {
				s, err := make(pw)
				if err != nil {
					t.Fatal(err)
				}
				if strings.ContainsAny(s, " \t\r\n\"'") || strings.Contains(s, pw) && len(pw) > 1 {
					t.Errorf("%q is not a clean line", s)
				}
				v, err := Parse(s)
				if err != nil {
					t.Fatal(err)
				}
				if !v.Check(pw) || v.Check(pw+"x") || v.Check("") {
					t.Errorf("%q: wrong verdict", s)
				}
				if d := v.Decoy(); d.Check(pw) || d.Check("") {
					t.Errorf("%q: the decoy matches", s)
				}
				if (v.SCRAM() != nil) != (name == "scram") {
					t.Errorf("%q: SCRAM %v", s, v.SCRAM())
				}
			}
			if a, _ := make("x"); func() bool { b, _ := make("x"); return a == b }() {
				t.Error("no salt")
			}
			if _, err := make(""); err != ErrEmpty {
				t.Errorf("an empty password: %v", err)
			}
		})
	}
}

func TestKnownVectors(t *testing.T) {
	b, err := bcrypt.GenerateFromPassword([]byte("pencil"), 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		rfc7677,
		strings.Replace(strings.Replace(rfc7677, "SCRAM-SHA-256$4096:", "{SCRAM-SHA-256}4096,", 1), "$", ",", 1),
		string(b),
		strings.Replace(string(b), "$2a$", "$2b$", 1),
		strings.Replace(string(b), "$2a$", "$2y$", 1),
	} {
		v, err := Parse(strings.Replace(s, "==$", "==$", 1))
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if !v.Check("pencil") || v.Check("Pencil") {
			t.Errorf("%s: wrong verdict", s)
		}
	}
}

// TestSCRAMExchange: a client of another hand signs in with what was made.
func TestSCRAMExchange(t *testing.T) {
	s, err := scramVerifier("geheim", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	v := stored.SCRAM()
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations}, StoredKey: v.StoredKey, ServerKey: v.ServerKey}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pw, want := range map[string]bool{"geheim": true, "falsch": false} {
		client, err := scram.SHA256.NewClient("app", pw, "")
		if err != nil {
			t.Fatal(err)
		}
		c, sc := client.NewConversation(), server.NewConversation()
		msg := ""
		for !sc.Done() {
			if msg, err = c.Step(msg); err != nil {
				break
			}
			msg, _ = sc.Step(msg)
		}
		c.Step(msg)
		if sc.Valid() != want || c.Valid() != want {
			t.Errorf("%s: server %t, client %t", pw, sc.Valid(), c.Valid())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good, _ := argon2id("x", 19456)
	for _, s := range []string{
		"", "geheim", "$1$abc$def", "{PLAIN}geheim", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
		strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=99999999", 1), strings.Replace(good, "m=19456", "m=0", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=1000", 1), strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "p=1", "p=256", 1),
		strings.Replace(good, "p=1", "q=1", 1), good + "$x", good[:len(good)-30], strings.Replace(good, "$v=19", "", 1),
		"$2a$31$J1JTzIecEhqwpj1OrMR6eOk4q0rLv16./SbJ/if6OcoGsrtajWsfK", "$2a$10$short",
		strings.Replace(rfc7677, "4096", "1000", 1), strings.Replace(rfc7677, "4096", "99999999999", 1), strings.Replace(rfc7677, "W22", "!!!", 1),
		"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d:wfPL", "SCRAM-SHA-256$", "SCRAM-SHA-1$4096:a$b:c",
	} {
		v, err := Parse(s)
		if err == nil {
			t.Errorf("%q was taken: %+v", s, v)
			continue
		}
		if len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Errorf("the error shows what is stored: %v", err)
		}
	}
	if _, err := Bcrypt(strings.Repeat("x", 73)); err == nil || !strings.Contains(err.Error(), "argon2id") {
		t.Errorf("73 bytes: %v", err)
	}
}

// TestDecoyCosts: checking for a user who doesn't exist does the same work: the
// same function with the same costs over salt and key of the same lengths.
// What is compared is that work and not the time it takes, which on a busy
// machine says nothing.
func TestDecoyCosts(t *testing.T) {
	work := func(v *Stored) string {
		switch {
		case v.argon != nil:
			k := v.argon
			return fmt.Sprint("argon2id ", k.time, k.memory, k.threads, len(k.salt), len(k.key))
		case v.bcrypt != nil:
			cost, err := bcrypt.Cost(v.bcrypt)
			// Anything but a mismatch is an answer given before the work.
			return fmt.Sprint("bcrypt ", cost, err, bcrypt.CompareHashAndPassword(v.bcrypt, []byte("falsch")))
		}
		return fmt.Sprint("scram ", v.scram.Iterations, len(v.scram.Salt), len(v.scram.StoredKey))
	}
	for name, make := range cheap {
		s, _ := make("geheim")
		v, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if real, decoy := work(v), work(v.Decoy()); real != decoy || !strings.HasPrefix(real, name) {
			t.Errorf("%s: %s, decoy %s", name, real, decoy)
		}
	}
}

// TestBcryptSeesNoMoreThan72Bytes: a password that only begins with the stored
// one, of which bcrypt sees no more than that, is another.
func TestBcryptSeesNoMoreThan72Bytes(t *testing.T) {
	long := strings.Repeat("x", 72)
	s, err := bcryptHash(long, bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Check(long) || v.Check(long+"y") {
		t.Errorf("72 bytes: %t, and with another behind: %t", v.Check(long), v.Check(long+"y"))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{rfc7677, "$2a$04$J1JTzIecEhqwpj1OrMR6eOk4q0rLv16./SbJ/if6OcoGsrtajWsfK", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5", "{SCRAM-SHA-256}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := Parse(s); err == nil && v.argon == nil && v.bcrypt == nil && v.scram == nil {
			t.Fatal("nothing was parsed")
		}
	})
}
