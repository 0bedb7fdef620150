package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/cmd/definition"
	"postern/config"
)

// definable gives the relay a configuration file with an upstream, a route and an
// alert, and returns its folder.
func definable(t *testing.T, f *relay) (dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "postern.toml")
	in := filepath.ToSlash(dir)
	text := fmt.Sprintf("state_dir = \"%s/state\"\n[spool]\ndir = \"%s/spool\"\n[control]\nsocket = \"%s/c.sock\"\n[upstream.main]\nhost = \"mx.example.com\"\nusername = \"u\"\npassword = \"a secret of the file\"\n[[route]]\nname = \"first\"\nfrom = [\"*@main.example\"]\nupstream = [\"main\"]\n", in, in, in)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Mkdir(filepath.Join(dir, "spool"), 0o700), os.Mkdir(filepath.Join(dir, "state"), 0o700)); err != nil {
		t.Fatal(err)
	}
	read := func() {
		cfg, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		cfg.Console.Users, cfg.Hostname = f.config.Console.Users, f.config.Hostname
		f.config = cfg
	}
	read()
	f.taken = read
	return dir
}

// kept are the files of definitions and secrets, with what they hold.
func kept(t *testing.T, dir string) (all string) {
	t.Helper()
	for _, folder := range []string{"conf.d", "state/secrets"} {
		entries, _ := os.ReadDir(filepath.Join(dir, folder))
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".lock") {
				content, err := os.ReadFile(filepath.Join(dir, folder, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				all += e.Name() + ": " + string(content) + "\n"
			}
		}
	}
	return all
}

// tried sends a form, and waits for the end of the walk.
func (b *browser) tried(kind string, form url.Values) (code int, draft, body string) {
	b.t.Helper()
	code, h, body := b.post("/definitions/"+kind, form)
	draft = h.Get("Location")
	for code == http.StatusSeeOther {
		if _, _, body = b.get(draft); !strings.Contains(body, "Look again") {
			break
		}
	}
	return code, draft, body
}

func officeForm() url.Values {
	return url.Values{"name": {"office"}, "v.host": {"127.0.0.1"}, "v.port": {"1"}, "v.tls": {"off"}, "v.auth": {"plain"}, "v.username": {"billing"}, "s.password": {"hunter2"}, "v.rate": {"30/1m\r\n500/1h\r\n"}}
}

var seenField = regexp.MustCompile(`name="seen" value="([0-9a-f]+)"`)

// An upstream is tried, shown, kept and changed, and its password is on no page.
func TestDefine(t *testing.T) {
	f, s := newRelay(t)
	dir := definable(t, f)
	b := open(t, s, "define")
	if _, _, body := b.get("/definitions/upstream"); !strings.Contains(body, `name="v.max_connections"`) || !strings.Contains(body, "The host name or IP address of the upstream.") ||
		strings.Contains(body, "password_file") || strings.Contains(body, "v.password_env") {
		t.Error(body)
	}
	code, draft, body := b.tried("upstream", officeForm())
	if code != http.StatusSeeOther || !strings.Contains(body, "rate = [&#34;30/1m&#34;, &#34;500/1h&#34;]") || !strings.Contains(body, "upstream.connect") || !strings.Contains(body, "although the test failed") || strings.Contains(body, "hunter2") || strings.Contains(body, "upstream.settings") {
		t.Fatalf("%d %s", code, body)
	}
	if all := kept(t, dir); all != "" {
		t.Errorf("kept before it was saved: %s", all)
	}
	other := open(t, serverOf(s, f), "define")
	if code, _, _ := other.get(draft); code != http.StatusNotFound {
		t.Errorf("another server has it: %d", code)
	}
	if code, h, body := b.post(draft+"/save", nil); code != http.StatusSeeOther || h.Get("Location") != "/definitions" {
		t.Fatalf("%d %s", code, body)
	}
	if all := kept(t, dir); !strings.Contains(all, "[upstream.office]") || !strings.Contains(all, ": hunter2\n") || f.noted() != "reload by console:define" {
		t.Error(all)
	}
	_, _, body = b.get("/definitions")
	for _, want := range []string{"is in force, from", "50-upstream-office.toml, line 4", "postern.toml, line 6", "by hand", "here"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q: %s", want, body)
		}
	}
	if code, _, _ := b.post(draft+"/save", nil); code != http.StatusNotFound {
		t.Errorf("saved twice: %d", code)
	}
	_, _, body = b.get("/definitions/upstream?name=office")
	seen := seenField.FindStringSubmatch(body)
	if seen == nil || !strings.Contains(body, "kept as it is") || strings.Contains(body, "hunter2") || !strings.Contains(body, "30/1m\n500/1h") {
		t.Fatal(body)
	}
	change := officeForm()
	change.Set("seen", seen[1])
	change.Del("s.password")
	change.Set("v.max_connections", "2")
	if _, draft, body = b.tried("upstream", change); !strings.Contains(body, "max_connections = 2") {
		t.Fatal(body)
	}
	if code, _, body := b.post(draft+"/save", nil); code != http.StatusSeeOther {
		t.Fatal(code, body)
	}
	// Its password goes to no other server.
	_, _, body = b.get("/definitions/upstream?name=office")
	change.Set("seen", seenField.FindStringSubmatch(body)[1])
	for key, value := range map[string]string{"v.host": "evil.example", "v.port": "2525", "v.tls": "opportunistic", "v.server_name": "x", "v.provider": "gmail", "v.auth": "login"} {
		evil := url.Values{}
		for name := range change {
			evil.Set(name, change.Get(name))
		}
		evil.Set(key, value)
		if code, _, body := b.tried("upstream", evil); code != http.StatusUnprocessableEntity || !strings.Contains(body, "password: type it again") {
			t.Errorf("%s: %d %s", key, code, body)
		}
	}
	code, _, body = b.post("/definitions/upstream/remove", url.Values{"name": {"office"}, "seen": {change.Get("seen")}})
	if code != http.StatusSeeOther || kept(t, dir) != "" {
		t.Errorf("%d %s %s", code, kept(t, dir), body)
	}
	changed := 0
	for _, e := range f.events {
		if e, ok := e.(*Defined); ok && e.Name == "office" && e.User == "define" {
			changed++
		}
	}
	if changed != 3 {
		t.Errorf("%d events", changed)
	}
}

