package intake

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"postern/relay/origin"
)

// Stored forms of "geheim", made by `postern passwd`.
const (
	testArgon  = "$argon2id$v=19$m=19456,t=2,p=1$vhEgruDrIGRE0kN2KvDs/Q$9Sa2ff4BHXOo53QdN0xGxfzdiHbO7plMx/lbg/75900"
	testBcrypt = "$2a$04$J1JTzIecEhqwpj1OrMR6eOk4q0rLv16./SbJ/if6OcoGsrtajWsfK"
	testSCRAM  = "SCRAM-SHA-256$60000:79ogc/aEcgrBAfwoyAAD3g==$qrx4SClDMB39omSNK0AoaO1Sl90RDh1H9CwSB3t6jUA=:8SjLVZl1NUaZv4t7UCLlrH1DjqJwr62wmpjGdcPJl2M="
)

// TestDecoysTakeAfterUsers: where users have different forms and costs, names
// that nobody has cost what one of the users costs, by every mechanism, the
// same each time. A single decoy would answer as nobody else does, and one
// that costs something else by SCRAM than by PLAIN would be nobody either.
func TestDecoysTakeAfterUsers(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	verifier := func(rounds, salt int) string {
		return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, base64.StdEncoding.EncodeToString(make([]byte, salt)), key, key)
	}
	u, err := newUsers(map[string]string{
		"app1": testArgon, "app2": testBcrypt, "app3": verifier(4096, 16), "app4": verifier(100_000, 48),
	}, newShared())
	if err != nil {
		t.Fatal(err)
	}
	const ofApp3, ofApp4 = "scram 4096 16", "scram 100000 48"
	plain := func(name string) string { // what PLAIN and LOGIN have to work through
		v, _ := u.stored(name)
		switch form := fmt.Sprintf("%+v", *v); {
		case v.SCRAM() != nil:
			return fmt.Sprintf("scram %d %d", v.SCRAM().Iterations, len(v.SCRAM().Salt))
		case strings.Contains(form, "argon:<nil>"):
			return "bcrypt"
		}
		return "argon2id"
	}
	challenge := func(name string) string { // what SCRAM shows
		c, err := u.verifier(name)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("scram %d %d", c.Iters, len(c.Salt))
	}
	byPlain, bySCRAM := map[string]int{}, map[string]int{}
	for i := range 100 {
		name := fmt.Sprintf("nobody%d", i)
		p, s := plain(name), challenge(name)
		byPlain[p]++
		bySCRAM[s]++
		if p != plain(name) || s != challenge(name) {
			t.Errorf("%s: not the same twice", name)
		}
		if v, exists := u.stored(name); exists {
			t.Errorf("%s exists: %v", name, v)
		}
		if strings.HasPrefix(p, "scram ") && p != s {
			t.Errorf("%s: %s by PLAIN, %s by SCRAM, which no user is", name, p, s)
		}
	}
	for _, name := range []string{"app1", "app2", "app3", "app4"} {
		if byPlain[plain(name)] == 0 {
			t.Errorf("%s takes as long as %s, and nobody who does not exist does", name, plain(name))
		}
		delete(byPlain, plain(name))
	}
	if bySCRAM[ofApp3] == 0 || bySCRAM[ofApp4] == 0 || len(bySCRAM) != 2 || len(byPlain) != 0 {
		t.Errorf("by SCRAM %v, and by PLAIN beside the users' %v", bySCRAM, byPlain)
	}
}

// TestNobodyCostsWork: a password for a name that nobody has is really put
// through the work. argon2id needs its 19 MiB for it, which shows on a busy
// machine too, as time would not.
func TestNobodyCostsWork(t *testing.T) {
	u, err := newUsers(map[string]string{"app1": testArgon}, newShared())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app1", "nobody", ""} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if ok, busy := u.check(t.Context(), origin.Key{}, name, "falsch"); ok || busy {
			t.Errorf("%q: %t, busy %t", name, ok, busy)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used < 19<<20 {
			t.Errorf("%q: refused after %d bytes of work", name, used)
		}
	}
}
