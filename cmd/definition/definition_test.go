package definition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"postern/cmd/control"
	"postern/config"
)

// store is that of a small configuration.
func store(t *testing.T) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.toml")
	dir := filepath.ToSlash(filepath.Dir(path))
	text := fmt.Sprintf("state_dir = \"%s/state\"\n[spool]\ndir = \"%s/spool\"\n[control]\nsocket = \"/tmp/unused.sock\"\n[upstream.main]\nprovider = \"capture\"\n[[route]]\nfrom = [\"*@main.example\"]\nupstream = [\"main\"]\n", dir, dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(filepath.Dir(path), "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func office() Definition {
	return Definition{
		Kind: Upstream, Name: "office",
		Values:  map[string]any{"host": "mail.example.com", "port": "587", "username": "app1", "rate": []string{"30/1m"}, "encode_long_lines": "true"},
		Secrets: map[string]string{"password": "hunter2"},
	}
}

// files are all files below the folder of the configuration with what they hold.
func files(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Dir(s.path), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What is written is read again, its secret stands in a file of its own, and a
// change without a secret keeps it.
func TestPutEditRemove(t *testing.T) {
	s := store(t)
	before := files(t, s)
	done, err := s.Put(t.Context(), office(), Change{})
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(done.File); err != nil || info.Mode().Perm() != 0o640 {
			t.Error(info.Mode(), err)
		}
	}
	there, err := s.Read(Upstream, "office")
	if err != nil {
		t.Fatal(err)
	}
	secret := there.Values["password_file"].(string)
	if info, err := os.Stat(secret); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if strings.Contains(done.Text, "hunter2") || there.Values["port"] != int64(587) || there.Values["encode_long_lines"] != true {
		t.Errorf("%s\n%v", done.Text, there.Values)
	}
	cfg, err := config.Load(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if password, err := cfg.Upstreams["office"].Password.Read(t.Context()); err != nil || password != "hunter2" {
		t.Error(password, err)
	}
	if names := s.Names(Upstream); !reflect.DeepEqual(names, []string{"office"}) {
		t.Error(names)
	}
	there.Values["port"] = int64(2587)
	if _, err := s.Put(t.Context(), there.Definition, Change{Seen: there.Digest}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), there.Definition, Change{Seen: there.Digest}); !errors.Is(err, ErrChanged) {
		t.Error("a change of what was changed meanwhile:", err)
	}
	changed, err := s.Read(Upstream, "office")
	if err != nil || changed.Values["password_file"] != secret {
		t.Fatal(err, changed)
	}
	changed.Secrets = map[string]string{"password": "hunter3"}
	if _, err := s.Put(t.Context(), changed.Definition, Change{Seen: changed.Digest}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(secret); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the old secret is still there:", err)
	}
	last, _ := s.Read(Upstream, "office")
	if _, err := s.Remove(t.Context(), Upstream, "office", Change{Seen: last.Digest}); err != nil {
		t.Fatal(err)
	}
	if after := files(t, s); !reflect.DeepEqual(before, after) {
		t.Errorf("left: %v", after)
	}
}

// Whatever goes wrong, everything is as it was before.
func TestNothingIsLeftOfWhatFails(t *testing.T) {
	refused := &control.Refused{Status: 422, Reason: "no"}
	for name, c := range map[string]struct {
		change func(*Definition, *Change)
		want   string
	}{
		"a value":       {func(d *Definition, _ *Change) { d.Values["tls"] = "sometimes" }, "upstream.office.tls"},
		"a number":      {func(d *Definition, _ *Change) { d.Values["port"] = "many" }, "upstream.office.port: must be a whole number"},
		"a key":         {func(d *Definition, _ *Change) { d.Values["colour"] = "red" }, "upstream.office.colour"},
		"a secret key":  {func(d *Definition, _ *Change) { d.Values["password"] = "hunter2" }, "upstream.office.password"},
		"a command":     {func(d *Definition, _ *Change) { d.Values["password_command"] = []string{"rm"} }, "upstream.office.password_command"},
		"a name":        {func(d *Definition, _ *Change) { d.Name = "a/../b" }, "cannot be a name"},
		"a line in it":  {func(d *Definition, _ *Change) { d.Values["host"] = "a\"\n[upstream.x]" }, "contains a control character"},
		"the main file": {func(d *Definition, _ *Change) { d.Name = "main" }, "stands in"},
		"the test": {func(_ *Definition, h *Change) {
			h.Try = func(context.Context, *config.Config) error { return errors.New("wrong password") }
		}, "wrong password"},
		"the daemon": {func(_ *Definition, h *Change) { h.Reload = func(context.Context) error { return refused } }, "no"},
		"dry run":    {func(_ *Definition, h *Change) { h.DryRun = true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			before := files(t, s)
			d, how := office(), Change{}
			c.change(&d, &how)
			_, err := s.Put(t.Context(), d, how)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error has the password:", err)
			}
			if after := files(t, s); !reflect.DeepEqual(before, after) {
				t.Errorf("left: %v", after)
			}
		})
	}
}

