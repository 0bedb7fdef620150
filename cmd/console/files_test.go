package console

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const reminder = `
from = 'Billing <billing@example.com>'
to = ['{{.name}} <{{.email}}>']
cc = ['group:Sales']
subject = 'Invoice {{.invoice}}'
html = '<h1>Dear {{.name}}</h1><img src="cid:logo.png"><p>{{.text}}</p>'
dsn = ['never']
[rows]
require = ['email']
[[attach]]
file = 'pdf/{{.invoice}}.pdf'
[[embed]]
file = 'logo.png'
`

// withFiles gives a relay a folder of message files.
func withFiles(t *testing.T, f *relay, files map[string]string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "messages")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.Console.Messages = dir
	return dir
}

func reminderFiles() map[string]string {
	return map[string]string{"reminder.toml": reminder, "pdf/7.pdf": "%PDF-7", "pdf/8.pdf": "%PDF-8", "logo.png": "\x89PNG\r\n\x1a\n",
		"note.toml": "subject = 'Note'\ntext = '{{.text}}'\n", "list.toml": "from='a@example.com'\nto=['b@example.org']\nsubject='{{len .rows}} invoices'\ntext='{{table .rows \"invoice\" \"due\"}}'\n[rows]\nper='all'\n",
		"broken.toml": "subject = 'x'\nsubjekt = 1\n"}
}

// filled fills in a form, and returns the page of what it makes.
func filled(t *testing.T, b *browser, file string, form url.Values) string {
	t.Helper()
	code, h, body := b.post("/message-files/"+file, form)
	if code != http.StatusSeeOther {
		t.Fatalf("%d %s", code, body)
	}
	return h.Get("Location")
}

func TestMessageFiles(t *testing.T) {
	f, s := newRelay(t)
	withBooks(t, f)
	withFiles(t, f, reminderFiles())
	b := open(t, s, "operate")
	_, _, body := b.get("/message-files")
	for _, text := range []string{`<a href="/message-files/reminder">reminder</a>`, "Invoice {{.invoice}}", "subjekt", ">Write</a>"} {
		if !strings.Contains(body, text) {
			t.Errorf("without %q: %s", text, body)
		}
	}
	_, _, body = b.get("/message-files/reminder")
	for _, text := range []string{`name="c.email"`, `name="c.name"`, `name="c.invoice"`, `name="c.text"`, "It has to have a value"} {
		if !strings.Contains(body, text) {
			t.Errorf("the form is without %q: %s", text, body)
		}
	}
	if strings.Contains(body, `name="to"`) || strings.Contains(body, `name="from"`) {
		t.Error("the file says who writes to whom, and the form asks")
	}
	at := filled(t, b, "reminder", url.Values{"c.name": {"Eve"}, "c.email": {"eve@example.net"}, "c.invoice": {"7"}, "c.text": {"one\r\ntwo"}})
	_, h, body := b.get(at)
	for _, text := range []string{"<h1>Invoice 7</h1>", "&lt;billing@example.com&gt;", "eve@example.net", "alice@example.com", "bob@example.com", "7.pdf", "Dear Eve", "Send the message",
		`src="` + at + `/html" sandbox=""`, "listener=console"} {
		if !strings.Contains(body, text) {
			t.Errorf("the preview is without %q: %s", text, body)
		}
	}
	if !strings.Contains(h.Get("Content-Security-Policy"), "frame-src 'self'") {
		t.Error(h)
	}
	_, h, body = b.get(at + "/html")
	if !strings.Contains(body, "<h1") || !strings.Contains(body, `src="data:image/png;base64,`) || h.Get("Content-Security-Policy") != mailPolicy {
		t.Errorf("%v %s", h, body)
	}
	if _, h, body := b.get(at + "/source"); !strings.Contains(body, "Subject: Invoice 7") || h.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%v %s", h, body)
	}
	parts := 0
	for _, number := range []string{"1", "2", "3", "4"} {
		if _, h, body := b.get(at + "/parts/" + number); body == "%PDF-7" && strings.Contains(h.Get("Content-Disposition"), "7.pdf") {
			parts++
		}
	}
	if parts != 1 {
		t.Errorf("the attachment is there %d times", parts)
	}
	if len(f.handed) > 0 {
		t.Fatal("it was sent")
	}
	send := strings.TrimSuffix(at, "/0") + "/send"
	for range 2 { // whoever presses twice sends once
		if code, h, body := b.post(send, nil); code != http.StatusSeeOther || h.Get("Location") != at {
			t.Fatalf("%d %s", code, body)
		}
	}
	if len(f.handed) != 1 {
		t.Fatalf("sent %d times", len(f.handed))
	}
	got := f.handed[0]
	if got.Operator != "console:operate" || got.From != "billing@example.com" || strings.Join(got.To, " ") != "eve@example.net alice@example.com bob@example.com" ||
		got.Remark != "message file reminder" || !slices.Equal(got.DSN, []string{"never"}) || got.Key == "" || !strings.Contains(string(got.Content), "Subject: Invoice 7") {
		t.Errorf("%+v", got)
	}
	if _, _, body := b.get(at); !strings.Contains(body, `<a href="/messages/`) || !strings.Contains(body, "All were queued before") || strings.Contains(body, "Send the message") {
		t.Error(body)
	}
}

