package definition

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"postern/spool/statefile"
)

// Keeper keeps secrets elsewhere than in files, each under a name that was never
// used.
type Keeper interface {
	Keep(ctx context.Context, name string, secret []byte) error
	// Has tells whether one is still kept.
	Has(name string) bool
	// Forget forgets those whose names begin with prefix, but for those that keep
	// tells.
	Forget(ctx context.Context, prefix string, keep func(name string) bool) error
}

// transaction is one change under the lock.
type transaction struct {
	*Definition
	secrets *statefile.Folder
	made    []string // names of new secrets in files
	sealed  []string // names of new secrets that a keeper has
	locked  func()   // ends the lock; nil: it is not held
}

// prefix begins the names of all secrets of the definition.
func (t *transaction) prefix() string {
	return string(t.Kind) + "-" + statefile.SafeName(t.Name) + "."
}

// keep keeps a new secret, and has the definition name it in place of the one
// that was kept before. Whether or not it is kept, drop finds it.
func (t *transaction) keep(ctx context.Context, keeper Keeper, key, secret string) error {
	name := t.prefix() + key + "-" + strings.ToLower(rand.Text()[:12])
	delete(t.Values, key+"_file")
	if was, _ := t.Values[key+"_credential"].(string); strings.HasPrefix(was, t.prefix()) {
		delete(t.Values, key+"_credential")
	}
	if keeper != nil {
		t.Values[key+"_credential"] = name
		t.sealed = append(t.sealed, name)
		return keeper.Keep(ctx, name, []byte(secret))
	}
	t.made = append(t.made, name)
	t.Values[key+"_file"] = filepath.Join(t.secrets.Dir, name)
	return t.secrets.Write(name, []byte(secret+"\n"))
}

// drop removes the new secrets; old is what the definition is again.
func (t *transaction) drop(ctx context.Context, keeper Keeper, old []byte) {
	for _, name := range t.made {
		_ = t.secrets.Remove(name) // the next change tries again
	}
	if len(t.sealed) > 0 {
		_ = t.forgetSealed(ctx, keeper, old)
	}
	t.made, t.sealed = nil, nil
}

// forgetSealed has the keeper forget what keep does not hold.
func (t *transaction) forgetSealed(ctx context.Context, keeper Keeper, keep []byte) error {
	return keeper.Forget(context.WithoutCancel(ctx), t.prefix(), func(name string) bool { return strings.Contains(string(keep), strconv.Quote(name)) })
}

// forget removes the secrets of the definition that keep does not hold.
func (t *transaction) forget(keep []byte) {
	entries, _ := os.ReadDir(t.secrets.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), t.prefix()) && !strings.Contains(string(keep), e.Name()) {
			_ = t.secrets.Remove(e.Name()) // the next change tries again
		}
	}
}
