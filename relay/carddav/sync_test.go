package carddav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/relay/webclient"
)

// fixture is a server with one address book, as Nextcloud has it: well-known leads
// to DAV, that to the principal, and that to a home.
type fixture struct {
	t *testing.T
	*httptest.Server

	mu     sync.Mutex
	cards  map[string]string // by the name of their file
	etags  map[string]int
	gone   map[string]int // when
	now    int
	noSync bool // no sync-collection, but ctag and etags
	old    int  // tokens up to this one are too old
	page   int  // changes of one answer; 0: all
	asked  []string
	// instead answers in place of the server; false: it does not.
	instead func(w http.ResponseWriter, r *http.Request, body string) bool
}

const home = "/dav/books/me/"

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, cards: map[string]string{}, etags: map[string]int{}, gone: map[string]int{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fixture) book() *config.Book {
	return &config.Book{Name: "crm", Provider: config.BookCardDAV, URL: f.URL, Refresh: time.Minute, Directory: config.Directory{
		Timeout: 5 * time.Second, Account: config.Account{Username: "me", Password: config.NewSecret("s3cret")},
	}}
}

func (f *fixture) put(name, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	f.cards[name], f.etags[name] = text, f.now
	delete(f.gone, name)
}

func (f *fixture) remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	delete(f.cards, name)
	delete(f.etags, name)
	f.gone[name] = f.now
}

