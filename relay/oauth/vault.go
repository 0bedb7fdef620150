package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/config"
)

// vault is the folder of tokens: one file for each upstream, sealed by
// AES-256-GCM, a key where none is configured, and a lock that daemon and
// command line share. Nobody but the owner can read any of it.
//
//	oauth/lock                  empty
//	oauth/key                   random, base64; only where no key is configured
//	oauth/upstream-NAME.token   magic, nonce, sealed JSON of a token
//	oauth/*.new                 a write that a crash cut off; harmless
type vault struct {
	dir string
	// step is called before each operation on disk; for tests.
	step func(operation string) error
}

const (
	magic   = "postern token 1\n"
	keyName = "key"
	// maxFile bounds a token file, in bytes.
	maxFile = 4 * maxToken
	// lockPoll is how often a held lock is tried again.
	lockPoll = 20 * time.Millisecond
)

// errSealed: the file is there, and the key is not the one it was written with.
var errSealed = errors.New("was written with another key, or is damaged")

// fileName is safe on every file system, and different for every name.
func fileName(upstream string) string {
	plain := !strings.ContainsFunc(upstream, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	if !plain || upstream == "" {
		sum := sha256.Sum256([]byte(upstream))
		upstream = "=" + hex.EncodeToString(sum[:16])
	}
	return "upstream-" + upstream + ".token"
}

// prepare makes the folder. What root makes belongs to whom the folder above
// belongs: the daemon has to read it.
func (v *vault) prepare() error {
	if err := os.MkdirAll(filepath.Dir(v.dir), 0o700); err != nil {
		return err
	}
	err := os.Mkdir(v.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := inherit(v.dir, filepath.Dir(v.dir)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(v.dir))
}

// lock waits until nobody else, in any process, works in the folder.
func (v *vault) lock(ctx context.Context) (unlock func(), err error) {
	if err := v.prepare(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(v.dir, "lock"), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := inherit(f.Name(), v.dir); err != nil {
		f.Close()
		return nil, err
	}
	for {
		held, err := tryLock(f)
		if err == nil && !held {
			return func() { _ = f.Close() }, nil // closing it unlocks
		}
		if err == nil {
			select {
			case <-time.After(lockPoll):
				continue
			case <-ctx.Done():
				err = errors.New(f.Name() + " is held by another process")
			}
		}
		f.Close()
		return nil, err
	}
}

// load reads the token of an upstream; nil: there is none.
func (v *vault) load(ctx context.Context, upstream string, key config.Secret) (*token, error) {
	path := filepath.Join(v.dir, fileName(upstream))
	sealed, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	aead, err := v.cipher(ctx, key, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s %w: %s is gone", path, errSealed, filepath.Join(v.dir, keyName))
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
	return v.write(fileName(upstream), aead.Seal([]byte(magic), nil, plain, associated(upstream)))
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
	text, err := readPrivate(filepath.Join(v.dir, keyName))
	if errors.Is(err, fs.ErrNotExist) && create {
		text = []byte(rand.Text() + rand.Text()) // 256 bits and more
		err = v.write(keyName, text)
	}
	return strings.TrimSpace(string(text)), err
}

// write replaces a file as a whole: temporary file, sync, rename, sync of the
// folder.
func (v *vault) write(name string, content []byte) (err error) {
	path := filepath.Join(v.dir, name)
	if err := v.before("create"); err != nil {
		return err
	}
	_ = os.Remove(path + ".new") // of a crash
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = inherit(f.Name(), v.dir)
	if err == nil {
		err = v.before("write")
	}
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = v.before("sync")
	}
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = v.before("rename")
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = v.before("sync folder")
	}
	if err == nil {
		err = syncDir(v.dir)
	}
	return err
}

func (v *vault) before(operation string) error {
	if v.step == nil {
		return nil
	}
	return v.step(operation)
}

// readPrivate reads a file that only its owner may read.
func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := private(info); err != nil {
		return nil, fmt.Errorf("%s %w: chmod 0600 %s", path, err, path)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s %w", path, errSealed)
	}
	content := make([]byte, info.Size())
	n, err := f.ReadAt(content, 0)
	if n < len(content) {
		return nil, err
	}
	return content, nil
}
