//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/relay/addressbook"
)

// TestBook: the commands on a folder of this user, without a relay.
func TestBook(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n")
	fails := func(code int, text string, args ...string) {
		t.Helper()
		if r := h.do(args...); r.code != code || !strings.Contains(r.stderr, text) {
			t.Errorf("%q: exit %d, want %d with %q\n%s%s", args, r.code, code, text, r.stdout, r.stderr)
		}
	}
	has := func(text string, args ...string) {
		t.Helper()
		if out := h.must(args...); !strings.Contains(out, text) {
			t.Errorf("%q: no %q in\n%s", args, text, out)
		}
	}
	fails(exitNoUser, "nobody was found", "book", "find", "alice")
	uid := strings.TrimSpace(h.must("book", "add", "--name", "Alice Liddell", "--email", "alice@example.com", "--email", "al@example.org", "--group", "Sales", "--nickname", "Ali"))
	has(`"name": "Bob Brown"`, "book", "add", "--name", "Bob Brown", "--email", "bob@example.com", "--json")
	fails(exitUsage, "--name is missing", "book", "add", "--email", "a@example.com")
	fails(exitUsage, "is not an address", "book", "add", "--name", "x", "--email", "a@")
	has("Alice Liddell  alice@example.com (+1)  team  Sales", "book", "find", "lidd")
	has("alice@example.com\tAlice Liddell\tSales\n", "book", "find", "lidd", "--format", "mutt")
	has("FN:Alice Liddell", "book", "show", "Ali")
	has(`"uid": "`+uid, "book", "show", "alice@example.com", "--json")
	has("2 added", "book", "group", "add", "Sales", "Bob Brown", "Alice Liddell", "x@example.net")
	has("Sales  3", "book", "group", "list")
	has(`"addresses": 3`, "book", "group", "list", "--json")
	has("x@example.net", "book", "group", "show", "Sales")
	has("1 removed", "book", "group", "remove", "Sales", "x@example.net")
	fails(exitNoUser, "is not in the group", "book", "group", "remove", "Sales", "x@example.net")
	has("bob@example.com    Bob Brown      Sales", "book", "expand", "group:Sales")
	fails(exitNoUser, `did you mean "Sales"?`, "book", "expand", "group:Sals")
	fails(exitData, "there is no book", "book", "test", "none")

	h.edit(t, "sed -i s/Liddell/Pleasance/", exitOK, "Alice Pleasance saved")
	h.edit(t, "sed -i s/BEGIN/BEGUN/", exitData, "what was edited is in")
	h.edit(t, "false", exitData, "the card was not changed")

	dir := stepFiles(t, map[string]string{"o.csv": "Vorname;Nachname;E-Mail-Adresse\nJ\xf6rg;Gro\xdf;joerg@example.de\n", "bad": "nothing"})
	has("line 2: new: Jörg Groß <joerg@example.de>\n1 new, 0 changed, 0 the same, 0 faults; nothing was written", "book", "import", "--dry-run", filepath.Join(dir, "o.csv"))
	has("1 new, 0 changed", "book", "import", filepath.Join(dir, "o.csv"))
	has(`"state": "same"`, "book", "import", "--json", filepath.Join(dir, "o.csv"))
	fails(exitData, "no column is known to hold addresses", "book", "import", filepath.Join(dir, "bad"))
	fails(exitNoInput, "no such file", "book", "import", filepath.Join(dir, "gone"))
	has("FN:Jörg Groß", "book", "export")
	has("alias bob@example.com Bob Brown <bob@example.com>", "book", "export", "--format", "mutt")
	has("Jörg Groß removed", "book", "remove", "joerg@example.de")
	fails(exitNoUser, "there is no card of", "book", "remove", "joerg@example.de")
	if err := os.WriteFile(filepath.Join(h.dir, "book", "bad.vcf"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	has("team  vcards    3        1       1", "book", "test")
	has(`"text": "line 1: is not NAME:VALUE"`, "book", "test", "--json")

	send := func(to ...string) []string {
		return append([]string{"send", "--from", "me@example.com", "--subject", "s", "--body", "b", "--dry-run"}, to...)
	}
	has("To: Alice Pleasance <alice@example.com>\nCc: ", send("--to", "Ali", "--cc", "group:sales", "--bcc", "book:team/Bob")...)
	for _, who := range []string{"Alice Pleasance <alice@example.com>", "Bob Brown <bob@example.com>"} { // in the order of their UIDs
		has(who, send("--to", "me@example.com", "--cc", "group:sales")...)
	}
	has("Bcc: Bob Brown <bob@example.com>", send("--to", "Ali", "--bcc", "book:team/Bob")...)
	fails(exitNoUser, "nobody of that name in team", send("--to", "Carol")...)
	h.write(strings.ReplaceAll(capturing, "ADDR", "127.0.0.1:1") + "[book.x]\nprovider = \"csv\"\nfile = \"DIR/gone.csv\"\n")
	fails(exitTempFail, "the file of x cannot be read", send("--to", "Carol")...)
	fails(exitTempFail, "the file of x cannot be read", "book", "test")
	h.write(strings.ReplaceAll(capturing, "ADDR", "127.0.0.1:1") + "[book.x]\nprovider = \"csvv\"\n")
	fails(exitConfig, `"csvv" is not known`, "book", "find", "x")
}

// TestImportVerdict: an import ends with 0 where all of a file is in the book, and
// a dry run as the import would.
func TestImportVerdict(t *testing.T) {
	const card = "BEGIN:VCARD\nVERSION:4.0\nFN:Alice\nEMAIL:alice@example.com\nEND:VCARD\n"
	for name, c := range map[string]struct {
		text, format string
		code         int
		want         string // of the end of what is said
		dry          string // of a dry run, where that is another
		cards        int
	}{
		"good.vcf":        {card, "auto", exitOK, "1 new, 0 changed, 0 the same, 0 faults", "", 1},
		"part.vcf":        {card + "BEGIN:VCARD\nVERSION:9\nEND:VCARD\n", "auto", exitData, "1 of FILE were not taken in, for the faults above; the others are in the book", "1 of FILE cannot be taken in, for the faults above", 1},
		"nameless.vcf":    {card + "BEGIN:VCARD\nVERSION:4.0\nTEL:1\nEND:VCARD\n", "auto", exitData, "1 of FILE were not taken in", "1 of FILE cannot be taken in", 1},
		"bad.vcf":         {"BEGIN:VCARD\nVERSION:9\nEND:VCARD\n", "auto", exitData, "nothing of FILE can be taken in", "", 0},
		"text.vcf":        {"this is\nnothing\n", "vcard", exitData, "nothing of FILE can be taken in", "", 0},
		"address.vcf":     {card + "BEGIN:VCARD\nVERSION:4.0\nFN:Bob\nEMAIL:bob@\nEND:VCARD\n", "auto", exitOK, "2 new, 0 changed, 0 the same, 1 fault", "", 2},
		"empty.vcf":       {"", "vcard", exitOK, "0 new, 0 changed, 0 the same, 0 faults", "", 0},
		"good.csv":        {"Name,Mail\nAlice,alice@example.com\n,\n", "auto", exitOK, "1 new", "", 1},
		"part.csv":        {"Name,Mail\nAlice,alice@example.com\n,/o=ACME/cn=bob\n", "auto", exitData, "1 of FILE were not taken in", "1 of FILE cannot be taken in", 1},
		"bad.csv":         {"Name,Mail\n,bob@\n,carol@\n", "auto", exitData, "nothing of FILE can be taken in", "", 0},
		"no columns.csv":  {"a,b\n1,2\n", "auto", exitData, "no column is known to hold addresses", "", 0},
		"headings.csv":    {"Name,Mail\n", "auto", exitOK, "0 new", "", 0},
		"unused.csv":      {"Name,Mail,Phone,Notes\nAlice,alice@example.com,+49 1,x\n", "auto", exitOK, "not taken: Phone, Notes", "", 1},
		"member.vcf":      {card + "BEGIN:VCARD\nVERSION:4.0\nKIND:group\nFN:Team\nMEMBER:urn:uuid:none\nEND:VCARD\n", "auto", exitOK, "line 6: member urn:uuid:none is no card of the file or the book", "", 2},
		"change.ldif":     {"dn: cn=Alice\nchangetype: delete\n", "auto", exitData, "is a change of an entry, \"delete\", and not an entry", "", 0},
		"good.ldif":       {"dn: o=x\nobjectclass: top\n\ndn: cn=Alice\ncn: Alice\nmail: alice@example.com\n", "auto", exitOK, "1 new", "", 1},
		"part.ldif":       {"dn: cn=Alice\ncn: Alice\n\ndn: cn=Bob\nmail: bob@\n", "auto", exitData, "1 of FILE were not taken in", "1 of FILE cannot be taken in", 1},
		"unreadable.ldif": {"dn: cn=Bob\nmail:< file:///etc/passwd\n", "auto", exitData, "nothing of FILE can be taken in", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n")
			file := filepath.Join(stepFiles(t, map[string]string{name: c.text}), name)
			for _, run := range []struct {
				want  string
				cards int
				args  []string
			}{{cmp.Or(c.dry, c.want), 0, []string{"--dry-run"}}, {c.want, c.cards, nil}, {"", c.cards, []string{"--json"}}} {
				r := h.do(append([]string{"book", "import", "--format", c.format, file}, run.args...)...)
				if want := strings.ReplaceAll(run.want, "FILE", file); r.code != c.code || !strings.Contains(r.stdout+r.stderr, want) {
					t.Errorf("%q: exit %d\n%s%s, want %d with %s", run.args, r.code, r.stdout, r.stderr, c.code, want)
				}
				if cards, _ := filepath.Glob(filepath.Join(h.dir, "book", "*.vcf")); len(cards) != run.cards {
					t.Errorf("%q: %d cards are in the book, want %d", run.args, len(cards), run.cards)
				}
			}
		})
	}
}

// edit runs `book edit` with an editor.
func (h *harness) edit(t *testing.T, editor string, code int, text string) {
	t.Helper()
	t.Setenv("VISUAL", editor)
	t.Setenv("TMPDIR", h.dir)
	if r := h.do("book", "edit", "Ali"); r.code != code || !strings.Contains(r.stdout+r.stderr, text) {
		t.Errorf("%s: exit %d, want %d with %q\n%s%s", editor, r.code, code, text, r.stdout, r.stderr)
	}
}

// TestBookThroughTheRelay: who may not read the folder asks the relay, for the
// books that it may ask; mail to a group arrives at each of its addresses.
func TestBookThroughTheRelay(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", freeAddr(t), 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n[book.secret]\nprovider = \"csv\"\nfile = \"DIR/s.csv\"\nunix_user = [\"nobody-of-here\"]\n")
	if err := os.WriteFile(filepath.Join(h.dir, "s.csv"), []byte("Name,Mail\nSecret Agent,s@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("book", "add", "--name", "Alice", "--email", "alice@example.org", "--group", "Sales")
	h.must("book", "group", "add", "Ops", "alice@example.org", "b@example.org")
	h.start()
	if r := h.do("book", "find", "agent"); r.code != exitNoUser {
		t.Errorf("the secret book has answered:\n%s", r.stdout)
	}
	h.must("send", "--from", "me@example.com", "--to", "group:Ops", "--subject", "s", "--body", "b")
	mail := strings.Join(h.captured(1), "")
	for _, want := range []string{"Delivered-To: alice@example.org", "Delivered-To: b@example.org", "To: Alice <alice@example.org>, b@example.org"} {
		if !strings.Contains(strings.ReplaceAll(mail, "\r\n ", " "), want) {
			t.Errorf("no %q in\n%s", want, mail)
		}
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(h.dir, "submit.sock"))
	}}}
	defer client.CloseIdleConnections()
	ask := func(status int, path, body string, into any) {
		t.Helper()
		var r *http.Response
		var err error
		if body == "" {
			r, err = client.Get("http://postern" + path)
		} else {
			r, err = client.Post("http://postern"+path, "application/json", strings.NewReader(body))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(into); err != nil || r.StatusCode != status {
			t.Errorf("%s %s: %d %v, want %d: %+v", path, body, r.StatusCode, err, status, into)
		}
	}
	var found addressbook.Found
	if ask(200, "/v1/book?q=ali", "", &found); len(found.Entries) != 1 || found.Entries[0].Name != "Alice" {
		t.Errorf("found %+v", found)
	}
	var x addressbook.Expansion
	if ask(200, "/v1/book/expand", `{"name":"group:Ops"}`, &x); len(x.Members) != 2 {
		t.Errorf("expanded %+v", x)
	}
	var said struct{ Name, Message, Hint string }
	if ask(404, "/v1/book/resolve", `{"name":"group:Opp"}`, &said); said.Name != "unknown_name" || said.Hint != `did you mean "Ops"?` {
		t.Errorf("said %+v", said)
	}
	ask(422, "/v1/book?limit=0", "", &said)
	ask(404, "/v1/book?book=secret", "", &said)
	if ask(422, "/emails", `{"from":"me@example.com","to":["group:Ops"],"bcc":["book:Nobody"],"subject":"s","text":"t"}`, &said); !strings.Contains(said.Message, "bcc: book:Nobody: nobody of that name in team") {
		t.Errorf("said %+v", said)
	}
	ask(200, "/emails", `{"from":"me@example.com","to":["group:Ops, c@example.org"],"cc":["book:Alice"],"subject":"s","text":"t"}`, &said)
	h.captured(2)
	h.stop()
}

