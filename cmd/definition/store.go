package definition

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postern/cmd/control"
	"postern/config"
	"postern/spool/statefile"
)

// Store is the definitions of one configuration. Its methods may be called
// concurrently, also by several processes.
type Store struct {
	path   string // of postern.toml
	folder string // conf.d
}

// Foreign is the error about a file that is not ours to change.
type Foreign struct{ File string }

func (e *Foreign) Error() string {
	return e.File + " was written or changed by hand: change it by hand"
}

// ErrChanged is the error where a definition is another than the one that was
// read.
var ErrChanged = errors.New("the definition was changed meanwhile: look at it again")

// Open finds the definitions of a configuration; an empty path is the default.
func Open(path string) (*Store, error) {
	if path == "" {
		path = config.DefaultPath()
	}
	folder := config.FurtherFolder(path)
	if folder == "" {
		return nil, fmt.Errorf("beside %s no further files are read: call it postern.toml, or write the definition into it", path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w: write it first, or install the package, which has one", err)
	}
	return &Store{path: path, folder: folder}, nil
}

// Stored is a definition as it is kept.
type Stored struct {
	Definition        // without Secrets: they are in files
	File       string // path
	Digest     string // tells what was read from what is there later
	content    []byte
}

const lead = "# Written by postern ("

// defaultOrder begins the name of a file that is to stand nowhere in particular.
const defaultOrder = 50

// fileName is where a definition stands in conf.d, whose files are read in the
// order of their names.
func fileName(order int, kind Kind, name string) string {
	return fmt.Sprintf("%02d-%s-%s.toml", order, kind, statefile.SafeName(name))
}

// StandsIn tells whether a file of conf.d is, by its name, that of a definition.
func StandsIn(file string, kind Kind, name string) bool {
	_, ok := orderOf(filepath.Base(file), kind, name)
	return ok
}

// orderOf reads the order from the name of a file; false: it is not that of the
// definition.
func orderOf(base string, kind Kind, name string) (int, bool) {
	n, err := strconv.Atoi(base[:min(2, len(base))])
	return n, err == nil && n > 0 && base == fileName(n, kind, name)
}

// find is the order of a definition, and whether there is a file of its name.
func (s *Store) find(kind Kind, name string) (order int, there bool) {
	entries, _ := os.ReadDir(s.folder) // what cannot be read, the configuration tells
	for _, e := range entries {
		if n, ok := orderOf(e.Name(), kind, name); ok {
			return n, true
		}
	}
	return defaultOrder, false
}

// Before is the Change.Order of a definition that is to be read before another
// one, or before all others of its kind where that is empty. It then comes before
// whatever else has the order of that one, too.
func (s *Store) Before(kind Kind, other string) (int, error) {
	names, first := s.Names(kind), defaultOrder+1
	if other != "" {
		if _, err := s.Read(kind, other); err != nil {
			return 0, err
		}
		names = []string{other}
	}
	for _, name := range names {
		order, _ := s.find(kind, name)
		first = min(first, order)
	}
	if first == 1 {
		return 0, fmt.Errorf("there is no room before %s", filepath.Join(s.folder, "01-*"))
	}
	return first - 1, nil
}

// sign puts the comment on top by which parseFile knows our files.
func sign(body string, kind Kind) []byte {
	return []byte(lead + digest([]byte(body)) + "): `postern " + string(kind) + "` changes it, or the web console.\n# Whoever changes it by hand takes it over: both then leave it alone.\n\n" + body)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Read reads one definition. fs.ErrNotExist: there is none of that name here;
// *Foreign: somebody else has written the file.
func (s *Store) Read(kind Kind, name string) (*Stored, error) {
	order, _ := s.find(kind, name)
	path := filepath.Join(s.folder, fileName(order, kind, name))
	content, err := config.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head, body, _ := strings.Cut(string(content), "\n\n")
	sum, _, _ := strings.Cut(strings.TrimPrefix(head, lead), ")")
	if !strings.HasPrefix(head, lead) || sum != digest([]byte(body)) {
		return nil, &Foreign{path}
	}
	d, err := parse(kind, name, body)
	if err != nil {
		return nil, &Foreign{path}
	}
	return &Stored{Definition: *d, File: path, Digest: digest(content), content: content}, nil
}

// Change says how Put and Remove do what they do. The zero value makes a new
// definition, tests nothing and asks no daemon.
type Change struct {
	// Seen is Stored.Digest of what is replaced; empty: there is nothing yet.
	Seen string
	// Try tests what the configuration would be, before anything is written; its
	// error ends the change. Others may change definitions meanwhile, and this one:
	// then the change ends with ErrChanged. It may be nil.
	Try func(ctx context.Context, cfg *config.Config) error
	// Reload asks the daemon to take it; nil: nobody is asked.
	// *control.NoDaemon is no failure, unless somebody may not ask.
	Reload func(ctx context.Context) error
	// Confirm looks, after a daemon has taken it, whether it does what it should;
	// its error ends the change as that of Reload does. It may be nil.
	Confirm func(ctx context.Context) error
	// Keeper keeps new secrets; nil: they are in files below state_dir.
	Keeper Keeper
	// Forget forgets those that some Keeper has kept and that are no longer named;
	// nil: there are none.
	Forget Keeper
	// Order is from 1 to 99; files of conf.d with a lower one are read before. 0 is
	// that of what is replaced, and 50 for a new definition.
	Order int
	// DryRun stops before anything is written.
	DryRun bool
	// Propose stops there as well, but new secrets stay, and those that neither
	// the old file nor the new one names are forgotten: somebody who may write
	// the file is to write what Result has.
	Propose bool
}

// Result is what Put and Remove have done.
type Result struct {
	File     string           // path
	Text     string           // what it holds; empty: it was removed
	Running  bool             // a daemon has taken it
	Warnings []config.Problem // about this definition
	Left     error            // why Keeper did not forget what is no longer named
}

// Put writes a definition. *config.Problems: the configuration cannot be used
// with it. After an error everything is as it was before.
func (s *Store) Put(ctx context.Context, d Definition, how Change) (*Result, error) {
	d.Values = maps.Clone(d.Values)
	if d.Values == nil {
		d.Values = map[string]any{}
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return s.change(ctx, &d, how, func(t *transaction) (content []byte, err error) {
		for key, secret := range d.Secrets {
			if err := t.keep(ctx, how.Keeper, key, secret); err != nil {
				return nil, err
			}
		}
		return sign(d.render(), d.Kind), nil
	})
}

// Remove removes a definition with its secrets. The configuration must be usable
// without it: a route that leads to an upstream is in the way.
func (s *Store) Remove(ctx context.Context, kind Kind, name string, how Change) (*Result, error) {
	return s.change(ctx, &Definition{Kind: kind, Name: name}, how, func(*transaction) ([]byte, error) { return nil, nil })
}

func (s *Store) change(ctx context.Context, d *Definition, how Change, make func(*transaction) ([]byte, error)) (_ *Result, err error) {
	base, err := config.Load(s.path)
	if err != nil {
		return nil, err
	}
	t := &transaction{Definition: d, secrets: &statefile.Folder{Dir: filepath.Join(base.StateDir, "secrets")}}
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	defer t.unlock()
	old, err := s.seen(d, how.Seen)
	if err != nil {
		return nil, err
	}
	content := old
	defer func() {
		if err != nil || how.DryRun && !how.Propose {
			t.drop(ctx, how.Keeper, old)
		}
	}()
	if content, err = make(t); err != nil {
		return nil, err
	}
	order, there := s.find(d.Kind, d.Name)
	if how.Order != 0 && !there {
		order = how.Order
	}
	name := fileName(order, d.Kind, d.Name)
	cfg, err := config.LoadWith(s.path, name, content)
	if err == nil {
		err = cfg.CheckOwner()
	}
	if err == nil && how.Try != nil {
		cfg, err = s.try(ctx, t, how, cfg, name, content)
	}
	done := &Result{File: filepath.Join(s.folder, name), Text: string(content)}
	if err != nil {
		return done, err
	}
	for _, p := range cfg.Warnings {
		if p.File == done.File {
			done.Warnings = append(done.Warnings, p)
		}
	}
	if how.Propose {
		t.forget(slices.Concat(old, content))
	}
	if how.DryRun || how.Propose {
		return done, nil
	}
	if err := s.replace(name, content); err != nil {
		return done, err
	}
	if done.Running, err = s.take(ctx, t, how, name, old); err != nil {
		return done, err
	}
	t.forget(content)
	if how.Forget != nil {
		done.Left = t.forgetSealed(ctx, how.Forget, content)
	}
	return done, nil
}

// lock waits until nobody else changes definitions.
func (t *transaction) lock(ctx context.Context) (err error) {
	t.locked, err = t.secrets.Lock(ctx, "definitions")
	return err
}

// unlock ends that, once.
func (t *transaction) unlock() {
	if end := t.locked; end != nil {
		t.locked = nil
		end()
	}
}

// try tests what the configuration would be. It takes its time, and nobody is to
// wait for that: so what others could change meanwhile is looked at again.
func (s *Store) try(ctx context.Context, t *transaction, how Change, cfg *config.Config, name string, content []byte) (*config.Config, error) {
	t.unlock()
	if err := how.Try(ctx, cfg); err != nil || how.DryRun {
		return cfg, err
	}
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	if _, err := s.seen(t.Definition, how.Seen); err != nil {
		return nil, err
	}
	if order, there := s.find(t.Kind, t.Name); there && fileName(order, t.Kind, t.Name) != name {
		return nil, ErrChanged
	}
	for _, name := range t.made {
		if _, err := os.Stat(filepath.Join(t.secrets.Dir, name)); err != nil {
			return nil, ErrChanged // somebody has made the same definition, and removed it
		}
	}
	for _, name := range t.sealed {
		if !how.Keeper.Has(name) {
			return nil, ErrChanged
		}
	}
	cfg, err := config.LoadWith(s.path, name, content)
	if err == nil {
		err = cfg.CheckOwner()
	}
	return cfg, err
}

// take has the daemon reload, and puts back what was there where it refuses.
func (s *Store) take(ctx context.Context, t *transaction, how Change, name string, old []byte) (running bool, err error) {
	if how.Reload == nil {
		return false, nil
	}
	err = how.Reload(ctx)
	took := err == nil
	if took && how.Confirm != nil {
		err = how.Confirm(ctx)
	}
	var gone *control.NoDaemon
	// A daemon that we may not ask can run, and needs the secrets of what it has.
	if err == nil || !took && ctx.Err() == nil && errors.As(err, &gone) && !errors.Is(err, fs.ErrPermission) {
		return err == nil, nil
	}
	if back := s.replace(name, old); back != nil {
		return false, errors.Join(err, fmt.Errorf("and what was there before could not be put back: %w", back))
	}
	t.drop(ctx, how.Keeper, old) // with one that is no credential of this machine no service starts
	var refused *control.Refused
	if took || !errors.As(err, &refused) { // it has taken it, or may have
		_ = how.Reload(context.WithoutCancel(ctx))
	}
	return false, err
}

// seen is what the file of a definition holds, which must be what the caller has
// seen; nil: there is none.
func (s *Store) seen(d *Definition, digest string) ([]byte, error) {
	there, err := s.Read(d.Kind, d.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && digest == "":
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrChanged
	case err != nil:
		return nil, err
	case digest == "":
		return nil, fmt.Errorf("%s %q stands in %s already: edit it, or remove it first", d.Kind, d.Name, there.File)
	case digest != there.Digest:
		return nil, ErrChanged
	}
	return there.content, nil
}

// Names are the definitions of a kind that we have written, in order.
func (s *Store) Names(kind Kind) (list []string) {
	paths, _ := filepath.Glob(filepath.Join(s.folder, "[0-9][0-9]-"+string(kind)+"-*.toml"))
	for _, path := range paths {
		content, err := config.ReadFile(path)
		if err != nil {
			continue
		}
		name := nameIn(kind, string(content))
		if d, err := s.Read(kind, name); err == nil && d.File == path {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