// A route, a book and an alert are made without a walk; what is in postern.toml
// is shown with its place and without its secrets.
func TestDefineOthers(t *testing.T) {
	f, s := newRelay(t)
	dir := definable(t, f)
	b := open(t, s, "define")
	for kind, form := range map[string]url.Values{
		"route": {"name": {"second"}, "v.from": {"*@b.example\n*@c.example"}, "v.upstream": {"main"}},
		"book":  {"name": {"people"}, "v.provider": {"ldap"}, "v.url": {"ldaps://dc1.example.com\nldaps://dc2.example.com"}, "v.username": {"u@example.com"}, "s.password": {"hunter2"}},
		"alert": {"name": {"ops"}, "s.url": {"ntfy://ntfy.example/secret-topic"}, "v.severity": {"critical"}},
	} {
		code, draft, body := b.tried(kind, form)
		if code != http.StatusSeeOther || strings.Contains(body, "hunter2") || strings.Contains(body, "secret-topic") {
			t.Fatalf("%s: %d %s", kind, code, body)
		}
		if code, _, body := b.post(draft+"/save", nil); code != http.StatusSeeOther {
			t.Errorf("%s: %d %s", kind, code, body)
		}
		if _, _, body := b.get("/definitions"); !strings.Contains(body, form.Get("name")) {
			t.Errorf("%s: %s", kind, body)
		}
	}
	if all := kept(t, dir); strings.Count(all, "50-") != 3 || !strings.Contains(all, "ntfy://ntfy.example/secret-topic\n") {
		t.Error(all)
	}
	_, _, body := b.get("/definitions/upstream?name=main")
	if !strings.Contains(body, "postern.toml on line 6") || !strings.Contains(body, "mx.example.com") || strings.Contains(body, "a secret of the file") || strings.Contains(body, "<form method=\"post\" action=\"/definitions") {
		t.Error(body)
	}
	if code, _, _ := b.post("/definitions/upstream/remove", url.Values{"name": {"main"}}); code != http.StatusConflict {
		t.Errorf("what somebody wrote is removed: %d", code)
	}
}