// show finds whoever is in a book that can't be written, as it finds cards.
func TestBookShowElsewhere(t *testing.T) {
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n[book.sheet]\nprovider = \"csv\"\nfile = \"DIR/sheet.csv\"\n")
	if err := os.WriteFile(filepath.Join(h.dir, "sheet.csv"), []byte("name,email,organisation\nCarol White,carol@example.net,Acme\nCarol White,other@example.net,\nDave,dave@example.net,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("book", "add", "--name", "Dave", "--email", "dave@example.com")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"carol@example.net"}, 0, "book          sheet\nname          Carol White\naddress       carol@example.net\norganisation  Acme\n"},
		{[]string{"dave"}, 0, "EMAIL:dave@example.com"}, {[]string{"dave", "--book", "sheet"}, 0, "address       dave@example.net\n"},
		{[]string{"dave@example.net", "--json"}, 0, `"book": "sheet"`}, {[]string{"Carol White"}, exitNoUser, `"Carol White" may be Carol White <carol@example.net> (sheet) or Carol White <other@example.net> (sheet)`},
		{[]string{"Caro"}, exitNoUser, `nobody has the UID, the address or the name "Caro"`}, {[]string{"dave", "--book", "none"}, exitNoUser, "there is no address book"},
	} {
		r := h.do(append([]string{"book", "show"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.want) {
			t.Errorf("%q: exit %d\n%s%s, want %d with\n%s", c.args, r.code, r.stdout, r.stderr, c.code, c.want)
		}
	}
}

// A CardDAV server that takes tokens alone: who has not logged in is told how, and
// with a token of its provider the way to the cards is walked.
func TestBookLogin(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		switch {
		case r.URL.Path == "/.well-known/openid-configuration":
			io.WriteString(w, `{"issuer":"http://`+r.Host+`","token_endpoint":"http://`+r.Host+`/token","authorization_endpoint":"http://`+r.Host+`/auth"}`)
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"good-token","token_type":"Bearer","expires_in":3600}`)
		case r.Header.Get("Authorization") != "Bearer good-token":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusMultiStatus)
			text := `<response><href>/b/</href><propstat><prop><resourcetype><c:addressbook/></resourcetype><displayname>People</displayname></prop><status>HTTP/1.1 200 OK</status></propstat></response>`
			if r.Method == "REPORT" {
				text = "<response><href>/b/a.vcf</href><propstat><prop><c:address-data>BEGIN:VCARD\nVERSION:3.0\nFN:Alice\nEMAIL:alice@example.com\nEND:VCARD\n</c:address-data></prop><status>HTTP/1.1 200 OK</status></propstat></response>"
			} else if r.Header.Get("Depth") == "1" {
				text += `<response><href>/b/a.vcf</href><propstat><prop><getetag>"1"</getetag></prop><status>HTTP/1.1 200 OK</status></propstat></response>`
			}
			io.WriteString(w, `<multistatus xmlns="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">`+text+`</multistatus>`)
		}
	}))
	defer s.Close()
	book := "[book.crm]\nprovider = \"carddav\"\nurl = \"" + s.URL + "/b/\"\n[book.crm.oauth]\nprovider = \"generic\"\nissuer = \"" + s.URL + "\"\nscopes = [\"cards\"]\nclient_id = \"me\"\nflow = "
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+book+"\"code\"\n")
	if r := h.do("book", "test", "crm"); r.code != exitTempFail || !strings.Contains(r.stdout+r.stderr, "run `postern book login crm`") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	h = newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+book+"\"client_credentials\"\nclient_secret = \"s3cret\"\n")
	if out := h.must("book", "login", "crm"); !strings.Contains(out, "There is a token: it is good until ") {
		t.Error(out)
	}
	if out := h.must("book", "test", "crm"); !strings.Contains(out, "crm   carddav   1        0       0") || !strings.Contains(out, "1 cards in People") || !strings.Contains(out, "all that is there") {
		t.Errorf("%s\n%q", out, asked)
	}
	if out := h.must("book", "show", "alice@example.com"); !strings.Contains(out, "name          Alice\n") {
		t.Error(out)
	}
	if r := h.do("book", "login", "none"); r.code != exitData {
		t.Error(r)
	}
}

// Microsoft 365 as a book: a name that it alone knows is found, tested and written
// to, with a token of its provider.
func TestBookOfMicrosoft365(t *testing.T) {
	user := `{"id":"1","displayName":"Alice Liddell","mail":"alice@corp.example","proxyAddresses":["SMTP:alice@corp.example"],"companyName":null,"showInAddressList":null}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path == "/.well-known/openid-configuration":
			io.WriteString(w, `{"issuer":"http://`+r.Host+`","token_endpoint":"http://`+r.Host+`/token"}`)
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"good-token","token_type":"Bearer","expires_in":3600}`)
		case r.Header.Get("Authorization") != "Bearer good-token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/v1.0/users" && (strings.Contains(q.Get("$search"), "ali") || strings.Contains(strings.ToLower(q.Get("$filter")), "'alice liddell'") || q.Get("$filter") == "mail ne null"):
			io.WriteString(w, `{"@odata.count":1,"value":[`+user+`]}`)
		case r.URL.Path == "/v1.0/users":
			io.WriteString(w, `{"@odata.count":0,"value":[]}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation."}}`)
		}
	}))
	defer s.Close()
	book := func(what string) string {
		return "[book.m365]\nprovider = \"graph\"\nurl = \"" + s.URL + "/v1.0\"\nwhat = [" + what + "]\n[book.m365.oauth]\nprovider = \"generic\"\nissuer = \"" + s.URL +
			"\"\nscopes = [\"graph\"]\nclient_id = \"relay\"\nflow = \"client_credentials\"\nclient_secret = \"s3cret\"\n"
	}
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+book(`"users"`))
	if out := h.must("book", "test", "m365"); !strings.Contains(out, "m365  graph     1        0       0") || !strings.Contains(out, "/v1.0/users") {
		t.Error(out)
	}
	if out := h.must("book", "find", "ali"); !strings.Contains(out, "Alice Liddell  alice@corp.example  m365") {
		t.Error(out)
	}
	if out := h.must("send", "--from", "app@example.com", "--to", "Alice Liddell", "--subject", "Hello", "--body", "x", "--dry-run"); !strings.Contains(out, "To: Alice Liddell <alice@corp.example>") {
		t.Error(out)
	}
	if r := h.do("send", "--from", "app@example.com", "--to", "Nobody Else", "--subject", "Hello", "--body", "x", "--dry-run"); r.code != exitNoUser {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	h = newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+book(`"users", "groups"`))
	if r := h.do("book", "test", "m365"); r.code != exitTempFail || !strings.Contains(r.stderr, "GroupMember.Read.All") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := h.do("send", "--from", "app@example.com", "--to", "Nobody Else", "--subject", "Hello", "--body", "x", "--dry-run"); r.code != exitTempFail {
		t.Errorf("a name that could not be looked for: exit %d\n%s", r.code, r.stderr)
	}
}