// A refused change of what was there puts back the same bytes, with their secret.
func TestRefusedChangePutsBack(t *testing.T) {
	s := store(t)
	if _, err := s.Put(t.Context(), office(), Change{}); err != nil {
		t.Fatal(err)
	}
	before := files(t, s)
	there, err := s.Read(Upstream, "office")
	if err != nil {
		t.Fatal(err)
	}
	there.Secrets = map[string]string{"password": "hunter3"}
	no := func(context.Context) error { return &control.Refused{Reason: "no"} }
	if _, err := s.Put(t.Context(), there.Definition, Change{Seen: there.Digest, Reload: no}); err == nil {
		t.Error("it was taken")
	}
	if _, err := s.Remove(t.Context(), Upstream, "office", Change{Seen: there.Digest, Reload: no}); err == nil {
		t.Error("it was removed")
	}
	// A daemon that may not be asked goes on with the old secret.
	denied := func(context.Context) error { return &control.NoDaemon{Err: fs.ErrPermission} }
	if _, err := s.Put(t.Context(), there.Definition, Change{Seen: there.Digest, Reload: denied}); !errors.Is(err, fs.ErrPermission) {
		t.Error("nobody was asked, and it was kept:", err)
	}
	if after := files(t, s); !reflect.DeepEqual(before, after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

// What is proposed keeps its secret, and nothing else of it is written. Whoever
// writes the file makes the definition; the next proposal takes the place of one
// that nobody wrote.
func TestProposed(t *testing.T) {
	s := store(t)
	before := files(t, s)
	var done *Result
	for range 2 {
		var err error
		if done, err = s.Put(t.Context(), office(), Change{Propose: true}); err != nil {
			t.Fatal(err)
		}
		if now := files(t, s); len(now) != len(before)+1 || s.Names(Upstream) != nil {
			t.Errorf("%v", now)
		}
	}
	if err := errors.Join(s.prepare(), os.WriteFile(done.File, []byte(done.Text), 0o600), s.Writable()); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if password, err := cfg.Upstreams["office"].Password.Read(t.Context()); err != nil || password != "hunter2" {
		t.Error(password, err)
	}
	there, err := s.Read(Upstream, "office")
	if err != nil {
		t.Fatal(err)
	}
	there.Secrets = map[string]string{"password": "hunter3"}
	if _, err := s.Put(t.Context(), there.Definition, Change{Seen: there.Digest, Propose: true}); err != nil {
		t.Fatal(err)
	}
	if password, err := cfg.Upstreams["office"].Password.Read(t.Context()); err != nil || password != "hunter2" {
		t.Error("the secret in force is gone:", password, err)
	}
}

// Files of others are left alone, and so are ours once somebody has changed them.
func TestFilesOfOthers(t *testing.T) {
	s := store(t)
	done, err := s.Put(t.Context(), office(), Change{})
	if err != nil {
		t.Fatal(err)
	}
	there, _ := s.Read(Upstream, "office")
	if err := os.WriteFile(done.File, []byte(done.Text+"# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var foreign *Foreign
	if _, err := s.Remove(t.Context(), Upstream, "office", Change{Seen: there.Digest}); !errors.As(err, &foreign) {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(filepath.Dir(s.path), "other.toml")); err == nil || !strings.Contains(err.Error(), "postern.toml") {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "postern.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Every key that can be set is written so that it is read as the same.
func TestEveryKeyComesBack(t *testing.T) {
	for _, kind := range []Kind{Upstream, Route, Book, Alert} {
		d := &Definition{Kind: kind, Name: `büro "1"`, Values: map[string]any{}}
		for _, k := range Keys(kind) {
			switch {
			case k.Secret:
			case IsList(k.Kind):
				d.Values[k.Name] = []string{"a\\b", "c\"\n\u007f"}
			case k.Kind == "number":
				d.Values[k.Name] = int64(-3)
			case k.Kind == "boolean":
				d.Values[k.Name] = true
			default:
				d.Values[k.Name] = "x = 1 # \"é"
			}
		}
		back, err := parse(kind, d.Name, d.render())
		if err != nil || len(d.Values) < 5 || !reflect.DeepEqual(back, d) {
			t.Errorf("%s: %v\n%s\n%v\n%v", kind, err, d.render(), d, back)
		}
	}
}

// A definition that is to be read before others is, and stays there when it is
// changed.
func TestOrder(t *testing.T) {
	s := store(t)
	add := func(name, before string, first bool) {
		t.Helper()
		how := Change{}
		if before != "" || first {
			order, err := s.Before(Route, before)
			if err != nil {
				t.Fatal(err)
			}
			how.Order = order
		}
		d := Definition{Kind: Route, Name: name, Values: map[string]any{"from": name + "@a.example", "upstream": "main"}}
		if _, err := s.Put(t.Context(), d, how); err != nil {
			t.Fatal(err)
		}
	}
	add("m", "", false)
	add("z", "m", false)
	add("x", "", true)
	add("a", "", false)
	there, err := s.Read(Route, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), there.Definition, Change{Seen: there.Digest}); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(s.path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range cfg.Routes[1:] { // behind that of postern.toml
		names = append(names, r.Name)
	}
	if want := []string{"x", "z", "a", "m"}; !reflect.DeepEqual(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if names := s.Names(Route); !reflect.DeepEqual(names, []string{"a", "m", "x", "z"}) {
		t.Error(names)
	}
	if _, err := s.Before(Route, "nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	last, _ := s.Read(Route, "x")
	if _, err := s.Remove(t.Context(), Route, "x", Change{Seen: last.Digest}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(Route, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// While something is tried, others can change definitions: nobody waits for a
// test. Whoever has changed the same one meanwhile is not written over.
func TestOthersGoOnDuringATest(t *testing.T) {
	for _, c := range []struct {
		name  string
		other func(s *Store) error
		want  error
	}{
		{"another definition", func(s *Store) error {
			d := office()
			d.Name = "billing"
			_, err := s.Put(t.Context(), d, Change{})
			return err
		}, nil},
		{"the same one", func(s *Store) error {
			there, err := s.Read(Upstream, "office")
			if err == nil {
				there.Values["port"] = int64(2525)
				_, err = s.Put(t.Context(), there.Definition, Change{Seen: there.Digest})
			}
			return err
		}, ErrChanged},
		{"it is removed", func(s *Store) error {
			there, err := s.Read(Upstream, "office")
			if err == nil {
				_, err = s.Remove(t.Context(), Upstream, "office", Change{Seen: there.Digest})
			}
			return err
		}, ErrChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := store(t)
			if _, err := s.Put(t.Context(), office(), Change{}); err != nil {
				t.Fatal(err)
			}
			there, err := s.Read(Upstream, "office")
			if err != nil {
				t.Fatal(err)
			}
			there.Values["port"] = int64(587)
			there.Secrets = map[string]string{"password": "hunter3"}
			_, err = s.Put(t.Context(), there.Definition, Change{Seen: there.Digest, Try: func(ctx context.Context, cfg *config.Config) error {
				if password, err := cfg.Upstreams["office"].Password.Read(ctx); password != "hunter3" {
					t.Error("the test has another password", err)
				}
				return c.other(s)
			}})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			for name, content := range files(t, s) {
				if c.want != nil && strings.Contains(content, "hunter3") {
					t.Errorf("%s is left", name)
				}
			}
		})
	}
}
