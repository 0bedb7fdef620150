package console

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/addressbook"
	"postern/relay/directory/directorytest"
)

// withBooks gives a relay a folder of cards and a file.
func withBooks(t *testing.T, f *relay, more ...config.Book) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, lines := range map[string][]string{
		"alice": {"UID:urn:uuid:alice", "FN:Alice Liddell", "EMAIL;TYPE=work:alice@example.com", "CATEGORIES:Sales", "NOTE:kept", "X-OTHER;A=b:kept as well"},
		"bob":   {"UID:bob", "FN:Bob", "EMAIL:bob@example.com", "CATEGORIES:Sales,Crew"},
		"all":   {"UID:all", "FN:All", "KIND:group", "MEMBER:urn:uuid:alice", "MEMBER:mailto:carol@example.net"},
	} {
		card(t, dir, name, lines...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.Books = append([]config.Book{{Name: "team", Provider: config.BookVCards, Dir: dir}}, more...)
	f.shelf = addressbook.New(f.config.Books)
	return dir
}

func card(t *testing.T, dir, name string, lines ...string) {
	t.Helper()
	text := "BEGIN:VCARD\r\nVERSION:4.0\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCARD\r\n"
	path, before := filepath.Join(dir, name+".vcf"), time.Now().Add(-time.Hour)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, before, before); err != nil { // or it would be read each time
		t.Fatal(err)
	}
}

// file is a book of one CSV file.
func file(t *testing.T, name, text string) config.Book {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Book{Name: name, Provider: config.BookCSV, File: path}
}

// directoryBook is a book of a directory without TLS.
func directoryBook(name string, at config.DirectoryServer) config.Book {
	return config.Book{Name: name, Provider: config.BookLDAP, Directory: config.Directory{
		Servers: []config.DirectoryServer{at}, TLS: config.DirectoryTLSOff, Schema: config.SchemaAuto, Timeout: 10 * time.Second, Max: 50, Account: config.Account{Auth: config.MechanismAnonymous}}}
}

func TestBooks(t *testing.T) {
	f, s := newRelay(t)
	dir := withBooks(t, f, file(t, "outlook", "Name,E-mail\nDora,dora@example.org\nNobody,\"no address\"\n"),
		config.Book{Name: "gone", Provider: config.BookCSV, File: filepath.Join(t.TempDir(), "none.csv")},
		directoryBook("gal", config.DirectoryServer{URL: "ldap://127.0.0.1:1", Host: "127.0.0.1", Port: "1"}))
	if err := os.WriteFile(filepath.Join(dir, "broken.vcf"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, s, "look")
	for path, want := range map[string][]string{
		"/books": {`>team</a></td><td data-label="Kind">vcards</td>`, `incomplete`, `data-label="Entries" class="n">3</td>`, `data-label="Groups" class="n">3</td>`, `data-label="Faults" class="n">1</td>`, `href="/books/outlook"`,
			`<span class="state failed">away</span> the file of gone`, `asked when it is needed`},
		"/books?q=lid":                              {`href="/books/team/entry?who=alice">Alice Liddell`, "alice@example.com", "Sales", "can&#39;t be asked now"},
		"/books?q=dora&book=outlook":                {`href="/books/outlook/entry?who=dora%40example.org">Dora`},
		"/books?q=zzz&book=team":                    {"Nobody is found."},
		"/books?q=zzz&book=other":                   {"There is no such book that you may see."},
		"/books?q=" + strings.Repeat("x", 3000):     {"longer than any name"},
		"/books/team":                               {"broken.vcf", "<dd>3</dd>"},
		"/books/gal":                                {`role="alert"`, "gal can&#39;t be asked now"},
		"/books/team/entry?who=alice":               {"<h1>Alice Liddell</h1>", "alice@example.com", "NOTE:kept", `href="/books/team/group?group=Sales"`},
		"/books/outlook/entry?who=dora@example.org": {"<h1>Dora</h1>"},
		"/books/team/group?group=sales":             {"alice@example.com", "bob@example.com", "2 addresses"},
		"/books/team/group?group=All":               {"carol@example.net"},
		"/books/team/entry?who=all":                 {"<dd>group</dd>", `<dt>Members</dt><dd><a href="/books/team/group?group=All">`},
	} {
		code, _, body := b.get(path)
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s: %d, without %q: %s", path, code, text, body)
			}
		}
		if strings.Contains(body, "Change</a>") || strings.Contains(body, "Put into the group") {
			t.Errorf("%s: who may only look is shown what to change", path)
		}
	}
	for path, want := range map[string]int{
		"/books/nobody": 404, "/books/team/entry?who=nobody": 404, "/books/team/entry": 404, "/books/team/group?group=None": 404, "/books/team/group": 404,
		"/books/gal/entry?who=x": 503, "/books/gone/entry?who=x": 503, "/books/team/entry?who=../../etc/passwd": 404,
	} {
		if code, _, _ := b.get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

// The keys of a book say who sees it, whatever their role.
func TestBooksOfOthers(t *testing.T) {
	f, s := newRelay(t)
	withBooks(t, f, config.Book{Name: "board", Provider: config.BookVCards, Dir: t.TempDir(), ConsoleUser: []string{"operate"}},
		config.Book{Name: "machine", Provider: config.BookVCards, Dir: t.TempDir(), UnixUser: []string{"www-data"}})
	for user, want := range map[string][]string{"look": {"team"}, "operate": {"team", "board"}, "define": {"team"}} {
		b := open(t, serverOf(s, f), user)
		_, _, body := b.get("/books?q=")
		for _, name := range []string{"team", "board", "machine"} {
			seen := slices.Contains(want, name)
			if strings.Contains(body, name) != seen {
				t.Errorf("%s: %s is shown: %t", user, name, !seen)
			}
			for _, page := range []string{"", "/entry?who=x", "/group?group=x", "/new"} {
				code, _, text := b.get("/books/" + name + page)
				if hidden := strings.Contains(text, "no such book"); code != http.StatusForbidden && hidden == seen {
					t.Errorf("%s: %s%s: %d %t", user, name, page, code, hidden)
				}
			}
			form := url.Values{"name": {"Eve"}, "addresses": {"eve@example.com"}, "group": {"x"}, "who": {"eve@example.com"}}
			for _, page := range []string{"/save", "/card", "/remove", "/members/add"} {
				if code, _, _ := b.post("/books/"+name+page, form); !seen && code != http.StatusNotFound && code != http.StatusForbidden {
					t.Errorf("%s: POST %s%s: %d", user, name, page, code)
				}
			}
		}
	}
}

var hiddenField = regexp.MustCompile(`name="seen" value="([^"]+)"`)

// seenIn is what a form says of the card that it shows.
func seenIn(t *testing.T, body string) string {
	t.Helper()
	m := hiddenField.FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no form: %s", body)
	}
	return m[1]
}