func (f *fixture) serve(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	body := string(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := r.Method
	if i := strings.IndexAny(body, "<"); r.Method == "REPORT" && i >= 0 {
		kind = strings.Fields(strings.SplitN(body, "?>", 2)[1])[0][3:]
	}
	f.asked = append(f.asked, kind+" "+r.URL.Path)
	if f.instead != nil && f.instead(w, r, body) {
		return
	}
	if user, password, _ := r.BasicAuth(); user != "me" || password != "s3cret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case r.URL.Path == "/.well-known/carddav":
		http.Redirect(w, r, "/dav/", http.StatusMovedPermanently)
	case r.URL.Path == "/dav/":
		multi(w, `<d:response><d:href>/dav/</d:href>`+ok(`<d:current-user-principal><d:href>/dav/principals/me/</d:href></d:current-user-principal>`)+`</d:response>`)
	case r.URL.Path == "/dav/principals/me/":
		multi(w, `<d:response><d:href>/dav/principals/me/</d:href>`+ok(`<c:addressbook-home-set><d:href>`+home+`</d:href></c:addressbook-home-set>`)+`</d:response>`)
	case r.URL.Path == home:
		book := func(name string) string {
			return `<d:response><d:href>` + home + name + `/</d:href>` + ok(`<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype><d:displayname>`+name+`</d:displayname>`) + `</d:response>`
		}
		out := `<d:response><d:href>` + home + `</d:href>` + ok(`<d:resourcetype><d:collection/></d:resourcetype>`) + `</d:response>`
		if r.Header.Get("Depth") == "1" {
			out += book("contacts") + book("z-app-generated--contactsinteraction--recent")
		}
		multi(w, out)
	case r.URL.Path == home+"contacts/":
		f.contacts(w, r, kind, body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// contacts answers for the address book.
func (f *fixture) contacts(w http.ResponseWriter, r *http.Request, kind, body string) {
	self := home + "contacts/"
	switch {
	case kind == "PROPFIND" && r.Header.Get("Depth") == "0":
		props := fmt.Sprintf(`<d:resourcetype><c:addressbook/></d:resourcetype><s:getctag>c%d</s:getctag>`, f.now)
		if !f.noSync {
			props += fmt.Sprintf(`<d:sync-token>t:%d</d:sync-token>`, f.now)
		}
		multi(w, `<d:response><d:href>`+self+`</d:href>`+ok(props)+`</d:response>`)
	case kind == "PROPFIND":
		out := `<d:response><d:href>` + self + `</d:href>` + ok("") + `</d:response>`
		for _, name := range slices.Sorted(maps.Keys(f.cards)) {
			out += f.etag(name)
		}
		multi(w, out)
	case kind == "sync-collection" && f.noSync:
		w.WriteHeader(http.StatusNotImplemented)
	case kind == "sync-collection":
		f.changes(w, body)
	case kind == "addressbook-multiget":
		out := ""
		for name, text := range f.cards {
			if strings.Contains(body, "<d:href>"+self+name+"</d:href>") {
				out += `<d:response><d:href>` + self + name + `</d:href>` + ok(`<c:address-data><![CDATA[`+text+`]]></c:address-data>`) + `</d:response>`
			}
		}
		multi(w, out)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (f *fixture) etag(name string) string {
	return `<d:response><d:href>` + home + "contacts/" + name + `</d:href>` + ok(fmt.Sprintf(`<d:getetag>"%d"</d:getetag>`, f.etags[name])) + `</d:response>`
}

func (f *fixture) changes(w http.ResponseWriter, body string) {
	token := 0
	if _, rest, found := strings.Cut(body, "<d:sync-token>t:"); found {
		fmt.Sscan(strings.ReplaceAll(rest, "<", " "), &token)
		if token <= f.old {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `<d:error xmlns:d="DAV:"><d:valid-sync-token/></d:error>`)
			return
		}
	}
	type change struct {
		name string
		at   int
	}
	var list []change
	for name, at := range f.etags {
		list = append(list, change{name, at})
	}
	for name, at := range f.gone {
		list = append(list, change{name, at})
	}
	slices.SortFunc(list, func(a, b change) int { return a.at - b.at })
	out, n, last := "", 0, f.now
	for _, c := range list {
		if c.at <= token {
			continue
		}
		if n++; f.page > 0 && n > f.page {
			out += `<d:response><d:href>` + home + `contacts/</d:href><d:status>HTTP/1.1 507 Insufficient Storage</d:status></d:response>`
			break
		}
		last = c.at
		if _, is := f.cards[c.name]; is {
			out += f.etag(c.name)
		} else {
			out += `<d:response><d:href>` + home + "contacts/" + c.name + `</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>`
		}
	}
	if f.page == 0 || n <= f.page {
		last = f.now
	}
	multi(w, out+fmt.Sprintf("<d:sync-token>t:%d</d:sync-token>", last))
}

func ok(props string) string {
	return `<d:propstat><d:prop>` + props + `</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>` +
		`<d:propstat><d:prop><d:owner/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>`
}

func multi(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusMultiStatus)
	io.WriteString(w, `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:s="http://calendarserver.org/ns/">`+body+`</d:multistatus>`)
}

// heard is what a client has of the cards.
type heard struct {
	cards  map[string]string
	faults map[string]string
	known  []Collection
	tokens webclient.Tokens
}

func (h *heard) sync(t *testing.T, b *config.Book) error {
	t.Helper()
	c, err := New(b, h.tokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.most = 1 << 20
	cards, faults := maps.Clone(h.cards), map[string]string{}
	if cards == nil {
		cards = map[string]string{}
	}
	known, err := c.Sync(t.Context(), h.known, func(c Change) {
		name := c.Path[strings.LastIndexByte(c.Path, '/')+1:]
		if delete(cards, name); c.Fault != "" {
			faults[name] = c.Fault
		} else if c.Text != "" {
			cards[name] = c.Text
		}
	})
	if err == nil {
		h.known, h.cards, h.faults = known, cards, faults
	}
	return err
}

// What changes on a server is heard, and nothing else is asked for: with
// sync-collection in pages or not, with tokens that are too old, by ctag and
// etags.
func TestSync(t *testing.T) {
	for name, set := range map[string]func(*fixture){
		"all at once": func(*fixture) {}, "in pages": func(f *fixture) { f.page = 2 }, "by etags": func(f *fixture) { f.noSync = true },
		"forgetful": func(f *fixture) { f.old = 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			f, h := newFixture(t), &heard{}
			set(f)
			check := func(requests int) {
				t.Helper()
				f.asked = nil
				if err := h.sync(t, f.book()); err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(h.cards, f.cards) || len(h.faults) > 0 {
					t.Errorf("%d cards, want %d; %v", len(h.cards), len(f.cards), h.faults)
				}
				if requests > 0 && len(f.asked) != requests {
					t.Errorf("asked %q, want %d", f.asked, requests)
				}
			}
			for i := range 250 {
				f.put(fmt.Sprintf("c%d.vcf", i), fmt.Sprintf("card <%d> & more", i))
			}
			check(0)
			check(1) // nothing has changed
			f.put("c7.vcf", "another")
			f.put("new.vcf", "new")
			f.remove("c8.vcf")
			check(0)
			if n := strings.Count(strings.Join(f.asked, "\n"), "multiget"); n != 1 {
				t.Errorf("asked %q", f.asked)
			}
			check(1)
			if len(h.known) != 1 || h.known[0].Name != "contacts" {
				t.Errorf("%+v", h.known)
			}
		})
	}
}

// A URL may be the server, DAV, a principal, a home or an address book.
func TestDiscover(t *testing.T) {
	f := newFixture(t)
	f.put("a.vcf", "a")
	for _, path := range []string{"", "/", "/dav/", "/dav/principals/me/", home, home + "contacts/"} {
		b, h := f.book(), &heard{}
		b.URL += path
		if err := h.sync(t, b); err != nil || len(h.cards) != 1 {
			t.Errorf("%s: %d cards, %v", path, len(h.cards), err)
		}
	}
	b := f.book()
	b.URL += "/elsewhere/"
	err := (&heard{}).sync(t, b)
	if err == nil || !strings.Contains(err.Error(), "/elsewhere/ answers 404 Not Found") || Hint(err) == "" {
		t.Errorf("%v / %s", err, Hint(err))
	}
	b = f.book()
	b.Directory.Account.Password = config.NewSecret("wrong")
	if err := (&heard{}).sync(t, b); err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || !strings.Contains(Hint(err), "password for apps") {
		t.Error(err)
	}
}

// The sign-in goes to the site of the configuration alone.
func TestTrusts(t *testing.T) {
	for _, c := range []struct {
		home, to string
		want     bool
	}{
		{"https://contacts.icloud.com", "https://p57-contacts.icloud.com:443/x", true}, {"https://a.example.com", "https://example.com/", true},
		{"https://a.example.com:8443", "https://a.example.com:8443/", true}, {"https://cloud.example.com", "https://CLOUD.example.com/x", true},
		{"https://a.example.com", "http://a.example.com/", false}, {"https://a.example.com", "https://a.example.net/", false},
		{"https://a.co.uk", "https://b.co.uk/", false}, {"https://me.github.io", "https://you.github.io/", false},
		{"https://a.example.com", "https://a.example.com.evil.example/", false}, {"https://a.example.com", "https://x@a.example.com/", false},
		{"https://192.0.2.1", "https://192.0.2.2/", false}, {"https://192.0.2.1", "https://192.0.2.1/x", true}, {"https://localhost", "https://other/", false},
		{"http://127.0.0.1:5232", "http://127.0.0.1:5232/x", true}, {"http://127.0.0.1:5232", "http://127.0.0.1:5233/x", false},
		{"http://127.0.0.1:5232", "https://127.0.0.1/", false}, {"https://a.example.com", "file:///etc/passwd", false}, {"https://a.example.com", "//evil.example/", false},
	} {
		client, err := New(&config.Book{URL: c.home}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		to, err := client.home.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if got := client.trusts(to) == nil; got != c.want {
			t.Errorf("%s to %s: %t", c.home, c.to, got)
		}
	}
}

// tokens gives one that the server doesn't take any more, and then others.
type tokens struct{ refused []string }

func (o *tokens) Token(_ context.Context, a *config.Account, refused string) (string, error) {
	if a.Name != "book:crm" {
		return "", errors.New("another account")
	}
	if o.refused = append(o.refused, refused); refused == "old" {
		return "new", nil
	}
	return "old", nil
}

// With OAuth the server gets a token, as Google's wants it: once more where the
// first has ended, and no password.
func TestBearer(t *testing.T) {
	f, o := newFixture(t), &tokens{}
	f.put("a.vcf", "a")
	taken := "new"
	f.instead = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.Header.Get("Authorization") == "Bearer "+taken {
			r.SetBasicAuth("me", "s3cret")
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	b, h := f.book(), &heard{tokens: o}
	b.Directory.Account = config.Account{Name: "book:crm", Username: "me", OAuth: &config.OAuth{}}
	if err := h.sync(t, b); err != nil || len(h.cards) != 1 || !slices.Contains(o.refused, "old") {
		t.Errorf("%v, %d cards, %q", err, len(h.cards), o.refused)
	}
	taken = "none"
	o.refused = nil
	var refused *Refused
	if err := (&heard{tokens: o}).sync(t, b); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || len(o.refused) != 2 {
		t.Errorf("%v, asked for tokens %q", err, o.refused)
	}
	if err := (&heard{}).sync(t, b); err == nil || !strings.Contains(err.Error(), "nobody here who gets its tokens") {
		t.Error(err)
	}
}
