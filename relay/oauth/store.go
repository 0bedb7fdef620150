package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"postern/config"
	"postern/spool"
)

// store keeps tokens: one fact for each upstream, sealed by AES-256-GCM, and a
// random key, in base64, where none is configured. A sealed token is magic,
// nonce, sealed JSON.
type store struct {
	state spool.State
	key   config.Secret // where an account has none of its own; may be unset
}

var keyFact = spool.Fact{Kind: spool.KindTokenKey}

func factOf(upstream string) spool.Fact { return spool.Fact{Kind: spool.KindToken, Name: upstream} }

const magic = "postern token 1\n"

// errSealed: the file is there, and the key is not the one it was written with.
var errSealed = errors.New("was written with another key, or is damaged")

// hold keeps everybody else, in any process, from the token of an upstream. A
// provider that is slow holds up nobody but its own upstream.
func (s *store) hold(ctx context.Context, upstream string) (unlock func(), err error) {
	return s.state.Lock(ctx, factOf(upstream))
}

// load reads the token of an upstream; nil: there is none.
func (s *store) load(ctx context.Context, upstream string, key config.Secret) (*token, error) {
	path := s.state.Where(factOf(upstream))
	sealed, err := s.read(ctx, factOf(upstream))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	aead, err := s.cipher(ctx, key, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %w: %s is gone", path, errSealed, s.state.Where(keyFact))
	}
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(string(sealed), magic)
	if !ok {
		return nil, fmt.Errorf("%s %w", path, errSealed)
	}
	plain, err := aead.Open(nil, nil, []byte(rest), associated(upstream))
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, errSealed)
	}
	t := new(token)
	if json.Unmarshal(plain, t) != nil { // its error could quote the token
		return nil, fmt.Errorf("%s %w", path, errSealed)
	}
	return t, nil
}

func (s *store) read(ctx context.Context, f spool.Fact) ([]byte, error) {
	content, err := s.state.Read(ctx, f)
	if errors.Is(err, spool.ErrForm) {
		err = fmt.Errorf("%s %w", s.state.Where(f), errSealed)
	}
	return content, err
}

// save makes a token durable. When it returns nil, a power cut leaves it;
// when not, it leaves the last one or this one. The upstream is on hold.
func (s *store) save(ctx context.Context, upstream string, key config.Secret, t *token) error {
	aead, err := s.cipher(ctx, key, true)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.state.Write(ctx, factOf(upstream), aead.Seal([]byte(magic), nil, plain, associated(upstream)))
}

// associated binds a file to its upstream: under another name it opens no more.
func associated(upstream string) []byte { return []byte(magic + upstream) }

// cipher derives the key, which is that of the account or else of all. Without a configured one it is the random key
// beside the tokens, made at the first write: it keeps a copied token file
// shut, and nothing from whoever can read the folder.
func (s *store) cipher(ctx context.Context, configured config.Secret, create bool) (cipher.AEAD, error) {
	if !configured.IsSet() {
		configured = s.key
	}
	text, err := configured.Read(ctx)
	if err != nil {
		return nil, err
	}
	if !configured.IsSet() {
		if text, err = s.ownKey(ctx, create); err != nil {
			return nil, err
		}
	}
	if len(text) < 32 {
		return nil, errors.New("the key for stored tokens has less than 32 characters")
	}
	derived, err := hkdf.Key(sha256.New, []byte(text), nil, "postern stored tokens", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s *store) ownKey(ctx context.Context, create bool) (string, error) {
	text, err := s.read(ctx, keyFact)
	if errors.Is(err, fs.ErrNotExist) && create {
		text, err = s.makeKey(ctx)
	}
	return strings.TrimSpace(string(text)), err
}

// makeKey makes the key, unless another upstream was quicker.
func (s *store) makeKey(ctx context.Context) ([]byte, error) {
	unlock, err := s.state.Lock(ctx, keyFact)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if text, err := s.read(ctx, keyFact); !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	text := []byte(rand.Text() + rand.Text()) // 256 bits and more
	return text, s.state.Write(ctx, keyFact, text)
}
