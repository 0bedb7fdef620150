package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"postern/config"
	"postern/relay/passwd"
	"postern/relay/route"
)

// token is one that lets a client in.
type token struct {
	name    string
	hash    string            // as it stands in the configuration
	check   func(string) bool // takes 20 ms of a processor; nil: it is found by its digest
	senders *route.Senders    // nil: it may send as whomever the routes take
	compat  []config.Dialect
}

// digest is what a token that a client gave is known by: without the secret of
// the process nobody can make one, and so nobody learns anything from how long a
// look takes.
type digest [sha256.Size]byte

// tokens are those of one configuration. Made are those that postern passwd has
// made, by their digests: a wrong token costs nothing there. Slow are those that
// each unknown one has to be compared with.
type tokens struct {
	secret []byte // of the digests
	made   map[digest]*token
	slow   []*token

	mu    sync.Mutex          // guards what follows
	known map[digest]*token   // that were right; no more than there are
	wrong map[digest]struct{} // that were compared with all of slow; at most maxWrongTokens
}

// maxWrongTokens is how many wrong tokens are remembered: those of programs that go on
// with one that is not in the configuration any more.
const maxWrongTokens = 1000

func newSecret() []byte {
	secret := make([]byte, sha256.Size)
	rand.Read(secret)
	return secret
}

// newTokens reads those of a configuration; secret is that of the process.
func newTokens(h *config.HTTP, secret []byte) (*tokens, error) {
	t := &tokens{secret: secret, made: map[digest]*token{}, known: map[digest]*token{}, wrong: map[digest]struct{}{}}
	for _, name := range h.TokenNames() {
		c := h.Tokens[name]
		one := &token{name: name, hash: c.Hash, compat: c.Compat}
		if len(c.From) > 0 {
			var err error
			if one.senders, err = route.NewSenders(c.Senders()); err != nil {
				return nil, fmt.Errorf("http.token.%s: %w", name, err)
			}
		}
		if d, ok := passwd.ParseToken(c.Hash); ok {
			if d := t.digest(d[:]); t.made[d] == nil {
				t.made[d] = one
			}
			continue
		}
		stored, err := passwd.Parse(c.Hash)
		if err != nil {
			return nil, fmt.Errorf("http.token.%s: %w", name, err)
		}
		one.check = stored.Check
		t.slow = append(t.slow, one)
	}
	return t, nil
}

func (t *tokens) digest(b []byte) (d digest) {
	h := hmac.New(sha256.New, t.secret)
	h.Write(b)
	h.Sum(d[:0])
	return d
}

// inherit takes over what old knows of tokens that are the same in both
// configurations. What was wrong may be right now.
func (t *tokens) inherit(old *tokens) {
	old.mu.Lock()
	defer old.mu.Unlock()
	for d, one := range old.known {
		same := func(n *token) bool { return n.hash == one.hash }
		if i := slices.IndexFunc(t.slow, same); i >= 0 {
			t.known[d] = t.slow[i]
			continue
		}
		for _, n := range t.made {
			if same(n) {
				t.known[d] = n
			}
		}
	}
}

// look finds what a client gave, at no cost; d is its digest. Wrong: it is none.
// Neither: nobody can tell without comparing.
func (t *tokens) look(d digest, secret string) (found *token, wrong bool) {
	if sum, ok := passwd.DigestOf(secret); ok {
		if found = t.made[t.digest(sum[:])]; found != nil {
			return found, false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found = t.known[d]; found != nil {
		return found, false
	}
	_, wrong = t.wrong[d]
	return nil, wrong || len(t.slow) == 0
}

// compare finds what a client gave among those that are slow, and remembers where
// it is none. It costs 20 ms for each of them.
func (t *tokens) compare(d digest, secret string) *token {
	i := slices.IndexFunc(t.slow, func(one *token) bool { return one.check(secret) })
	if i >= 0 {
		return t.slow[i]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for any := range t.wrong {
		if len(t.wrong) < maxWrongTokens {
			break
		}
		delete(t.wrong, any)
	}
	t.wrong[d] = struct{}{}
	return nil
}

// learn remembers a token that was right, and tells whether it is the first time.
func (t *tokens) learn(d digest, one *token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[d] != nil {
		return false
	}
	t.known[d] = one
	return true
}