// Nothing is kept of what is not wanted, and what is hostile stays text.
func TestDefineWhatIsWrong(t *testing.T) {
	f, s := newRelay(t)
	dir := definable(t, f)
	b := open(t, s, "define")
	for name, c := range map[string]struct {
		key, value string
		code       int
		want       string
	}{
		"no name":            {"name", "", 422, "cannot be a name"},
		"a path as the name": {"name", "../../evil", 422, "name"},
		"a hidden character": {"name", "a\u202eb", 422, "cannot be seen"},
		"markup":             {"v.host", hostile, 422, "cannot be seen"},
		"markup to be shown": {"v.host", `"><script>alert(1)</script>`, 422, "&lt;script&gt;alert(1)"},
		"a table in a value": {"v.host", "a\"\n[upstream.x]", 422, "<li>host: "},
		"a key of a path":    {"v.password_file", "/etc/shadow", 303, ""},
		"a command":          {"v.password_command", "id", 303, ""},
		"a number":           {"v.port", "many", 422, "must be a whole number"},
		"a choice":           {"v.tls", "sometimes", 422, "<li>tls: "},
		"a name that is":     {"name", "main", 422, "stands in"},
		"another digest":     {"seen", "0123456789abcdef", 409, "changed meanwhile"},
		"a secret of lines":  {"s.password", "a\nb", 422, "cannot be one"},
		"far too much":       {"v.host", strings.Repeat("x", maxBody), 413, "too long"},
		"many values":        {"v.rate", strings.Repeat("1/1m\n", maxListed+1), 422, "more than"},
	} {
		form := officeForm()
		form.Set(c.key, c.value)
		code, _, body := b.tried("upstream", form)
		if code != c.code || !strings.Contains(body, c.want) || strings.Contains(body, "<script>alert") || strings.Contains(body, "hunter2") || strings.Contains(body, "shadow") || strings.Contains(body, "password_command") {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	for _, path := range []string{"/definitions/listener", "/definitions/..%2fx", "/definitions/upstream?name=nobody", "/drafts/nothing", "/drafts/..%2f..%2fetc", "/tests/x"} {
		if code, _, _ := b.get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	r, _ := http.NewRequest(http.MethodPost, b.base+"/definitions/upstream", strings.NewReader(officeForm().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if code, _, _ := b.do(r); code != http.StatusForbidden {
		t.Errorf("another site defines: %d", code)
	}
	if all := kept(t, dir); all != "" {
		t.Errorf("left: %s", all)
	}
}

// What root is to type makes the definition that was shown, whatever is in it.
func TestCommandForRoot(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	f, s := newRelay(t)
	dir := definable(t, f)
	store, err := s.definitionStore()
	if err != nil {
		t.Fatal(err)
	}
	d := definition.Definition{Kind: definition.Route, Name: "it's $(id) `id`\\", Values: map[string]any{"from": []string{"$HOME@b.example"}, "reject": "END"}}
	done, err := store.Put(t.Context(), d, definition.Change{Propose: true})
	if err != nil {
		t.Fatal(err)
	}
	run := func(done *definition.Result) {
		c := exec.Command(shell, "-e", "-c", strings.ReplaceAll(commandFor(done, f.config.Path), "postern reload", "echo"))
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), f.config.Path) {
			t.Fatalf("%v %s", err, out)
		}
	}
	run(done)
	there, err := store.Read(d.Kind, d.Name)
	if err != nil || there.Values["reject"] != "END" || there.Values["from"].([]string)[0] != "$HOME@b.example" {
		t.Fatal(err, there)
	}
	if done, err = store.Remove(t.Context(), d.Kind, d.Name, definition.Change{Seen: there.Digest, DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if run(done); kept(t, dir) != "" {
		t.Error(kept(t, dir))
	}
}

// A panic on the way to a server ends the walk and nothing else.
func TestPanicOnTheWay(t *testing.T) {
	f, s := newRelay(t)
	k := s.beginWalk(func(context.Context, func(*config.Config) error) error { panic("a defect") }, "office")
	for {
		state, changed := k.follow()
		if state.Ended {
			break
		}
		<-changed
	}
	if state := k.now(); !state.Ended || !state.Bad || !strings.Contains(state.Problem, "defect") {
		t.Errorf("%+v", state)
	}
	if e, ok := f.events[0].(*Failed); !ok || !strings.Contains(e.Text, "walk.go") {
		t.Errorf("%+v", f.events)
	}
}

// An upstream in force is tested, for whoever may operate.
func TestUpstreamIsTested(t *testing.T) {
	f, s := newRelay(t)
	definable(t, f)
	f.config.Upstreams["main"].Host, f.config.Upstreams["main"].Port = "127.0.0.1", 1
	b := open(t, s, "operate")
	code, h, _ := b.post("/upstreams/main/test", nil)
	var body string
	for range 1000 {
		if _, _, body = b.get(h.Get("Location")); !strings.Contains(body, "Look again") {
			break
		}
	}
	if code != http.StatusSeeOther || !strings.Contains(body, "upstream.connect") || !strings.Contains(body, "Mail would not go.") {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := b.post("/upstreams/nobody/test", nil); code != http.StatusNotFound {
		t.Error(code)
	}
}

// What is wrong with a field is told by its name and beside it, and what is wrong
// elsewhere by its place.
func TestBlame(t *testing.T) {
	problems := &config.Problems{List: []config.Problem{
		{File: "/etc/postern/conf.d/50-alert-ops.toml", Line: 3, Key: "alert[2].mail.to[0]", Text: "this is no address", Hint: "such as a@example.com"},
		{File: "/etc/postern/conf.d/50-alert-other.toml", Line: 3, Key: "alert[1].severity", Text: "bad"},
		{File: "/etc/postern/postern.toml", Line: 9, Key: "alert[0].after", Text: "bad"},
		{File: "/etc/postern/conf.d/50-alert-ops.toml", Line: 1, Key: "alert[2]", Text: "nobody is told"},
	}}
	f := newForm(definition.Alert, "ops", nil, nil)
	f.blame(problems)
	want := []string{"mail.to: this is no address (such as a@example.com)", "/etc/postern/conf.d/50-alert-other.toml:3: alert[1].severity: bad", "/etc/postern/postern.toml:9: alert[0].after: bad", "alert[2]: nobody is told"}
	if !slices.Equal(f.Problems, want) {
		t.Errorf("%q", f.Problems)
	}
	for _, g := range f.Groups {
		for _, one := range g.Fields {
			if (one.Problem != "") != (one.Key == "mail.to") {
				t.Errorf("%s: %q", one.Key, one.Problem)
			}
		}
	}
	f = newForm(definition.Alert, "ops", nil, nil)
	if f.blame(errors.New("there is no such place")); f.Problems[0] != "There is no such place." {
		t.Errorf("%q", f.Problems)
	}
}
