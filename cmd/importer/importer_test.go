package importer

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// settings is where each source keeps its settings, within a tree.
var settings = map[string]string{
	"msmtp": "etc/msmtprc", "postfix": "etc/postfix", "nullmailer": "etc/nullmailer", "ssmtp": "etc/ssmtp", "dma": "etc/dma",
	"exim": "etc/exim4", "iis": "MetaBase.xml",
}

// TestGolden reads each tree of settings in testdata and compares what is made
// of it. Each is a configuration that can be used.
func TestGolden(t *testing.T) {
	for _, source := range Sources() {
		trees, err := filepath.Glob(filepath.Join("testdata", source, "*"))
		if err != nil || len(trees) < 2 {
			t.Fatalf("%s has %d trees, %v", source, len(trees), err)
		}
		for _, tree := range trees {
			t.Run(source+"/"+filepath.Base(tree), func(t *testing.T) {
				t.Chdir(tree)
				f, err := Read(source, settings[source])
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Verify(source, settings[source], ""); err != nil {
					t.Error(err)
				}
				secrets := map[*Upstream]string{}
				for _, u := range f.Upstreams {
					if u.Password != "" {
						secrets[u] = "/etc/postern/secrets/" + u.Name + ".pw"
					}
				}
				compare(t, "postern.toml", f.TOML(source, settings[source], nil))
				if len(secrets) > 0 {
					compare(t, "secrets.toml", f.TOML(source, settings[source], secrets))
				}
			})
		}
	}
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
	// The passwords of all trees.
	for _, secret := range []string{"hunter2", "p#w"} {
		if strings.Contains(string(got), secret) {
			t.Errorf("%s shows a password", name)
		}
	}
}

