package console

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var (
	titleIn   = regexp.MustCompile(`<h1>([^<]*)</h1>`)
	problemIn = regexp.MustCompile(`<p class="problem" role="alert">([^<]*)</p>`)
	plainText = regexp.MustCompile(`^[A-Z0-9].*[.!?]$`)
)

// Whatever goes wrong is said in a sentence, under a title that needs no knowledge
// of HTTP, and the page leads on.
func TestFailuresInPlainWords(t *testing.T) {
	f, s, id, _ := browsed(t)
	withBooks(t, f, file(t, "outlook", "Name,E-mail\nDora,dora@example.org\n"))
	define, look := open(t, s, "define"), open(t, serverOf(s, f), "look")
	long := url.Values{"reason": {strings.Repeat("x", maxReason+1)}, "id": {id.String()}}
	for _, c := range []struct {
		as     *browser
		path   string
		form   url.Values // nil: a page is asked for
		status int
		way    string // a link; empty: that to the overview alone
	}{
		{define, "/nowhere", nil, 404, ""},
		{define, "/queue/remove", nil, 405, "/queue"},
		{define, "/queue?state=eaten", nil, 400, "/queue"},
		{define, "/queue?after=x", nil, 400, "/queue"},
		{define, "/messages/x", nil, 404, "/queue"},
		{define, "/messages/" + strings.Repeat("0", len(id.String())) + "/source", nil, 404, "/queue"},
		{define, "/upstreams/nobody", nil, 404, "/upstreams"},
		{define, "/tests/gone", nil, 404, "/upstreams"},
		{define, "/logins/gone", nil, 404, "/upstreams"},
		{define, "/captured/nobody", nil, 404, "/captured"},
		{define, "/books/nobody", nil, 404, "/books"},
		{define, "/books/team/entry?who=nobody", nil, 404, "/books"},
		{define, "/message-files/nobody", nil, 404, "/message-files"},
		{define, "/made/gone/0", nil, 404, "/message-files"},
		{define, "/definitions/galaxy", nil, 404, "/definitions"},
		{define, "/drafts/gone", nil, 404, "/definitions"},
		{define, "/assets/none", nil, 404, ""},
		{define, "/events/stream", nil, 406, "/events"},
		{define, "/queue/eat", url.Values{"id": {id.String()}}, 404, "/queue"},
		{define, "/queue/hold", url.Values{"id": {"x"}}, 400, "/queue"},
		{define, "/queue/bounce", long, 400, "/queue"},
		{define, "/queue/hold", url.Values{"id": {strings.Repeat("x", maxBody)}}, 413, "/queue"},
		{define, "/books/team/members/add", url.Values{}, 422, "/books"},
		{define, "/definitions/upstream", url.Values{"name": {"office"}, "seen": {"old"}}, 409, "/definitions/upstream?name=office|/definitions"},
		{look, "/queue/hold", url.Values{"id": {id.String()}}, 403, "/queue"},
		{look, "/definitions", nil, 403, ""},
	} {
		ask := func() (int, http.Header, string) { return c.as.get(c.path) }
		if c.form != nil {
			ask = func() (int, http.Header, string) { return c.as.post(c.path, c.form) }
		}
		code, _, body := ask()
		title, text := titleIn.FindStringSubmatch(body), problemIn.FindStringSubmatch(body)
		if code != c.status || title == nil || text == nil {
			t.Errorf("%s: %d, want %d: %s", c.path, code, c.status, body)
			continue
		}
		said := html.UnescapeString(text[1])
		if title[1] == http.StatusText(code) || !plainText.MatchString(said) || strings.Contains(said, "POST") {
			t.Errorf("%s: %q, %q", c.path, title[1], said)
		}
		var ways []string
		for _, m := range leadIn.FindAllStringSubmatch(body, -1) {
			ways = append(ways, html.UnescapeString(m[1]))
		}
		if want := strings.Trim(c.way+"|/", "|"); strings.Join(ways, "|") != want {
			t.Errorf("%s: it leads to %q, want %q", c.path, ways, want)
		}
	}
}

func TestSentenceOf(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "there is no such page": "There is no such page.", "it is over!": "It is over!", "Again.": "Again.", "who: nobody": "who: nobody.",
		"smtp.example.com is away": "smtp.example.com is away.", "don't": "Don't.", "read /x: no such file": "Read /x: no such file.", `type "x"`: `Type "x".`, " é ": "É.", "tls_mode is wrong": "tls_mode is wrong.",
	} {
		if got := sentenceOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Whoever has to sign in comes to the page that was asked for, and to no other
// console.
func TestSignInLeadsBack(t *testing.T) {
	_, s := newRelay(t)
	b := open(t, s, "")
	for path, want := range map[string]string{"/queue?state=held": "/queue?state=held", "/trace?q=%40b": "/trace?q=%40b", "/?": "/", "/" + strings.Repeat("x", maxBack): "/"} {
		_, h, _ := b.get(path)
		_, _, form := b.get(h.Get("Location"))
		back := "/"
		if m := regexp.MustCompile(`name="back" value="([^"]*)"`).FindStringSubmatch(form); m != nil {
			back = html.UnescapeString(m[1])
		}
		for _, password := range []string{"wrong", "right"} {
			code, h, form := b.post("/sign-in", url.Values{"name": {"look"}, "password": {password}, "back": {back}})
			if password == "right" && (code != http.StatusSeeOther || h.Get("Location") != want) {
				t.Errorf("%s: %d to %q, want %q", path, code, h.Get("Location"), want)
			} else if password == "wrong" && strings.Contains(form, `name="back"`) != (want != "/") {
				t.Errorf("%s: it is forgotten, or made up", path)
			}
		}
		b.post("/sign-out", nil)
	}
	for _, evil := range []string{"//evil.example/", `/\evil.example`, "https://evil.example/", "javascript:alert(1)", "/%2e%2e//evil.example", "\t//evil.example"} {
		if _, _, form := b.get("/sign-in?" + url.Values{"back": {evil}}.Encode()); strings.Contains(form, `value="`+evil) {
			t.Errorf("%q stands in the form", evil)
		}
		_, h, _ := b.post("/sign-in", url.Values{"name": {"look"}, "password": {"right"}, "back": {evil}})
		to, err := url.Parse(h.Get("Location"))
		if err != nil || to.Host != "" || to.Scheme != "" || !strings.HasPrefix(to.Path, "/") || strings.HasPrefix(h.Get("Location"), "//") {
			t.Errorf("%q leads to %q", evil, h.Get("Location"))
		}
	}
	// A part of a page whose session is over has the browser ask for the whole of it.
	r, w := newAsk("/queue", "none", "1")
	r.Header.Set("HX-Current-URL", "http://127.0.0.1/queue?state=held")
	if s.ServeHTTP(w, r); w.Header().Get("HX-Redirect") != "/sign-in?back=%2Fqueue%3Fstate%3Dheld" {
		t.Errorf("%q", w.Header().Get("HX-Redirect"))
	}
}
