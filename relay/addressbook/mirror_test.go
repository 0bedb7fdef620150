package addressbook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/config"
)

// radicale starts a real CardDAV server with one address book of some cards, and
// gives the URL of it and the folder in which the cards are.
func radicale(t testing.TB, cards int) (at, folder string) {
	t.Helper()
	program, err := exec.LookPath("radicale")
	if err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal("radicale is not installed")
		}
		t.Skip("radicale is not installed here")
	}
	dir := t.TempDir()
	folder = filepath.Join(dir, "collections", "collection-root", "me", "contacts")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(folder, ".Radicale.props"), `{"tag": "VADDRESSBOOK", "D:displayname": "Contacts"}`)
	for i := range cards {
		write(filepath.Join(folder, fmt.Sprintf("p%d.vcf", i)), person(fmt.Sprintf("p%d", i), fmt.Sprintf("Person %d", i), "CATEGORIES:Sales\n"))
	}
	write(filepath.Join(folder, "team.vcf"), vcard("3.0", "UID:team\nFN:Team\nN:Team;;;;\nX-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:p1\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:p0\n"))
	users := filepath.Join(dir, "users")
	write(users, "me:s3cret\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	conf := filepath.Join(dir, "config")
	write(conf, "[server]\nhosts = "+address+"\n[auth]\ntype = htpasswd\nhtpasswd_filename = "+users+"\nhtpasswd_encryption = plain\ndelay = 0\n[storage]\nfilesystem_folder = "+
		filepath.Join(dir, "collections")+"\n[rights]\ntype = owner_only\n[web]\ntype = none\n")
	var log bytes.Buffer
	cmd := exec.Command(program, "--config", conf)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address, folder
		} else if time.Now().After(deadline) {
			t.Fatal(err, log.String())
		}
	}
}

// through is a way to a server that can be cut, and that counts requests.
func through(t testing.TB, at string) (url_ string, away *atomic.Bool, requests *atomic.Int32) {
	to, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	away, requests = &atomic.Bool{}, &atomic.Int32{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s.URL, away, requests
}

func cardDAV(t testing.TB, at string) config.Book {
	return config.Book{Name: "crm", Provider: config.BookCardDAV, URL: at, Refresh: time.Hour, Keep: filepath.Join(t.TempDir(), "carddav"), Directory: config.Directory{
		Timeout: 30 * time.Second, Account: config.Account{Username: "me", Password: config.NewSecret("s3cret")},
	}}
}

// due has a book ask its server when it is asked the next time.
func due(b *Books) *mirror {
	m := b.list[0].asker.(*mirror)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = time.Time{}
	return m
}

// A book on a real server: found from the URL of the server, kept up to date,
// and kept on disk for when the server is away.
func TestRadicale(t *testing.T) {
	at, folder := radicale(t, 300)
	at, away, requests := through(t, at)
	set := cardDAV(t, at)
	b := New([]config.Book{set})
	has := func(b *Books, name, want string) {
		t.Helper()
		var got []string
		list, err := b.Resolve(t.Context(), name, 1000)
		for _, a := range list {
			got = append(got, a.Addr)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s is %s, want %s (%v)", name, text, want, err)
		}
	}
	began := time.Now()
	has(b, "Person 7", "p7@example.com")
	t.Logf("300 cards: %v, %d requests", time.Since(began), requests.Load())
	has(b, "group:Team", "p0@example.com p1@example.com")
	if x, err := b.Expand(t.Context(), "group:Sales", 1000); err != nil || len(x.Members) != 300 {
		t.Error(x, err)
	}
	due(b)
	requests.Store(0)
	began = time.Now()
	has(b, "Person 8", "p8@example.com")
	t.Logf("unchanged: %v, %d requests", time.Since(began), requests.Load())
	if requests.Load() != 1 {
		t.Errorf("%d requests where nothing has changed", requests.Load())
	}
	for name, text := range map[string]string{"new.vcf": person("new", "New One", ""), "p7.vcf": person("p7", "Other Name", "")} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(folder, "p8.vcf")); err != nil {
		t.Fatal(err)
	}
	due(b)
	has(b, "New One", "new@example.com")
	has(b, "Other Name", "p7@example.com")
	has(b, "Person 8", "")
	began = time.Now()
	checked := b.Check(t.Context())
	t.Logf("all of them again: %v", time.Since(began))
	if c := checked[0]; c.Error != "" || c.Entries != 301 || c.Groups != 2 || len(c.Steps) < 5 || len(c.Collections) != 1 || c.Collections[0].Cards != 301 || c.Collections[0].Name != "Contacts" {
		t.Errorf("checked %+v", c)
	}
	away.Store(true)
	again := New([]config.Book{set}) // another process, or one that was started again
	has(again, "New One", "new@example.com")
	due(again)
	has(again, "New One", "new@example.com")
	if found := again.Find(t.Context(), "New", 10); len(found.Entries) != 1 || len(found.Away) > 0 || len(found.Faults) == 0 ||
		!strings.Contains(found.Faults[len(found.Faults)-1].Text, "can't be asked now: this is what it said ") {
		t.Errorf("found %+v", found)
	}
	if x, err := again.Expand(t.Context(), "group:Team", 10); err != nil || x.Age == "" {
		t.Error(x, err)
	}
	if c := again.Check(t.Context())[0]; c.Error == "" || c.Entries != 301 {
		t.Errorf("checked %+v", c)
	}
	set.Keep = t.TempDir()
	if _, err := New([]config.Book{set}).Resolve(t.Context(), "New One", 10); err == nil || !strings.Contains(err.Error(), "the book crm can't be asked now") {
		t.Error(err)
	}
	away.Store(false)
	set.Directory.Account.Password = config.NewSecret("wrong")
	if c := New([]config.Book{set}).Check(t.Context())[0]; !strings.Contains(c.Error, "401") || c.Hint == "" {
		t.Errorf("checked %+v", c)
	}
}