// Rows make a message each, or one, as the file says.
func TestMessageRows(t *testing.T) {
	f, s := newRelay(t)
	withBooks(t, f)
	withFiles(t, f, reminderFiles())
	b := open(t, s, "operate")
	at := filled(t, b, "reminder", url.Values{"c.text": {"for all"}, "rows": {"name\temail\tinvoice\r\nEve\teve@example.net\t7\r\nDan\tdan@example.net\t8\r\n"}})
	_, _, body := b.get(at)
	for _, text := range []string{"eve@example.net", "dan@example.net", "Send 2 messages", "for all"} {
		if !strings.Contains(body, text) {
			t.Errorf("without %q: %s", text, body)
		}
	}
	second := strings.TrimSuffix(at, "/0") + "/1"
	if _, _, body := b.get(second); !strings.Contains(body, "<h1>Invoice 8</h1>") {
		t.Error(body)
	}
	// One is refused: the other is queued, and only the first is sent again.
	f.refuse = func(h *Handed) error {
		if slices.Contains(h.To, "dan@example.net") {
			return errors.New("550 5.7.1 " + hostile)
		}
		return nil
	}
	send := strings.TrimSuffix(at, "/0") + "/send"
	b.post(send, nil)
	_, _, body = b.get(at)
	if !strings.Contains(body, "1 message: queued. 1 not.") || !strings.Contains(body, "refused") || strings.Contains(body, "<script>alert") || strings.ContainsAny(body, "\x1b\u202e") {
		t.Error(body)
	}
	f.refuse = nil
	b.post(send, nil)
	if len(f.handed) != 2 || !slices.Contains(f.handed[1].To, "dan@example.net") {
		t.Errorf("%d were handed in", len(f.handed))
	}
	at = filled(t, b, "list", url.Values{"rows": {"invoice,due\n1,today\n2,tomorrow\n"}})
	if _, _, body := b.get(at); !strings.Contains(body, "<h1>2 invoices</h1>") || !strings.Contains(body, "tomorrow") || !strings.Contains(body, "Send the message") {
		t.Error(body)
	}
	// A file that names nobody lets the form do so, by the books as well.
	at = filled(t, b, "note", url.Values{"from": {"Ann <ann@example.com>"}, "to": {"Alice Liddell, x@example.net, group:Sales"}, "c.text": {"hello"}})
	if _, _, body := b.get(at); !strings.Contains(body, "&lt;ann@example.com&gt;") || !strings.Contains(body, "alice@example.com") || !strings.Contains(body, "x@example.net") || !strings.Contains(body, "bob@example.com") {
		t.Error(body)
	}
}