func TestBookChanges(t *testing.T) {
	f, s := newRelay(t)
	dir := withBooks(t, f, file(t, "outlook", "Name,E-mail\nDora,dora@example.org\n"))
	b := open(t, s, "operate")
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	code, h, body := b.post("/books/team/save", url.Values{"name": {" Eve "}, "addresses": {"eve@example.com\r\neve@example.org\r\n"}, "groups": {"Crew"}, "organisation": {"Ltd"}, "nicknames": {"evi"}})
	if code != http.StatusSeeOther {
		t.Fatalf("%d %s", code, body)
	}
	_, _, body = b.get(h.Get("Location"))
	for _, text := range []string{"<h1>Eve</h1>", "Eve is added.", "eve@example.com<br>eve@example.org", "Ltd", "evi", "Crew"} {
		if !strings.Contains(body, text) {
			t.Errorf("without %q: %s", text, body)
		}
	}
	// What others have put into a card stays.
	_, _, body = b.get("/books/team/change?uid=alice")
	form := url.Values{"uid": {"alice"}, "seen": {seenIn(t, body)}, "name": {"Alice L."}, "addresses": {"liddell@example.com\r\nalice@home.example.com"}, "groups": {"Sales\nCrew"}}
	if code, _, body := b.post("/books/team/save", form); code != http.StatusSeeOther {
		t.Fatalf("%d %s", code, body)
	}
	text := read("alice.vcf")
	for _, line := range []string{"FN:Alice L.\r\n", "EMAIL;TYPE=work:liddell@example.com\r\nEMAIL:alice@home.example.com\r\n", "CATEGORIES:Sales,Crew\r\n", "NOTE:kept\r\n", "X-OTHER;A=b:kept as well\r\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the card is without %q: %s", line, text)
		}
	}
	// The same form again comes too late.
	if code, _, _ := b.post("/books/team/save", form); code != http.StatusConflict {
		t.Errorf("an old form: %d", code)
	}
	_, _, body = b.get("/books/team/change?uid=alice")
	changed := strings.ReplaceAll(text, "NOTE:kept", "NOTE:edited")
	if code, _, body := b.post("/books/team/card", url.Values{"uid": {"alice"}, "seen": {seenIn(t, body)}, "card": {changed}}); code != http.StatusSeeOther {
		t.Fatalf("%d %s", code, body)
	}
	if text := read("alice.vcf"); text != changed {
		t.Errorf("%q", text)
	}
	for op, want := range map[string]string{"add": "CATEGORIES:Sales,Crew,Board", "remove": "CATEGORIES:Sales,Crew\r\n"} {
		if op == "remove" {
			b.post("/books/team/members/add", url.Values{"group": {"Board"}, "who": {"alice"}})
		}
		code, _, body := b.post("/books/team/members/"+op, url.Values{"group": {"Board"}, "who": {"alice"}})
		if code != http.StatusSeeOther || !strings.Contains(read("alice.vcf"), want) {
			t.Errorf("%s: %d %s %s", op, code, body, read("alice.vcf"))
		}
	}
	_, _, body = b.get("/books/team/change?uid=bob")
	if code, h, _ := b.post("/books/team/remove", url.Values{"uid": {"bob"}, "seen": {seenIn(t, body)}}); code != http.StatusSeeOther || h.Get("Location") != "/books?book=team&q=" {
		t.Errorf("%d %v", code, h)
	}
	if _, err := os.Stat(filepath.Join(dir, "bob.vcf")); !os.IsNotExist(err) {
		t.Error("the card is there")
	}
	var done []string
	f.mu.Lock()
	for _, e := range f.events {
		if e, ok := e.(*BookChanged); ok && e.User == "operate" && e.Book == "team" {
			done = append(done, e.What)
		}
	}
	f.mu.Unlock()
	slices.Sort(done)
	if got := strings.Join(done, ", "); got != "added, changed, changed, put into Board, removed, taken out of Board" &&
		got != "added, changed, changed, put into Board, put into Board, removed, taken out of Board" {
		t.Errorf("told: %s", got)
	}
	// What is wrong is told, and changes nothing.
	before, _ := os.ReadDir(dir)
	for name, one := range map[string]struct {
		path string
		form url.Values
		code int
		text string
	}{
		"no name":           {"/books/team/save", url.Values{"addresses": {"a@example.com"}}, 422, "the name is missing"},
		"no address":        {"/books/team/save", url.Values{"name": {"X"}, "addresses": {"nobody"}}, 422, "is not an address"},
		"a line end":        {"/books/team/save", url.Values{"name": {"X\r\nEMAIL:evil@example.com"}}, 422, "cannot be seen"},
		"a control":         {"/books/team/save", url.Values{"name": {"X\x1b[2J"}}, 422, "cannot be seen"},
		"an override":       {"/books/team/save", url.Values{"name": {"X"}, "groups": {"a\u202eb"}}, 422, "cannot be seen"},
		"too many":          {"/books/team/save", url.Values{"name": {"X"}, "groups": {strings.Repeat("g\n", maxListed+1)}}, 422, "more than"},
		"a long line":       {"/books/team/save", url.Values{"name": {strings.Repeat("x", 600)}}, 422, "more than 500 bytes"},
		"too long":          {"/books/team/save", url.Values{"name": {"X"}, "groups": {strings.Repeat("g", maxBody)}}, 413, "too long"},
		"nobody":            {"/books/team/save", url.Values{"uid": {"nobody"}, "name": {"X"}}, 404, "no such card"},
		"no card":           {"/books/team/card", url.Values{"uid": {"all"}, "seen": {"x"}}, 409, "changed by somebody else"},
		"a path":            {"/books/team/remove", url.Values{"uid": {"../../etc/passwd"}}, 404, "no such card"},
		"a file":            {"/books/outlook/save", url.Values{"name": {"X"}}, 409, "cannot be written"},
		"no group":          {"/books/team/members/add", url.Values{"who": {"alice"}}, 422, "no name of a group"},
		"a group with ends": {"/books/team/members/add", url.Values{"group": {"a\nb"}, "who": {"alice"}}, 422, "no name of a group"},
		"a stranger":        {"/books/team/members/add", url.Values{"group": {"Crew"}, "who": {"stranger"}}, 404, "nobody in team"},
		"not in it":         {"/books/team/members/remove", url.Values{"group": {"Crew"}, "who": {"carol@example.net"}}, 404, "is not in the group"},
		"another operation": {"/books/team/members/eat", url.Values{"group": {"Crew"}, "who": {"alice"}}, 404, "no such page"},
	} {
		if code, _, body := b.post(one.path, one.form); code != one.code || !strings.Contains(body, one.text) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if after, _ := os.ReadDir(dir); len(after) != len(before) {
		t.Errorf("%d files, %d before", len(after), len(before))
	}
}

