package console

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"postern/cmd/definition"
)

// sent is a form that is sent, and the page that comes of it. It changes nothing,
// so that it can be sent again.
type sent struct {
	path   string
	form   map[string]string
	status int
	title  string
}

// submit sends the form as a page would.
func (s *sent) submit() chromedp.Action[chromedp.Void] {
	args, err := json.Marshal([]any{s.path, s.form})
	if err != nil {
		panic(err) // strings alone are in it
	}
	var done bool
	return into(&done, chromedp.Evaluate[bool](`((path, fields) => {
		const form = document.createElement("form");
		form.method = "post";
		form.action = path;
		for (const [name, value] of Object.entries(fields)) {
			const field = document.createElement("textarea");
			field.name = name;
			field.value = value;
			form.append(field);
		}
		document.body.append(form);
		form.submit();
		return true;
	})(...`+string(args)+`)`))
}

// refusedForms are forms with faults, and those of what has changed meanwhile.
func refusedForms(etag string) []sent {
	const unusable, unkept, unsent, undone = "This cannot be used yet", "This cannot be kept yet", "This cannot be sent yet", "This cannot be done"
	long := strings.Repeat("long", 60)
	return []sent{
		{"/definitions/upstream", map[string]string{"name": "office", "v.host": hostile, "v.port": "many", "v.tls": "sometimes", "s.password": "a\nb"}, 422, unusable},
		{"/definitions/upstream", map[string]string{"name": long, "v.host": long, "v.rate": long}, 422, unusable},
		{"/definitions/route", map[string]string{"name": "second", "v.from": "*@b.example", "v.upstream": long}, 422, unusable},
		{"/definitions/upstream", map[string]string{"name": "office", "seen": "0123456789abcdef"}, 409, undone},
		{"/books/team/save", map[string]string{"name": "Eve", "addresses": long}, 422, unkept},
		{"/books/team/card", map[string]string{"uid": "bob", "seen": etag, "card": long}, 422, unkept},
		{"/books/team/members/add", map[string]string{"group": ""}, 422, "This cannot be used"},
		{"/books/team/save", map[string]string{"uid": "bob", "seen": "old", "name": "Bob", "addresses": "bob@example.com"}, 409, undone},
		{"/message-files/reminder", map[string]string{"c.email": long, "rows": "email,email\na,b\n"}, 422, unsent},
		{"/message-files/note", map[string]string{"from": hostile, "to": long}, 422, unsent},
		{"/message-files/broken", map[string]string{}, 409, undone},
	}
}

// What a form with faults leads to, one of what has changed meanwhile, and one
// that is to be done by hand, is a page for everybody as well.
func TestBrowserAnswers(t *testing.T) {
	ctx, said := chromium(t)
	eye := newJudge(t, said)
	f, s, _, _ := browsed(t)
	b := open(t, s, "")
	books := f.books()
	x, err := books.Folder("team").Index()
	if err != nil {
		t.Fatal(err)
	}
	card, err := books.Folder("team").Get(x.ByUID("bob"))
	if err != nil {
		t.Fatal(err)
	}
	forms := append(refusedForms(card.Etag()), removedByHand(t, f, s))
	if err := chromedp.Do(ctx, signInTo(b.base, "define")); err != nil {
		t.Fatal(err)
	}
	look := func(one *sent, as string) {
		var title string
		eye.look(t, ctx, one.path, as, one.status, one.submit())
		if err := chromedp.Do(ctx, into(&title, chromedp.Text(chromedp.CSS("h1")))); err != nil || title != one.title {
			t.Errorf("%s, %s: %q, want %q: %v", one.path, as, title, one.title, err)
		}
	}
	all := func(as string) {
		for i := range forms {
			look(&forms[i], as)
		}
		one := &sent{"/definitions/alert", map[string]string{"name": "ops", "s.url": "ntfy://ntfy.example/secret-topic"}, http.StatusOK, "Alert ops"}
		look(one, as)
		var draft string
		if err := chromedp.Do(ctx, into(&draft, chromedp.Evaluate[string](`location.pathname`))); err != nil {
			t.Fatal(err)
		}
		look(&sent{draft + "/save", map[string]string{}, http.StatusOK, "To be done as root"}, as)
	}
	all("light")
	if err := chromedp.Do(ctx, dark, phone); err != nil {
		t.Fatal(err)
	}
	all("phone")
}

// removedByHand has the relay keep a route in a folder that it may not write to
// afterwards, and is the form that removes it.
func removedByHand(t *testing.T, f *relay, s *Server) sent {
	t.Helper()
	store, err := s.definitionStore()
	if err != nil {
		t.Fatal(err)
	}
	d := definition.Definition{Kind: definition.Route, Name: "ours", Values: map[string]any{"from": []string{"*@ours.example"}, "upstream": []string{"main"}}}
	if _, err := store.Put(t.Context(), d, definition.Change{}); err != nil {
		t.Fatal(err)
	}
	there, err := store.Read(d.Kind, d.Name)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(filepath.Dir(f.settings().Path), "conf.d")
	if err := os.Rename(folder, folder+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(folder+".real", folder); err != nil { // through which nothing is written, not even by root
		t.Fatal(err)
	}
	if store.Writable() == nil {
		t.Fatal("it can be written")
	}
	return sent{"/definitions/route/remove", map[string]string{"name": d.Name, "seen": there.Digest}, http.StatusOK, "To be done as root"}
}
