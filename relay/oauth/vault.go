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
	"path/filepath"
	"strings"

	"postern/config"
	"postern/spool/statefile"
)

// vault is the folder of tokens: one file for each upstream, sealed by
// AES-256-GCM, a key where none is configured, and a lock that daemon and
// command line share. Nobody but the owner can read any of it.
//
//	oauth/lock                  empty
//	oauth/key                   random, base64; only where no key is configured
//	oauth/upstream-NAME.token   magic, nonce, sealed JSON of a token
//	oauth/*.new                 a write that a crash cut off; harmless
type vault struct{ statefile.Folder }

func newVault(stateDir string) *vault {
	return &vault{statefile.Folder{Dir: filepath.Join(stateDir, "oauth")}}
}

const (
	magic   = "postern token 1\n"
	keyName = "key"
	// maxFile bounds a token file, in bytes.
	maxFile = 4 * maxToken
)

// errSealed: the file is there, and the key is not the one it was written with.
var errSealed = errors.New("was written with another key, or is damaged")

func fileName(upstream string) string { return "upstream-" + statefile.SafeName(upstream) + ".token" }

// load reads the token of an upstream; nil: there is none.
func (v *vault) load(ctx context.Context, upstream string, key config.Secret) (*token, error) {
	path := filepath.Join(v.Dir, fileName(upstream))
	sealed, err := v.read(fileName(upstream))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	aead, err := v.cipher(ctx, key, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %w: %s is gone", path, errSealed, filepath.Join(v.Dir, keyName))
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

func (v *vault) read(name string) ([]byte, error) {
	content, err := v.Read(name, maxFile)
	if errors.Is(err, statefile.ErrForm) {
		err = fmt.Errorf("%s %w", filepath.Join(v.Dir, name), errSealed)
	}
	return content, err
}

// save makes a token durable. When it returns nil, a power cut leaves it;
// when not, it leaves the last one or this one. The lock is held.
func (v *vault) save(ctx context.Context, upstream string, key config.Secret, t *token) error {
	aead, err := v.cipher(ctx, key, true)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return v.Write(fileName(upstream), aead.Seal([]byte(magic), nil, plain, associated(upstream)))
}

// associated binds a file to its upstream: under another name it opens no more.
func associated(upstream string) []byte { return []byte(magic + upstream) }

// cipher derives the key. Without a configured one it is the random key
// beside the tokens, made at the first write: it keeps a copied token file
// shut, and nothing from whoever can read the folder.
func (v *vault) cipher(ctx context.Context, configured config.Secret, create bool) (cipher.AEAD, error) {
	text, err := configured.Read(ctx)
	if err != nil {
		return nil, err
	}
	if !configured.IsSet() {
		if text, err = v.ownKey(create); err != nil {
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

func (v *vault) ownKey(create bool) (string, error) {
	text, err := v.read(keyName)
	if errors.Is(err, fs.ErrNotExist) && create {
		text = []byte(rand.Text() + rand.Text()) // 256 bits and more
		err = v.Write(keyName, text)
	}
	return strings.TrimSpace(string(text)), err
}