// What is on disk and was not written for this server and user counts for nothing,
// and neither does half of it.
func TestMirrorOnDisk(t *testing.T) {
	at, _ := radicale(t, 1)
	at, away, _ := through(t, at)
	set := cardDAV(t, at)
	if _, err := New([]config.Book{set}).Resolve(t.Context(), "Person 0", 10); err != nil {
		t.Fatal(err)
	}
	away.Store(true)
	file := filepath.Join(set.Keep, "crm.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	usable := func(set config.Book) bool {
		_, err := New([]config.Book{set}).Resolve(t.Context(), "Person 0", 10)
		return err == nil
	}
	if !usable(set) {
		t.Error("it isn't used")
	}
	other := set
	other.Directory.Account.Username = "you"
	if usable(other) {
		t.Error("used for another user")
	}
	for what, content := range map[string]string{
		"half": string(text[:len(text)/2]), "nothing": "", "another version": strings.Replace(string(text), `"version":1`, `"version":2`, 1),
		"a card that is none": strings.Replace(string(text), `"cards":{`, `"cards":{"/x":null,`, 1), "the future": strings.Replace(string(text), `"at":"2`, `"at":"9`, 1),
		"another server": strings.Replace(string(text), `"url":"http://`, `"url":"http://x`, 1), "of any kind": `[1]`,
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if content == string(text) || usable(set) {
			t.Errorf("%s is used", what)
		}
	}
}

// Whoever asks waits no longer than they want for a server that is silent, and
// what was begun ends with the books.
func TestMirrorEnds(t *testing.T) {
	began := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // who has gone is noticed behind the body
		<-r.Context().Done()
	}))
	defer s.Close()
	b := New([]config.Book{cardDAV(t, s.URL)})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := b.Resolve(ctx, "Alice", 10); err == nil || !strings.Contains(err.Error(), "is being read from its server for the first time") {
		t.Error(err)
	}
	b.Close()
	m := b.list[0].asker.(*mirror)
	if m.busy != nil {
		t.Error("it is still asked")
	}
	if _, err := b.Resolve(t.Context(), "Alice", 10); err == nil || !strings.Contains(err.Error(), "can't be asked now") {
		t.Error(err)
	}
}

// panicking is an account whose tokens meet a defect.
type panicking struct{}

func (panicking) Token(context.Context, *config.Account, string) (string, error) {
	panic("a defect\x1b[31m")
}

// A defect while a server is asked is an error of that book, and the process goes
// on.
func TestMirrorDefect(t *testing.T) {
	set := cardDAV(t, "http://127.0.0.1:1")
	set.Directory.Account = config.Account{Name: "book:crm", Username: "me", OAuth: &config.OAuth{}}
	b := New([]config.Book{set})
	defer b.Close()
	b.UseTokens(panicking{})
	_, err := b.Resolve(t.Context(), "Alice", 10)
	if err == nil || !strings.Contains(err.Error(), "a defect of ours") || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
}