// What is wrong is told beside what was typed, and sends nothing.
func TestMessageFilesRefused(t *testing.T) {
	f, s := newRelay(t)
	withBooks(t, f)
	files := reminderFiles()
	files["big.toml"] = "from='a@example.com'\nto=['b@example.org']\nsubject='x'\ntext='x'\n[[attach]]\nfile='big.bin'\n"
	files["big.bin"] = strings.Repeat("x", maxMadeSize)
	files["huge.toml"] = "# " + strings.Repeat("x", 5<<20)
	files["out.toml"] = "from='a@example.com'\nto=['b@example.org']\nsubject='x'\ntext='x'\n[[attach]]\nfile='{{.file}}'\n"
	files["command.toml"] = "from='a@example.com'\nto=['b@example.org']\nsubject='x'\ntext='x'\n[rows]\ncommand=['id']\n"
	dir := withFiles(t, f, files)
	secret := filepath.Join(t.TempDir(), "secret.toml")
	if err := os.WriteFile(secret, []byte("from='a@example.com'\nto=['b@example.org']\nsubject='hunter2'\ntext='hunter2'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link.toml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.toml"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := open(t, s, "operate")
	ok := url.Values{"c.name": {"Eve"}, "c.email": {"eve@example.net"}, "c.invoice": {"7"}, "c.text": {"x"}}
	with := func(name, value string) url.Values {
		form := url.Values{}
		for k, v := range ok {
			form[k] = v
		}
		form.Set(name, value)
		return form
	}
	for name, one := range map[string]struct {
		file string
		form url.Values
		code int
		text string
	}{
		"no such file":          {"nothing", ok, 404, "no such message file"},
		"a path":                {"..%2f..%2fetc%2fpasswd", ok, 404, ""},
		"a path to a file":      {"..%2fsecret", ok, 404, ""},
		"a hidden file":         {".hidden", ok, 404, ""},
		"a NUL":                 {"reminder%00", ok, 404, ""},
		"a link":                {"link", ok, 409, "leaves the folder"},
		"a folder":              {"folder", ok, 409, "cannot be used"},
		"a file that is huge":   {"huge", ok, 409, "larger than 4 MiB"},
		"one with mistakes":     {"broken", ok, 409, "unknown key"},
		"one with a command":    {"command", ok, 409, "is for postern send"},
		"an attachment outside": {"out", url.Values{"c.file": {"../../etc/passwd"}}, 422, "leaves the folder"},
		"an absolute one":       {"out", url.Values{"c.file": {"/etc/passwd"}}, 422, "leaves the folder"},
		"an attached link":      {"out", url.Values{"c.file": {"link.txt"}}, 422, "leaves the folder"},
		"none of that name":     {"reminder", with("c.invoice", "9"), 422, "no such file"},
		"too much":              {"big", nil, 422, "more than 8 MiB"},
		"a value too long":      {"reminder", with("c.text", strings.Repeat("x", maxBody)), 413, "too long"},
		"no value":              {"reminder", with("c.email", " "), 422, "is empty or missing"},
		"no address":            {"reminder", with("c.email", "nobody"), 422, "not an address"},
		"two addresses":         {"reminder", with("c.email", "a@example.net>, <b@example.net"), 422, "to"},
		"a header":              {"reminder", with("c.invoice", "7\r\nBcc: x@example.net"), 422, "line break"},
		"too many rows":         {"reminder", with("rows", "email\n"+strings.Repeat("a@example.net\n", maxRows+1)), 422, "100 are the most"},
		"no rows":               {"reminder", with("rows", "email\n"), 422, "there are none"},
		"rows that are a file":  {"reminder", with("rows", "PK\x03\x04xxxx"), 422, "rows"},
		"rows with mistakes":    {"reminder", with("rows", "email,email\na,b\n"), 422, "there twice"},
		"a row too wide":        {"reminder", with("rows", "email\na,b,c\n"), 422, "fields"},
		"nobody":                {"note", url.Values{"from": {"a@example.com"}}, 422, "nobody is named"},
		"a stranger":            {"note", url.Values{"from": {"a@example.com"}, "to": {"Stranger"}}, 422, "nobody of that name"},
		"a sender with an end":  {"note", url.Values{"from": {"a@example.com\r\nBcc: x@example.net"}, "to": {"x@example.net"}}, 422, "cannot be seen"},
		"no sender":             {"note", url.Values{"to": {"x@example.net"}}, 422, "from"},
		"another's sender":      {"reminder", with("from", "boss@example.com"), 303, ""},
	} {
		code, _, body := b.post("/message-files/"+one.file, one.form)
		if code != one.code || !strings.Contains(body, one.text) {
			t.Errorf("%s: %d %s", name, code, body)
		}
		for _, bad := range []string{"hunter2", "root:", dir, secret} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: the answer has %q", name, bad)
			}
		}
	}
	// A busy machine may have no time to read all of them for one page.
	list := ""
	for end := time.Now().Add(time.Minute); !strings.Contains(list, "leaves the folder"); {
		_, _, list = b.get("/message-files")
		if strings.Contains(list, "hunter2") || time.Now().After(end) {
			t.Fatal(list)
		}
	}
	at := filled(t, b, "reminder", with("from", "boss@example.com"))
	if _, _, body := b.get(at); strings.Contains(body, "boss@example.com") {
		t.Error("the sender of the file was replaced")
	}
	if len(f.handed) > 0 {
		t.Error("something was sent")
	}
	// What was made belongs to the session that made it.
	other := open(t, serverOf(s, f), "operate")
	for _, path := range []string{at, at + "/html", at + "/source", at + "/parts/1", strings.TrimSuffix(at, "0") + "99", strings.TrimSuffix(at, "0") + "-1", strings.TrimSuffix(at, "0") + "x"} {
		from := b
		if strings.HasPrefix(path, at) {
			from = other
		}
		if code, _, _ := from.get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// Each session has one, all have maxMade, and whose session is another's sees
// nothing.
func TestMadeBounds(t *testing.T) {
	s := newMadeAll()
	first := s.add("a", &made{})
	second := s.add("a", &made{})
	if s.find(first, "a") != nil || s.find(second, "a") == nil || s.find(second, "b") != nil {
		t.Error("a session has two, or another's")
	}
	for _, owner := range []string{"b", "c", "d", "e"} {
		s.add(owner, &made{})
	}
	if len(s.all) != maxMade || s.find(second, "a") != nil {
		t.Errorf("%d are kept", len(s.all))
	}
}

// A message file, its values, its rows and what they make are text, in every field.
func TestHostileMessageFile(t *testing.T) {
	f, s := newRelay(t)
	withFiles(t, f, map[string]string{
		"plain.toml": "from='a@example.com'\nto=['b@example.org']\nsubject='{{.a}}'\nhtml='<p>{{.b}}</p><script>alert(1)</script>'\ntext='{{.c}}'\n" + `headers = { X-A = '{{index .row "` + `<img src=x onerror=alert(2)>` + `"}}' }`,
		"free.toml":  "subject='{{.a}}'\ntext='{{.c}}'\n",
		"bad.toml":   `"<script>alert(1)</script>" = 1`,
	})
	b := open(t, s, "operate")
	check := func(where, body string) {
		t.Helper()
		for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "\u202e"} {
			if at := strings.Index(body, bad); at >= 0 {
				t.Errorf("%s has %q: %s", where, bad, body[max(0, at-200):])
			}
		}
	}
	for _, path := range []string{"/message-files", "/message-files/plain", "/message-files/free", "/message-files/bad", "/message-files/" + url.PathEscape(hostile), "/made/" + url.PathEscape(hostile) + "/0"} {
		_, _, body := b.get(path)
		check(path, body)
	}
	column := "c.<img src=x onerror=alert(2)>"
	for _, field := range []string{"from", "to", "c.a", "c.b", "c.c", column, "rows"} {
		for _, file := range []string{"plain", "free"} {
			form := url.Values{"from": {"a@example.com"}, "to": {"b@example.org"}, "c.a": {"a"}, "c.b": {"b"}, "c.c": {"c"}, column: {"d"}}
			form.Set(field, hostile)
			code, h, body := b.post("/message-files/"+file, form)
			check(file+" "+field, body)
			if code == http.StatusSeeOther {
				_, _, body = b.get(h.Get("Location"))
				check("the preview of "+file+" "+field, body)
			}
		}
	}
	at := filled(t, b, "plain", url.Values{"c.a": {"a"}, "c.b": {hostile}, "c.c": {hostile}, column: {"d"}})
	_, h, body := b.get(at + "/html")
	if strings.Contains(body, "<script") || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || strings.Contains(h.Get("Content-Security-Policy"), "script-src") {
		t.Errorf("%v %s", h, body)
	}
}
