package console

import (
	"context"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/explanation"
	"postern/config"
	"postern/config/wire"
	"postern/relay/graph/graphtest"
	"postern/relay/webclient"
)

var answerOf = regexp.MustCompile(`(?s)<pre class="answer"[^>]*>(.*?)</pre>`)

// routedConfig has routes of all sorts, some by names that somebody hostile
// chose.
func routedConfig(f *relay) {
	f.config.Listeners = []config.Listener{{Name: "apps"}}
	f.config.Upstreams["office"] = &config.Upstream{Account: config.Account{Name: "office", Auth: "auto"}, Host: "smtp.example.com", Port: 587, TLS: config.TLSVerify}
	priority := 5
	f.config.Routes = []config.Route{
		{Name: "mailing", From: []string{"*@news.example.com"}, Header: map[string][]string{"X-Tenant": {"7"}}, Upstream: []string{"office"}, Line: 12, File: "10.toml", Priority: &priority},
		{Name: "no", From: []string{"bad@example.com"}, Reject: hostile, Line: 20},
		{Name: hostile, To: []string{"*@example.org"}, User: []string{hostile}, Upstream: []string{"office", hostile}},
		{Name: "all", From: []string{"*@example.com", "<>"}, Upstream: []string{"office"}, Expect: 48 * 3600e9},
	}
}

// The form has the answer that the command gives.
func TestExplainForm(t *testing.T) {
	f, s := newRelay(t)
	routedConfig(f)
	b := open(t, s, "look")
	for _, c := range []struct {
		query, has string
		refused    bool
	}{
		{"from=a%40example.com&to=b%40example.net", "office: smtp.example.com port 587", false},
		{"from=%3C%3E", "office: smtp.example.com", false},
		{"from=a%40news.example.com&to=b%40example.net&header=X-Tenant:+7", "priority 5", false},
		{"from=a%40news.example.com&header=X-Tenant:+8%0D%0AX-Other:+y", "does not match", true},
		{"from=bad%40example.com&listener=apps&user=u&unix_user=v", "550", true},
		{"from=nobody%40example.net", "550 5.7.1", true},
		{"from=root", "no route is asked", true},
	} {
		values, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		q := question{values.Get("from"), values.Get("to"), values.Get("listener"), values.Get("user"), values.Get("unix_user"), values.Get("header")}
		ask, err := q.query([]string{"apps"})
		if err != nil {
			t.Fatal(err)
		}
		want, err := explanation.Of(t.Context(), f.config, ask, nil)
		if err != nil {
			t.Fatal(err)
		}
		code, _, body := b.get("/routes?" + c.query)
		m := answerOf.FindStringSubmatch(body)
		if code != http.StatusOK || m == nil {
			t.Fatalf("%s: %d %s", c.query, code, body)
		}
		if got := html.UnescapeString(m[1]); got != want.String() || !strings.Contains(got, c.has) {
			t.Errorf("%s: %q, the command says %q", c.query, got, want)
		}
		if refused := strings.Contains(body, "It would be refused"); refused != c.refused {
			t.Errorf("%s: refused %t", c.query, refused)
		}
	}
	for query, problem := range map[string]string{
		"from=": "the sender is missing", "from=a%40b&listener=no": "there is no such listener", "from=a%40b&header=x": "has the form Name: value",
		"from=a%40b&header=" + strings.Repeat("a:b%0a", maxFields+1): "100 at most", "from=" + strings.Repeat("x", maxQuestion+1): "too long",
	} {
		if _, _, body := b.get("/routes?" + query); !strings.Contains(body, problem) || answerOf.MatchString(body) {
			t.Errorf("%.40s: no %q", query, problem)
		}
	}
	_, _, body := b.get("/routes")
	for _, want := range []string{"line 12 of 10.toml", "field X-Tenant 7", "from *@example.com or &lt;&gt;", "takes no mail for 2d", "refused: "} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
}

// Nothing that a question or a configuration says is more than text.
func TestExplainIsText(t *testing.T) {
	f, s := newRelay(t)
	routedConfig(f)
	b := open(t, s, "look")
	q := url.QueryEscape(hostile)
	for _, query := range []string{"", "?from=" + q + "&to=" + q + "&user=" + q + "&unix_user=" + q + "&header=" + q, "?from=a%40example.com&to=x%40example.org&listener=apps&user=" + q,
		"?from=a%40example.com&header=X-Tenant:" + q, "?from=bad%40example.com"} {
		_, _, body := b.get("/routes" + query)
		for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "\u202e"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q: %s", query, bad, wire.Line(body[max(0, strings.Index(body, bad)-200):]))
			}
		}
	}
}

