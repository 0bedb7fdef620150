package oauth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"postern/config"
)

// code is the authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636)
// for a program without a browser (RFC 8252): the answer comes to a listener on
// this machine, or is pasted.
func (c *client) code(ctx context.Context, person Person) (*oauth2.Token, error) {
	if !secure(c.at.auth) {
		return nil, &Error{Kind: Refused, Text: hostOf(c.at.token) + ` offers no login by browser; set flow = "device"`}
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	back, err := openCallback(c.conf.RedirectURL, state)
	if err != nil {
		return nil, local(err)
	}
	defer back.close()
	conf := oauth2.Config{
		ClientID: c.conf.ClientID, Scopes: c.conf.Scopes, RedirectURL: back.redirect,
		Endpoint: oauth2.Endpoint{AuthURL: c.at.auth},
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	if c.conf.Provider == config.OAuthGoogle {
		// Google gives a refresh token only to who asks, and only with consent.
		options = append(options, oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent"))
	}
	person.Open(conf.AuthCodeURL(state, options...))
	answer, err := waitForAnswer(ctx, back, person)
	if err != nil {
		return nil, err
	}
	code, err := c.codeOf(answer, state)
	if err != nil {
		return nil, err
	}
	return c.ask(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {back.redirect}, "code_verifier": {verifier},
	}, false)
}

// waitForAnswer takes what comes first: the browser, or a paste.
func waitForAnswer(ctx context.Context, d *callback, person Person) (url.Values, error) {
	waiting, cancel := context.WithCancel(ctx)
	type paste struct {
		text string
		err  error
	}
	pasted := make(chan paste, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() {
		text, err := person.Paste(waiting)
		pasted <- paste{text, err}
	})
	for {
		select {
		case answer := <-d.answers:
			return answer, nil
		case p := <-pasted:
			switch {
			case p.err == nil:
				return parsePaste(p.text)
			case errors.Is(p.err, io.EOF) && d.listening():
				pasted = nil // nobody is there to paste; the browser may come
			default:
				return nil, &Error{Kind: NeedsLogin, Text: "nothing was pasted"}
			}
		case <-ctx.Done():
			return nil, &Error{Kind: NeedsLogin, Text: "nobody logged in in time"}
		}
	}
}

// parsePaste takes the address that the browser ended at, its query, or the
// code alone.
func parsePaste(text string) (url.Values, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, &Error{Kind: NeedsLogin, Text: "nothing was pasted"}
	}
	if _, query, ok := strings.Cut(text, "?"); ok {
		text, _, _ = strings.Cut(query, "#")
	}
	if strings.Contains(text, "code=") || strings.Contains(text, "error=") {
		if values, err := url.ParseQuery(text); err == nil {
			return values, nil
		}
	}
	if code, err := url.QueryUnescape(text); err == nil && strings.Contains(text, "%") {
		text = code
	}
	// A code alone has no state; PKCE binds it to this login all the same.
	return url.Values{"code": {text}}, nil
}

// codeOf checks an answer (RFC 6749 §4.1.2, RFC 9207 §2.4).
func (c *client) codeOf(answer url.Values, state string) (string, error) {
	if answer.Has("state") && !same(answer.Get("state"), state) {
		return "", &Error{Kind: NeedsLogin, Text: "that answer belongs to another login"}
	}
	if iss := answer.Get("iss"); iss != "" && c.at.issuer != "" &&
		strings.TrimSuffix(iss, "/") != strings.TrimSuffix(c.at.issuer, "/") {
		return "", &Error{Kind: Refused, Text: "the answer comes from another issuer"}
	}
	if code := clean(answer.Get("error"), nil); code != "" {
		text := "the login ended with " + code
		if d := clean(answer.Get("error_description"), nil); d != "" {
			text += " (" + d + ")"
		}
		return "", &Error{Kind: Refused, Code: code, Text: text}
	}
	code := answer.Get("code")
	if !wellFormed(code) {
		return "", &Error{Kind: NeedsLogin, Text: "what was pasted holds no code"}
	}
	return code, nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// callback is where the browser comes back to.
type callback struct {
	redirect  string
	answers   chan url.Values
	server    *http.Server
	listeners []net.Listener
	serving   sync.WaitGroup
}

// openCallback listens at a loopback address. Elsewhere, and where the port is
// taken, there is only the paste.
func openCallback(redirect, state string) (*callback, error) {
	u, err := url.Parse(redirect)
	if err != nil {
		return nil, err
	}
	d := &callback{redirect: redirect, answers: make(chan url.Values, 1)}
	if u.Scheme != "http" || !loopback(u.Hostname()) {
		return d, nil
	}
	if err := d.listen(u); err != nil && u.Port() == "" {
		return nil, err
	}
	d.redirect = u.String()
	d.server = &http.Server{
		Handler: d.handler(u.Path, state), ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
	}
	for _, l := range d.listeners {
		d.serving.Go(func() { _ = d.server.Serve(l) }) // ends by close
	}
	return d, nil
}

// listen opens the addresses that a browser may take the host for, and puts
// the port that it got into u.
func (d *callback) listen(u *url.URL) error {
	hosts := []string{u.Hostname()}
	if strings.EqualFold(u.Hostname(), "localhost") {
		hosts = []string{"127.0.0.1", "::1"}
	}
	port := u.Port()
	var first error
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, orZero(port)))
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		_, port, _ = net.SplitHostPort(l.Addr().String()) // of an address that net made
		d.listeners = append(d.listeners, l)
	}
	if len(d.listeners) == 0 {
		return first
	}
	u.Host = net.JoinHostPort(u.Hostname(), port)
	return nil
}

func orZero(port string) string {
	if port == "" {
		return "0"
	}
	return port
}

func (d *callback) listening() bool { return len(d.listeners) > 0 }

// handler takes the one request that knows the state. Others, such as a page
// in the same browser that tries ports, learn nothing and change nothing.
func (d *callback) handler(path, state string) http.Handler {
	if path == "" {
		path = "/"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		query := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != path || !same(query.Get("state"), state) {
			http.Error(w, "This is not the answer that Postern waits for.", http.StatusBadRequest)
			return
		}
		select {
		case d.answers <- query:
		default: // a reload of the page
		}
		_, _ = io.WriteString(w, "Postern has the answer. The terminal tells the rest; this page can be closed.\n")
	})
}

func (d *callback) close() {
	if d.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if d.server.Shutdown(ctx) != nil { // lets the page reach the browser
		_ = d.server.Close()
	}
	d.serving.Wait()
}
