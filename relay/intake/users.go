package intake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/xdg-go/scram"

	"postern/relay/passwd"
)

// users are those who may sign in at one listener. It may be used by many
// connections at once.
type users struct {
	byName map[string]*passwd.Stored
	decoy  *passwd.Stored // checked where there is no such user
	secret []byte         // known to nobody who doesn't know all that is stored
	scram  *scram.Server  // nil: nobody has a verifier
	rounds int
	gate   chan struct{} // bounds how many are checked at a time

	mu sync.Mutex // guards known
	// known has a keyed digest of each password that was right, so that a
	// program which connects for every message doesn't cost 20 ms each time.
	known map[string][sha256.Size]byte
}

// newUsers parses what is stored.
func newUsers(stored map[string]string, gate chan struct{}) (*users, error) {
	u := &users{byName: make(map[string]*passwd.Stored, len(stored)), known: map[string][sha256.Size]byte{}, gate: gate}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		v, err := passwd.Parse(stored[name])
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		u.byName[name] = v
		if u.decoy == nil {
			u.decoy = v.Decoy()
		}
		if s := v.SCRAM(); s != nil {
			u.rounds = s.Iterations
		}
		fmt.Fprintf(h, "%q %q\n", name, stored[name])
	}
	u.secret = h.Sum(nil)
	if u.rounds > 0 {
		var err error
		if u.scram, err = scram.SHA256.NewServer(u.verifier); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// gateWait is how long a sign-in waits for its turn.
const gateWait = 30 * time.Second

// check tells whether the password is name's. Without such a user it takes
// the same time. busy: there was no turn.
func (u *users) check(ctx context.Context, name, password string) (ok, busy bool) {
	digest := u.digest(name, password)
	u.mu.Lock()
	was, known := u.known[name]
	u.mu.Unlock()
	if known && subtle.ConstantTimeCompare(was[:], digest[:]) == 1 {
		return true, false
	}
	ctx, cancel := context.WithTimeout(ctx, gateWait)
	defer cancel()
	select {
	case u.gate <- struct{}{}:
		defer func() { <-u.gate }()
	case <-ctx.Done():
		return false, true
	}
	v, exists := u.byName[name]
	if !exists {
		v = u.decoy
	}
	if !v.Check(password) || !exists {
		return false, false
	}
	u.mu.Lock()
	u.known[name] = digest
	u.mu.Unlock()
	return true, false
}

func (u *users) digest(name, password string) (d [sha256.Size]byte) {
	h := hmac.New(sha256.New, u.secret)
	fmt.Fprintf(h, "%q", name)
	h.Write([]byte(password))
	h.Sum(d[:0])
	return d
}

// verifier answers the scram library. A user who doesn't exist, or whose
// password is stored in another form, gets what looks like a verifier and is
// the same each time, and fails at the proof as a wrong password does.
func (u *users) verifier(name string) (scram.StoredCredentials, error) {
	if v := u.byName[name]; v != nil && v.SCRAM() != nil {
		s := v.SCRAM()
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(s.Salt), Iters: s.Iterations},
			StoredKey:  s.StoredKey, ServerKey: s.ServerKey,
		}, nil
	}
	salt, key := u.digest(name, "salt"), u.digest(name, "key")
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt[:16]), Iters: u.rounds},
		StoredKey:  key[:], ServerKey: key[:],
	}, nil
}
