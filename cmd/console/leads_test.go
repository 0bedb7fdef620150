package console

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/definition"
)

var leadIn = regexp.MustCompile(`<p><a href="([^"]+)">([^<]+)</a></p>`)

// A form that comes too late is answered by a page that leads to what is there now,
// and each of its links leads somewhere.
func TestLeads(t *testing.T) {
	f, s, _, _ := browsed(t)
	withBooks(t, f, file(t, "outlook", "Name,E-mail\nDora,dora@example.org\n"))
	b := open(t, s, "define")
	store, err := s.definitionStore()
	if err != nil {
		t.Fatal(err)
	}
	ours := definition.Definition{Kind: definition.Route, Name: "our own", Values: map[string]any{"from": []string{"*@ours.example"}, "upstream": []string{"main"}}}
	if _, err := store.Put(t.Context(), ours, definition.Change{}); err != nil {
		t.Fatal(err)
	}
	_, draft, _ := b.tried("alert", url.Values{"name": {"ops"}, "s.url": {"ntfy://ntfy.example/topic"}})
	f.taken = nil // the next one is refused
	for _, c := range []struct {
		path string
		form url.Values
		want []string // of the links, before that to the overview
	}{
		{"/books/team/save", url.Values{"uid": {"bob"}, "seen": {"old"}, "name": {"Bob"}, "addresses": {"bob@example.com"}}, []string{"The entry as it is now", "The book team"}},
		{"/books/team/card", url.Values{"uid": {"bob"}, "seen": {"old"}}, []string{"The entry as it is now", "The book team"}},
		{"/books/team/remove", url.Values{"uid": {"bob"}, "seen": {"old"}}, []string{"The entry as it is now", "The book team"}},
		{"/books/outlook/save", url.Values{"name": {"X"}}, []string{"The book outlook"}},
		{"/definitions/route", url.Values{"name": {"our own"}, "seen": {"old"}}, []string{"The route our own as it is now", "All definitions"}},
		{"/definitions/route/remove", url.Values{"name": {"our own"}, "seen": {"old"}}, []string{"The route our own as it is now", "All definitions"}},
		{"/definitions/route", url.Values{"name": {"<gone>"}, "seen": {"old"}}, []string{"All definitions"}},
		{"/definitions/route/remove", url.Values{"name": {"gone"}, "seen": {"old"}}, []string{"All definitions"}},
		{"/definitions/upstream/remove", url.Values{"name": {"main"}, "seen": {"old"}}, []string{"The upstream main as it is now", "All definitions"}},
		{draft + "/save", nil, []string{"All definitions"}},
		{"/message-files/broken", nil, []string{"Message files"}},
	} {
		code, _, body := b.post(c.path, c.form)
		var texts []string
		for _, link := range leadIn.FindAllStringSubmatch(body, -1) {
			texts = append(texts, html.UnescapeString(link[2]))
			if code, _, body := b.get(html.UnescapeString(link[1])); code != http.StatusOK {
				t.Errorf("%s: the link %s leads to %d %s", c.path, link[1], code, body)
			}
		}
		if want := append(c.want, "Overview"); code != http.StatusConflict || strings.Join(texts, "|") != strings.Join(want, "|") {
			t.Errorf("%s %v: %d, %q, want %q", c.path, c.form, code, texts, want)
		}
	}
}
