package api

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/spool"
)

func templates(t *testing.T, files map[string]string) *rig {
	t.Helper()
	r := newRig(t, "")
	dir := filepath.Join(r.dir, "messages") // beside the configuration
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

var reminder = map[string]string{
	"reminder.toml": `
from = 'Accounts <billing@example.com>'
to = ['{{.name}} <{{.email}}>']
cc = ['control@example.org']
subject = 'Invoice {{.invoice}}'
text = 'Dear {{.name}}{{range .items}}, {{.}}{{end}}'
key = 'reminder/{{.invoice}}'
dsn = ['never']
[[attach]]
file = 'terms.txt'
`, "terms.txt": "be nice\n", "bare.toml": "text = 'Hello {{.name}}'\n", "wrong.toml": "text = '{{.name'\n",
}

func TestTemplate(t *testing.T) {
	r := templates(t, reminder)
	body := func(rest string) string {
		return `{` + rest + `"template":{"id":"reminder","variables":{"name":"Ann","email":"ann@example.org","invoice":7,"items":["one","two"]}}}`
	}
	first := r.do(call{path: "/emails", body: body("")})
	if first.status != 200 {
		t.Fatalf("%d %s", first.status, first.body)
	}
	id := first.json(t)["id"].(string)
	content, env := r.message(id)
	for _, want := range []string{"Subject: Invoice 7\r\n", "To: Ann <ann@example.org>\r\n", "Dear Ann, one, two\r\n", "terms.txt", "Cc: control@example.org\r\n"} {
		if !strings.Contains(content, want) {
			t.Errorf("%q is missing in %s", want, content)
		}
	}
	if env.From != "billing@example.com" || len(env.Recipients) != 2 || env.Recipients[0].Notify != spool.NotifyNever {
		t.Errorf("%+v", env)
	}

	// Its key makes it one.
	again := r.do(call{path: "/emails", body: body("")})
	if v := again.json(t); again.status != 200 || v["id"] != id || v["repeated"] != true {
		t.Errorf("again: %d %s", again.status, again.body)
	}

	// What the request says stands in place of what the file says.
	other := r.do(call{path: "/emails", body: body(`"to":"bob@example.org","subject":"{{.name}}","headers":{"X-A":"1"},`), header: []string{"Idempotency-Key: other"}})
	if other.status != 200 {
		t.Fatalf("%d %s", other.status, other.body)
	}
	content, env = r.message(other.json(t)["id"].(string))
	if !strings.Contains(content, "Subject: {{.name}}\r\n") || !strings.Contains(content, "To: bob@example.org\r\n") || !strings.Contains(content, "X-A: 1\r\n") || strings.Contains(content, "ann@example.org") {
		t.Errorf("%s", content)
	}
	if len(env.Recipients) != 2 || env.Recipients[0].Address != "bob@example.org" || env.Recipients[1].Address != "control@example.org" {
		t.Errorf("%+v", env.Recipients)
	}
}

// TestTemplateIsAskedOfTheRoutes: who a file says that it is from is checked as
// any other sender.
func TestTemplateIsAskedOfTheRoutes(t *testing.T) {
	r := templates(t, map[string]string{"a.toml": "from = 'a@forbidden.example'\nto = ['b@example.org']\ntext = 'x'\n"})
	a := r.do(call{path: "/emails", body: `{"template":{"id":"a"}}`})
	if a.status != 403 || !strings.Contains(a.body, "not from here") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestTemplateBatch(t *testing.T) {
	r := templates(t, reminder)
	one := func(name string) string {
		return fmt.Sprintf(`{"from":"a@example.com","to":"b@example.org","template":{"id":"bare","variables":{%s}}}`, name)
	}
	a := r.do(call{path: "/emails/batch", body: "[" + one(`"name":"Ann"`) + "," + one(``) + "]"})
	if a.status != 422 || !strings.Contains(a.body, "[1].template: bare.toml") || !strings.Contains(a.body, `no value \"name\" is given`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = r.do(call{path: "/emails/batch", body: "[" + one(`"name":"Ann"`) + "," + one(`"name":"Bob"`) + "]"})
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i, name := range []string{"Ann", "Bob"} {
		id := a.json(t)["data"].([]any)[i].(map[string]any)["id"].(string)
		if content, _ := r.message(id); !strings.Contains(content, "Hello "+name+"\r\n") {
			t.Errorf("%s", content)
		}
	}
	a = r.do(call{path: "/emails", body: `{"from":"a@example.com","to":"b@example.org","template":{"id":"wrong"}}`})
	if a.status != 422 || !strings.Contains(a.body, "template: wrong.toml:1: text:") || strings.Contains(a.body, r.dir) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestMarkdownHoldsItsMemory: what becomes of the Markdown of a template takes
// memory like a body, which is given back.
func TestMarkdownHoldsItsMemory(t *testing.T) {
	r := templates(t, map[string]string{"a.toml": "from = 'a@example.com'\nto = ['b@example.org']\nsubject = 'x'\nmarkdown = '{{markdown .text}}'\n"})
	with := func(headings int) string {
		return fmt.Sprintf(`{"template":{"id":"a","variables":{"text":%q}}}`, strings.Repeat("a\n=\n", headings))
	}
	if a := r.do(call{path: "/emails", body: with(75_000)}); a.status != 503 || !strings.Contains(a.body, "too many large requests") {
		t.Errorf("more than there is memory for: %d %s", a.status, a.body)
	}
	if a := r.do(call{path: "/emails", body: with(25_000)}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.do(call{path: "/emails", body: with(150_000)}); a.status != 422 || !strings.Contains(a.body, "longer than 512 KiB") {
		t.Errorf("too long: %d %s", a.status, a.body)
	}
	if n := r.server.memory.Used(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}
