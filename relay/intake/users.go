package intake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/xdg-go/scram"

	"postern/relay/origin"
	"postern/relay/passwd"
)

// users are those who may sign in at one listener. It may be used by many
// connections at once.
type users struct {
	byName    map[string]*passwd.Stored
	all       []*passwd.Stored // whom a name that nobody has may take after
	verifiers []*passwd.Stored // those of them that SCRAM can use
	secret    []byte           // known to nobody who doesn't know all that is stored
	scram     *scram.Server    // nil: nobody has a verifier
	shared    *shared

	mu sync.Mutex // guards known
	// known has a keyed digest of each password that was right, so that a
	// program which connects for every message doesn't cost 20 ms each time.
	known map[string][sha256.Size]byte
}

// newUsers parses what is stored: of one user at least.
func newUsers(stored map[string]string, sh *shared) (*users, error) {
	u := &users{byName: make(map[string]*passwd.Stored, len(stored)), known: map[string][sha256.Size]byte{}, shared: sh}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		v, err := passwd.Parse(stored[name])
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		u.byName[name] = v
		u.all = append(u.all, v)
		if v.SCRAM() != nil {
			u.verifiers = append(u.verifiers, v)
		}
		fmt.Fprintf(h, "%q %q\n", name, stored[name])
	}
	u.secret = h.Sum(nil)
	if len(u.verifiers) > 0 {
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
// the time that it would for one of those that exist. busy: there was no turn.
func (u *users) check(ctx context.Context, from origin.Key, name, password string) (ok, busy bool) {
	digest := u.digest(name, password)
	u.mu.Lock()
	was, known := u.known[name]
	u.mu.Unlock()
	if known && subtle.ConstantTimeCompare(was[:], digest[:]) == 1 {
		return true, false
	}
	ctx, cancel := context.WithTimeout(ctx, gateWait)
	defer cancel()
	if !u.shared.await(ctx, from, name) || u.shared.checks.Take(ctx, from) != nil {
		return false, true
	}
	defer u.shared.checks.Give()
	v, exists := u.stored(name)
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

// stored is what is stored for name. Where there is no such user it is a decoy
// that takes after one who exists, after the same one each time: users with
// different forms and costs take different times, and a decoy that always cost
// the same would tell who is none of them.
func (u *users) stored(name string) (v *passwd.Stored, exists bool) {
	if v, exists = u.byName[name]; exists {
		return v, true
	}
	return u.draw(u.all, name, "stored").Decoy(), false
}

// verifier answers the scram library. A user who doesn't exist, or whose
// password is stored in another form, gets what looks like a verifier and is
// the same each time, and fails at the proof as a wrong password does.
func (u *users) verifier(name string) (scram.StoredCredentials, error) {
	v, exists := u.stored(name)
	like := v.SCRAM()
	if exists && like != nil {
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(like.Salt), Iters: like.Iterations},
			StoredKey:  like.StoredKey, ServerKey: like.ServerKey,
		}, nil
	}
	if like == nil {
		like = u.draw(u.verifiers, name, "verifier").SCRAM()
	}
	var salt []byte
	for n := 0; len(salt) < len(like.Salt); n++ {
		part := u.digest(name, "salt "+strconv.Itoa(n))
		salt = append(salt, part[:]...)
	}
	key := u.digest(name, "key")
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt[:len(like.Salt)]), Iters: like.Iterations},
		StoredKey:  key[:], ServerKey: key[:],
	}, nil
}

// draw picks one for a name, always the same one, in a way that nobody outside
// can foretell.
func (u *users) draw(from []*passwd.Stored, name, purpose string) *passwd.Stored {
	d := u.digest(name, purpose)
	return from[binary.BigEndian.Uint64(d[:8])%uint64(len(from))]
}