// A book that may not be written says what to do.
func TestBookNotWritable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	f, s := newRelay(t)
	dir := withBooks(t, f)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	b := open(t, s, "operate")
	if code, _, body := b.post("/books/team/save", url.Values{"name": {"Eve"}}); code != http.StatusServiceUnavailable || !strings.Contains(body, "confine_writable") {
		t.Errorf("%d %s", code, body)
	}
}

// Whatever a book holds is text, and little of it.
func TestHostileBook(t *testing.T) {
	f, s := newRelay(t)
	gal := directorytest.New(t)
	gal.Search = func(c *directorytest.Asker, base, filter string) {
		switch {
		case strings.Contains(filter, "huge"):
			c.Person(strings.Repeat("x", 10<<20), "huge@example.com")
		default:
			c.Entry("cn=h,dc=x", map[string][]string{"objectClass": {"inetOrgPerson", hostile}, "cn": {hostile}, "displayName": {hostile}, "mail": {"h@example.com", hostile},
				"o": {hostile}, "uid": {hostile}, "entryUUID": {hostile}})
		}
		c.Done(0)
	}
	gal.Start(t)
	at, err := config.ParseDirectoryServer(gal.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := withBooks(t, f, file(t, "outlook", "Name,E-mail,Company\n\""+strings.ReplaceAll(hostile, `"`, `""`)+"\",x@example.org,\""+strings.ReplaceAll(hostile, `"`, `""`)+"\"\n"), directoryBook("gal", at))
	card(t, dir, "hostile", "UID:"+hostile, "FN:"+hostile, "EMAIL:h@example.com", "EMAIL:"+hostile+"@example.com", "NICKNAME:"+hostile, "ORG:"+hostile, "CATEGORIES:"+hostile, "NOTE:"+hostile)
	card(t, dir, "huge", "UID:huge", "FN:"+strings.Repeat("x", 10<<20), "EMAIL:huge@example.com", "CATEGORIES:"+strings.Repeat("y", 1<<20))
	card(t, dir, "many", "UID:many", "FN:many", "EMAIL:m@example.com"+strings.Repeat("\r\nEMAIL:m@example.com", 5_000), "CATEGORIES:"+strings.Repeat("g,", 5_000))
	card(t, dir, "hg", "UID:hg", "FN:g"+hostile, "KIND:group", "MEMBER:urn:uuid:"+hostile, "MEMBER:mailto:"+hostile, "MEMBER:mailto:z@example.com")
	if err := os.WriteFile(filepath.Join(dir, "x"+strings.ReplaceAll(hostile, "/", "")+".vcf"), []byte(hostile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "passwd.vcf")); err != nil {
		t.Fatal(err)
	}
	x, err := f.books().Folder("team").Index()
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, s, "operate")
	q := url.QueryEscape(hostile)
	paths := []string{"/books", "/books?q=", "/books?q=alert", "/books/gal", "/books?q=huge&book=gal", "/books?q=h&book=gal", "/books/gal/entry?who=h%40example.com", "/books/gal/group?group=h", "/books?q=" + q + "&book=" + q, "/books/team", "/books/outlook", "/books?q=&book=outlook", "/books/" + url.PathEscape(hostile),
		"/books/team/entry?who=" + q, "/books/team/group?group=" + q, "/books/outlook/entry?who=x%40example.org"}
	for _, e := range x.Entries {
		paths = append(paths, entryPath(e), "/books/team/change?"+url.Values{"uid": {e.UID}}.Encode())
		for _, g := range append(slices.Clone(e.Groups), e.Name) {
			paths = append(paths, groupPath("team", g))
		}
	}
	for _, path := range slices.Compact(slices.Sorted(slices.Values(paths))) {
		_, _, body := b.get(path)
		for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "\u202e", "root:"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q: %s", path, bad, body[max(0, strings.Index(body, bad)-200):][:400])
			}
		}
		if len(body) > 400<<10 {
			t.Errorf("%s has %d bytes", path, len(body))
		}
	}
	for _, field := range []string{"name", "addresses", "nicknames", "organisation", "groups", "uid", "seen"} {
		form := url.Values{"name": {"x"}, "addresses": {"wrong"}, field: {hostile}}
		if code, _, body := b.post("/books/team/save", form); code < 400 || bytes.ContainsAny([]byte(body), "\x1b\u202e") || strings.Contains(body, "<script>alert") {
			t.Errorf("%s: %d %s", field, code, body)
		}
	}
	for _, path := range []string{"/books/team/card", "/books/team/remove", "/books/team/members/add"} {
		form := url.Values{"uid": {hostile}, "seen": {hostile}, "card": {hostile}, "group": {hostile}, "who": {hostile}}
		if code, _, body := b.post(path, form); code < 400 || strings.Contains(body, "<script>alert") || strings.Contains(body, "\x1b") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}