// TestCopies: the settings of another machine lead to none of this one's files,
// by name or by link.
func TestCopies(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	tree := filepath.Join(dir, "tree", "etc")
	if err := errors.Join(os.MkdirAll(filepath.Join(tree, "x"), 0o755), os.WriteFile(secret, []byte("secret\n"), 0o600),
		os.Symlink(secret, filepath.Join(tree, "x", "link")), os.Symlink("real", filepath.Join(tree, "x", "inside")),
		os.WriteFile(filepath.Join(tree, "x", "real"), []byte("good\n"), 0o600),
		os.WriteFile(filepath.Join(tree, "other"), []byte("other\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	whole, part := newSource(filepath.Join(tree, "x"), "/etc/x"), newSource(filepath.Join(tree, "x"), "/usr/local/etc/x")
	for _, c := range []struct {
		src        *source
		name, want string // empty: an error
	}{
		{whole, "/etc/x/real", "good"},
		{whole, "real", "good"},
		{whole, "inside", "good"},
		{whole, "/etc/other", "other"},
		{whole, "../other", "other"},
		{whole, "/etc/x/link", ""},
		{whole, secret, ""},
		{whole, "/etc/x/../../../secret", ""},
		{whole, "../../../../../../../../../.." + secret, ""},
		{part, "/usr/local/etc/x/real", "good"},
		{part, "real", "good"},
		{part, "/etc/other", ""},
		{part, "../other", ""},
		{part, secret, ""},
		{part, "link", ""},
	} {
		if c.src.here() {
			t.Fatal("a copy is taken for this machine's")
		}
		f, err := c.src.named(c.name)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s was read", c.name)
		case c.want != "" && (err != nil || f.lines[0] != c.want):
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if !newSource("/etc/postfix", "/etc/postfix").here() {
		t.Error("the folder at its usual place is taken for a copy")
	}
}

// TestBounds: too large a file, too long a line, what is no text and no file.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("large", make([]byte, maxFile+1))
	write("long", []byte(strings.Repeat("x", maxLine+1)))
	write("binary", []byte("a\x00b"))
	for name, want := range map[string]string{"large": "too large", "long": "a line of more than", "binary": "is not a text", ".": "is a folder"} {
		if _, err := newSource(dir, "/etc/x").read(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	src := newSource(dir, "/etc/x")
	write("small", []byte("a\n"))
	for range maxFiles {
		if _, err := src.named("small"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := src.named("small"); err == nil {
		t.Error("any number of files is read")
	}
}

// TestSave: nothing is overwritten unasked, and nothing through a link.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	if err := errors.Join(Save(path, []byte("one"), 0o600, false), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	var exists *Exists
	if err := Save(path, []byte("two"), 0o644, false); !errors.As(err, &exists) {
		t.Errorf("it was overwritten: %v", err)
	}
	if err := Save(link, []byte("two"), 0o644, true); err == nil {
		t.Error("a link was replaced or followed")
	}
	if err := Save(path, []byte("one"), 0o600, false); err != nil {
		t.Errorf("the same content: %v", err)
	}
	if err := Save(path, []byte("two"), 0o644, true); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if b, _ := os.ReadFile(path); err != nil || string(b) != "two" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", b, info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSavedNamesAreSynced: the folder is synced when the file has its name, and
// a sync that fails is told; so is the folder of secrets in its own.
func TestSavedNamesAreSynced(t *testing.T) {
	real := syncFolder
	defer func() { syncFolder = real }()
	var synced []string
	failure := errors.New("no sync")
	syncFolder = func(dir string) error {
		synced = append(synced, dir)
		return failure
	}
	dir := t.TempDir()
	for _, force := range []bool{false, true} {
		if err := Save(filepath.Join(dir, "f"), []byte{'a', byte(len(synced))}, 0o600, force); !errors.Is(err, failure) {
			t.Errorf("%v: %v", force, err)
		}
	}
	f := &Found{}
	f.upstream("one", &Upstream{Password: "first"})
	if _, err := f.SaveSecrets(filepath.Join(dir, "secrets"), false); !errors.Is(err, failure) {
		t.Error(err)
	}
	if want := []string{dir, dir, dir}; !slices.Equal(synced, want) {
		t.Errorf("synced %q", synced)
	}
}

// TestSecrets: passwords lie in files for their owner alone, and none is
// replaced unasked.
func TestSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	f := &Found{}
	one := f.upstream("one", &Upstream{Password: "first pass word"})
	two := f.upstream("one", &Upstream{Password: "second"})
	f.upstream("three", &Upstream{})
	paths, err := f.SaveSecrets(dir, false)
	if err != nil || len(paths) != 2 || paths[one] == paths[two] {
		t.Fatalf("%v, %v", paths, err)
	}
	info, err := os.Stat(paths[one])
	if b, _ := os.ReadFile(paths[one]); err != nil || string(b) != "first pass word\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", b, info.Mode(), err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := f.SaveSecrets(dir, false); err != nil {
		t.Errorf("a second time: %v", err)
	}
	two.Password = "third"
	if _, err := f.SaveSecrets(dir, false); err == nil {
		t.Error("a password was replaced")
	}
	if _, err := f.SaveSecrets(dir, true); err != nil {
		t.Error(err)
	}
}

// usable tells whether what was read makes a configuration that Postern takes,
// and whose comments and values hold no control character.
func usable(t *testing.T, source, path string) {
	f, err := Read(source, path)
	var unreadable *Unreadable
	if errors.As(err, &unreadable) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Verify(source, path, ""); err != nil {
		t.Fatalf("%v\n%s", err, f.TOML(source, path, nil))
	}
	for _, r := range string(f.TOML(source, path, nil)) {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			t.Fatalf("it holds %q", r)
		}
	}
}

// fuzz feeds a parser with files of its own.
func fuzz(f *testing.F, source string, files ...string) {
	trees, _ := filepath.Glob(filepath.Join("testdata", source, "*"))
	for _, tree := range trees {
		var content []string
		for _, name := range files {
			b, _ := os.ReadFile(filepath.Join(tree, name))
			content = append(content, string(b))
		}
		f.Add(strings.Join(content, "\x00"))
	}
	f.Fuzz(func(t *testing.T, all string) {
		dir := t.TempDir()
		for i, content := range strings.SplitN(all, "\x00", len(files)) {
			path := filepath.Join(dir, files[i])
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		usable(t, source, filepath.Join(dir, settings[source]))
	})
}

func FuzzMSMTP(f *testing.F) { fuzz(f, "msmtp", "etc/msmtprc") }

// TestReasons: what cannot be read says so.
func TestReasons(t *testing.T) {
	_, err := Read("msmtp", filepath.Join(t.TempDir(), "none"))
	if err == nil || !strings.HasSuffix(err.Error(), "none is not there") {
		t.Error(err)
	}
	if _, err := Read("sendmail", "/etc"); err == nil {
		t.Error("any source is known")
	}
}

// TestParseHost: the hosts that are taken are those that the configuration
// takes.
func TestParseHost(t *testing.T) {
	for host, want := range map[string]bool{"mail.example.com": true, "192.0.2.1": true, "2001:db8::1": true, "[192.0.2.1]": false, "a b": false, "": false, "mail.example.com:25": false, "1.2.3": false, "a\nb": false} {
		if _, ok := config.ParseHost(host); ok != want {
			t.Errorf("%q: %v", host, ok)
		}
	}
}

func FuzzPostfix(f *testing.F) {
	fuzz(f, "postfix", "etc/postfix/main.cf", "etc/postfix/master.cf", "etc/postfix/sasl_passwd", "etc/postfix/relays.pcre", "etc/postfix/transport")
}

func FuzzNullmailer(f *testing.F) {
	fuzz(f, "nullmailer", "etc/nullmailer/remotes", "etc/nullmailer/me", "etc/nullmailer/adminaddr", "etc/nullmailer/pausetime")
}

func FuzzSSMTP(f *testing.F) { fuzz(f, "ssmtp", "etc/ssmtp/ssmtp.conf", "etc/ssmtp/revaliases") }

func FuzzDMA(f *testing.F) { fuzz(f, "dma", "etc/dma/dma.conf", "etc/dma/auth.conf", "etc/mailname") }

func FuzzEximDebian(f *testing.F) {
	fuzz(f, "exim", "etc/exim4/update-exim4.conf.conf", "etc/exim4/passwd.client", "etc/email-addresses")
}

func FuzzExim(f *testing.F) { fuzz(f, "exim", "etc/exim4/exim4.conf") }

func FuzzIIS(f *testing.F) { fuzz(f, "iis", "MetaBase.xml") }
