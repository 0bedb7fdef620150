package carddav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"postern/config"
	"postern/config/wire"
	"postern/relay/webclient"
)

// Client asks one server. Its methods may be called by one goroutine at a time.
type Client struct {
	set    *config.Book
	tokens webclient.Tokens // nil: there are none
	home   *url.URL
	http   *http.Client
	steps  func(Step)
	most   int // bytes of one answer
}

// Step is something that was asked, for people who look for what is wrong.
type Step struct {
	What   string        `json:"what"` // "the address books below it"
	Asked  string        `json:"asked"`
	Answer string        `json:"answer"`
	Took   time.Duration `json:"took_ns"`
}

const (
	maxRedirects = 5
)

// New makes a client of a book of CardDAV. It opens nothing. steps is told of
// each request; it may be nil. tokens are for a book with OAuth.
func New(set *config.Book, tokens webclient.Tokens, steps func(Step)) (*Client, error) {
	home, err := url.Parse(set.URL)
	if err != nil {
		return nil, err
	}
	web, err := webclient.New(set.Directory.CAFile)
	if err != nil {
		return nil, err
	}
	if steps == nil {
		steps = func(Step) {}
	}
	return &Client{set: set, tokens: tokens, home: home, steps: steps, most: maxAnswer, http: web}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Refused is the error of an answer that is no multistatus.
type Refused struct {
	Status    int
	Condition string // the one that the server names; may be empty
	URL       string
}

func (e *Refused) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.URL, e.Status, http.StatusText(e.Status))
	if e.Condition != "" {
		text += " (" + wire.Text(e.Condition, 100) + ")"
	}
	return text
}

// Hint says what to do about an error of this package; it may be empty.
func Hint(err error) string {
	var r *Refused
	switch {
	case !errors.As(err, &r):
		return ""
	case r.Status == http.StatusUnauthorized:
		return "the server does not take the sign-in; where two factors are on, make a password for apps"
	case r.Status == http.StatusForbidden:
		return "this user may not read it"
	case r.Status == http.StatusNotFound, r.Status == http.StatusMethodNotAllowed:
		return "there is no CardDAV at this URL; it is that of the server, of DAV or of one address book"
	}
	return ""
}

// request is one question.
type request struct {
	what   string
	method string
	at     *url.URL
	depth  string
	body   string
}

// ask sends a request, follows redirects of the same site, and reads the whole
// answer. It returns the URL that has answered.
func (c *Client) ask(ctx context.Context, q request) (*answer, *url.URL, error) {
	began := time.Now()
	a, at, err := c.follow(ctx, q)
	said := "understood"
	switch {
	case err != nil:
		said = err.Error()
	case len(a.members) != 1:
		said = fmt.Sprintf("%d resources", len(a.members))
	}
	c.steps(Step{q.what, q.method + " " + shown(at), said, time.Since(began)})
	return a, at, err
}

// shown is a URL for people.
func shown(u *url.URL) string { return wire.Text(u.Redacted(), 300) }

func (c *Client) follow(ctx context.Context, q request) (*answer, *url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, c.set.Directory.Timeout)
	defer cancel()
	at, refused := q.at, ""
	for range maxRedirects + 1 {
		if err := c.trusts(at); err != nil {
			return nil, at, err
		}
		r, token, err := c.send(ctx, q, at, refused)
		if err != nil {
			return nil, at, webclient.Plain(ctx, err)
		}
		if token != "" && r.StatusCode == http.StatusUnauthorized && refused == "" {
			r.Body.Close()
			refused = token // it may have ended before its time
			continue
		}
		to := r.Header.Get("Location")
		if r.StatusCode/100 != 3 || to == "" {
			a, err := c.read(r, at)
			return a, at, webclient.Plain(ctx, err)
		}
		r.Body.Close()
		next, err := at.Parse(to)
		if err != nil {
			return nil, at, errors.New("the server leads to something that is no URL")
		}
		at = next
	}
	return nil, at, fmt.Errorf("the server leads from one address to another, more than %d times", maxRedirects)
}

// send sends one request with the sign-in. It returns the token that it had.
func (c *Client) send(ctx context.Context, q request, at *url.URL, refused string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, at.String(), strings.NewReader(q.body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("Content-Type", "application/xml; charset=utf-8")
	r.Header.Set("User-Agent", webclient.Agent)
	r.Header.Set("Depth", q.depth)
	a, token := &c.set.Directory.Account, ""
	switch {
	case a.OAuth != nil && c.tokens == nil:
		return nil, "", errors.New("there is nobody here who gets its tokens")
	case a.OAuth != nil:
		if token, err = c.tokens.Token(ctx, a, refused); err != nil {
			return nil, "", err
		}
		r.Header.Set("Authorization", "Bearer "+token) // RFC 6750 §2.1
	case a.Username != "":
		password, err := a.Password.Read(ctx)
		if err != nil {
			return nil, "", err
		}
		r.SetBasicAuth(a.Username, password)
	}
	answer, err := c.http.Do(r)
	return answer, token, err
}

// read reads the answer to its end.
func (c *Client) read(r *http.Response, at *url.URL) (*answer, error) {
	defer r.Body.Close()
	refused := &Refused{Status: r.StatusCode, URL: shown(at)}
	if r.StatusCode != http.StatusMultiStatus {
		if a, err := parse(r.Body, 64<<10); err == nil {
			refused.Condition = a.condition
		}
		return nil, refused
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, errors.New("the answer is compressed, which was not asked for")
	}
	return parse(r.Body, c.most)
}

// trusts tells whether a URL may get the sign-in, and be believed: that of the
// configuration, and by HTTPS any host of the same registered domain, since
// servers such as iCloud's send everybody to a host of their own.
func (c *Client) trusts(u *url.URL) error {
	foreign := fmt.Errorf("the server leads to %s, which is another site and gets no password", wire.Text(u.Scheme+"://"+u.Host, 200))
	if u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || c.home.Scheme != "http") {
		return foreign
	}
	if u.Scheme == c.home.Scheme && strings.EqualFold(u.Host, c.home.Host) {
		return nil
	}
	if u.Scheme != "https" || c.home.Scheme != "https" {
		return foreign
	}
	ours, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(c.home.Hostname()))
	theirs, err2 := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(u.Hostname()))
	if err != nil || err2 != nil || ours != theirs {
		return foreign
	}
	return nil
}

// escaped is text in XML.
func escaped(s string) string {
	var b bytes.Buffer
	for _, c := range s {
		switch c {
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
