package merge

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// folderOf writes files into a folder of message files.
func folderOf(t *testing.T, files map[string]string) Folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "messages")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Folder{Dir: dir, Domain: "relay.example"}
}

const welcome = `
from = 'Shop <shop@example.com>'
to = ['{{.name}} <{{.email}}>']
subject = 'Welcome, {{.name}}'
html_file = 'welcome.html'
key = 'welcome/{{.email}}'
dsn = ['never']
headers = { X-Class = 'welcome' }
[rows]
require = ['email']
[[attach]]
file = 'terms/{{.language}}.txt'
[[embed]]
file = 'logo.png'
`

func welcomeFiles() map[string]string {
	return map[string]string{
		"welcome.toml": welcome, "welcome.html": `<p>{{.name}}<img src="cid:logo.png">{{range .items}}<li>{{.what}} {{.n}}{{end}}`,
		"terms/en.txt": "be nice", "logo.png": "\x89PNG\r\n\x1a\n",
	}
}

func TestFill(t *testing.T) {
	f := folderOf(t, welcomeFiles())
	values, err := Values([]byte(`{"name":"Ann \"<b>\" Lee, Dr","email":"ann@example.org","language":"en","unused":null,"items":[{"what":"<x>","n":12345678901234567890}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Fill(t.Context(), "welcome", values)
	if err != nil {
		t.Fatal(err)
	}
	m := got.Mail
	if m.From.String() != "Shop <shop@example.com>" || len(m.To) != 1 || m.To[0].Addr != "ann@example.org" || m.To[0].Name != `Ann "<b>" Lee, Dr` {
		t.Errorf("from %v to %v", m.From, m.To)
	}
	if m.Subject != `Welcome, Ann "<b>" Lee, Dr` || !strings.Contains(m.HTML, "&lt;x&gt; 12345678901234567890") {
		t.Errorf("subject %q html %q", m.Subject, m.HTML)
	}
	if got.Key != "welcome/ann@example.org" || len(got.DSN) != 1 || len(m.Attached) != 1 || len(m.Embedded) != 1 || m.Attached[0].Name != "en.txt" {
		t.Errorf("%+v", got)
	}
	if _, err := m.Compose(); err != nil {
		t.Error(err)
	}
}

// TestFillLeavesTheRest: whoever fills a message file in adds what it lacks.
func TestFillLeavesTheRest(t *testing.T) {
	f := folderOf(t, map[string]string{"bare.toml": "text = 'Hello {{.name}}'"})
	got, err := f.Fill(t.Context(), "bare", Row{"name": "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Mail.Text != "Hello Ann" || got.Mail.From.Addr != "" || len(got.Mail.To) != 0 {
		t.Errorf("%+v", got.Mail)
	}
	names, err := f.Names()
	if err != nil || len(names) != 1 || names[0] != "bare" {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := (Folder{Dir: filepath.Join(f.Dir, "none")}).Names(); err != nil || names != nil {
		t.Errorf("a folder that isn't there: %v, %v", names, err)
	}
}

// TestFillRefuses: what a message file for others may not do, and what values
// may not.
func TestFillRefuses(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := welcomeFiles()
	for name, text := range map[string]string{
		"rows.toml": "text = 'x'\n[rows]\nfile = 'terms/en.txt'", "run.toml": "text = 'x'\n[rows]\ncommand = ['echo', 'a']",
		"save.toml": "text = 'x'\nsave = 'a.eml'", "absolute.toml": "text = 'x'\n[[attach]]\nfile = '" + outside + "'",
		"up.toml": "text = 'x'\n[[attach]]\nfile = '../secret.txt'", "upbody.toml": "html_file = '../x.html'",
		"link.toml": "text = 'x'\n[[attach]]\nfile = 'link.txt'", "linkfile.toml": "text = '{{file \"link.txt\"}}'",
		"linkbody.toml": "text_file = 'link.txt'", "open.toml": "text_file = 'open.txt'", "open.txt": "anybody's",
		"dir.toml": "text = 'x'\n[[attach]]\nfile = 'terms'", "embed.toml": "html = '<img src=\"{{embed \"link.txt\"}}\">'",
		"key.toml": "text = 'x'\nsubjcet = 'y'", "empty.toml": "subject = 'x'",
	} {
		files[name] = text
	}
	f := folderOf(t, files)
	if err := os.Symlink(outside, filepath.Join(f.Dir, "link.txt")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(outside, filepath.Join(f.Dir, "linked.toml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(f.Dir, "open.txt"), 0o666); err != nil {
		t.Fatal(err)
	}
	good := Row{"name": "Ann", "email": "ann@example.org", "language": "en", "items": []any{}}
	with := func(name string, v any) Row {
		row := Row{}
		for k, v := range good {
			row[k] = v
		}
		row[name] = v
		return row
	}
	for _, c := range []struct {
		name   string
		values Row
		want   string
	}{
		{"welcome", with("language", "../../etc/passwd"), "leaves"},
		{"welcome", with("language", "fr"), "no such file"},
		{"welcome", with("name", "A\r\nBcc: x@y.example"), "line break"},
		{"welcome", with("email", "a@b.example>, <c@d.example"), "not an address"},
		{"welcome", with("email", "  "), "rows.require"},
		{"welcome", Row{"email": "a@b.example"}, "name"},
		{"rows", good, "rows"}, {"run", good, "rows"}, {"save", good, "save"},
		{"absolute", good, "leaves"}, {"up", good, "no such file"}, {"upbody", good, "no such file"},
		{"link", good, "leaves"}, {"linkfile", good, "leaves"}, {"linkbody", good, "leaves"}, {"linked", good, "leaves"}, {"embed", good, "leaves"},
		{"open", good, "can change"}, {"dir", good, "no regular file"}, {"key", good, "did you mean subject"}, {"empty", good, "text"},
	} {
		if c.name == "open" && runtime.GOOS == "windows" {
			continue
		}
		got, err := f.Fill(t.Context(), c.name, c.values)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %+v, %v; want %q", c.name, c.values, got, err, c.want)
			continue
		}
		if text := err.Error(); strings.Contains(text, f.Dir) || strings.Contains(text, "secret\n") {
			t.Errorf("%s: tells of places outside: %s", c.name, text)
		}
	}
	for _, name := range []string{"", ".", "..", "../welcome", "/etc/passwd", "none", "a/b", "a\\b", "-x", "a\x00b", strings.Repeat("a", 200), "welcome.toml"} {
		if _, err := f.Fill(t.Context(), name, good); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, text := range []string{`[]`, `"x"`, `7`, `{"a":[` + strings.Repeat(`1,`, 200_000) + `1]}`} {
		if _, err := Values([]byte(text)); err == nil {
			t.Errorf("%.20s is taken", text)
		}
	}
}

// TestStrangeMarkdownIsCounted: values of others become no more HTML than there
// is memory for, and none that takes seconds.
func TestStrangeMarkdownIsCounted(t *testing.T) {
	f := folderOf(t, map[string]string{
		"field.toml":   "markdown = '{{markdown .text}}'",
		"call.toml":    "html = '{{markdown .text}}{{markdown .text}}'\ninline_css = false",
		"style.toml":   "html = '<style>p{color:red}</style>{{markdown .text}}'",
		"nothing.toml": "text = '{{.text}}'",
	})
	text := strings.Repeat("a\n=\n", 40_000)
	for _, c := range []struct {
		name  string
		size  int
		limit int64
		err   string // "": none
	}{
		{"field", 160_000, 26 << 20, ""}, {"field", 160_000, 24 << 20, "memory"}, {"field", 2_000, 0, ""},
		{"call", 160_000, 60 << 20, ""}, {"call", 160_000, 40 << 20, "memory"},
		{"style", 20_000, 0, "memory"}, {"style", 20_000, 16 << 20, ""},
		{"nothing", 160_000, 0, ""},
	} {
		taken := int64(0)
		f.Memory = func(n int64) bool {
			if taken+n > c.limit {
				return false
			}
			taken += n
			return true
		}
		_, err := f.Fill(t.Context(), c.name, Row{"text": text[:c.size]})
		if c.err == "" && err != nil || c.err != "" && !errors.Is(err, ErrMemory) {
			t.Errorf("%s of %d bytes with %d: %v", c.name, c.size, c.limit, err)
		}
	}
	f.Memory = nil
	long := strings.Repeat("a\n=\n", maxStrangeMarkdown/8+1)
	for name, text := range map[string]string{"field": long + long, "call": long} { // twice in the latter
		if _, err := f.Fill(t.Context(), name, Row{"text": text}); err == nil || !strings.Contains(err.Error(), "the Markdown is longer than 512 KiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