// Whom a name means is told by the books alone that who asks may see, whoever the
// question is for, and by an alias too; who is in others can't be found out by asking.
func TestExplainAndBooksOfOthers(t *testing.T) {
	f, s := newRelay(t)
	routedConfig(f)
	secret := file(t, "board", "Name,E-mail,Groups\nSeven,s@secret.example,Spies\nTwin,t1@secret.example,\nTwin,t2@secret.example,\n")
	secret.UnixUser, secret.ConsoleUser = []string{"www-data"}, []string{"operate"}
	f.config.Books = []config.Book{file(t, "outlook", "Name,E-mail\nDora,dora@example.org\n"), secret}
	f.config.Submission = config.Submission{Domain: "example.com", Alias: map[string][]string{
		"boss": {"book:board/Seven"}, "twins": {"book:Twin"}, "spies": {"group:Spies"}, "dora": {"book:Dora"}}}
	answers := map[string]string{}
	for _, user := range []string{"look", "operate"} {
		b := open(t, serverOf(s, f), user)
		for _, to := range []string{"Seven", "Sevem", "boss", "twins", "spies", "group:Spies", "book:board/Twin", "book:Twin", "Dora", "dora"} {
			_, _, body := b.get("/routes?" + url.Values{"from": {"a@example.com"}, "to": {to}, "listener": {"apps"}, "unix_user": {"www-data"}}.Encode())
			m := answerOf.FindStringSubmatch(body)
			if m == nil {
				t.Fatalf("%s: %s", to, body)
			}
			answers[user+" "+to] = html.UnescapeString(m[1])
			if noted := strings.Contains(body, "address books that you may not see"); noted != (user == "look") {
				t.Errorf("%s: %s: told of books that were not asked: %t", user, to, noted)
			}
			if found := strings.Contains(body, "secret.example"); found && user == "look" || !found && user == "operate" && !strings.Contains("Sevem Dora dora", to) {
				t.Errorf("%s: %s: %s", user, to, m[1])
			}
			if found := strings.Contains(body, "dora@example.org"); found != strings.EqualFold(to, "dora") {
				t.Errorf("%s: %s: %s", user, to, m[1])
			}
		}
	}
	if known, unknown := answers["look Seven"], strings.ReplaceAll(answers["look Sevem"], "Sevem", "Seven"); known != unknown {
		t.Errorf("who is in the book can be told from\n%s\n%s", known, unknown)
	}
}

// tokenFor is a token that the relay has for one book, and an error for others.
type tokenFor string

func (b tokenFor) Token(_ context.Context, a *config.Account, _ string) (string, error) {
	if a.Name != string(b) {
		return "", errors.New("nobody has logged in for " + a.Name)
	}
	return "good", nil
}

// A book that signs in by OAuth is asked with the token that the relay has, and is
// away where it has none.
func TestExplainByABookWithTokens(t *testing.T) {
	f, s := newRelay(t)
	routedConfig(f)
	server := graphtest.New(t)
	for _, name := range []string{"m365", "other"} {
		f.config.Books = append(f.config.Books, config.Book{Name: name, Provider: config.BookGraph, URL: server.URL + "/v1.0", What: []string{"users"}, UnixUser: []string{"ann"}, ConsoleUser: []string{"look"},
			Directory: config.Directory{Timeout: 30 * time.Second, Cache: time.Hour, Max: 50, Account: config.Account{Name: "book:" + name, OAuth: &config.OAuth{ClientID: "client"}}}})
	}
	for _, c := range []struct {
		tokens webclient.Tokens
		book   string
		want   string
	}{
		{tokenFor("book:m365"), "m365", "alice@corp.test"},
		{tokenFor("book:m365"), "other", "nobody has logged in for book:other"},
		{nil, "m365", "can't be asked"},
	} {
		s.Tokens = c.tokens
		_, _, body := open(t, serverOf(s, f), "look").get("/routes?" + url.Values{"from": {"a@example.com"}, "to": {"book:" + c.book + "/Alice Liddell"}, "listener": {"apps"}, "unix_user": {"ann"}}.Encode())
		if m := answerOf.FindStringSubmatch(body); m == nil || !strings.Contains(html.UnescapeString(m[1]), c.want) {
			t.Errorf("%s with %v: %s", c.book, c.tokens, body)
		}
	}
}
