package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"postern/config"
	"postern/relay/peer"
)

// policy lets a page have what this server gives it and nothing else: no script
// or style of its own, no frame, no other site (CSP Level 3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

var errForeign = errors.New("another web page made this request: open the console in a window of its own")

// request is a request that its route takes.
type request struct {
	*http.Request
	client *Client
	// user is who asks; nil: nobody has signed in.
	user *config.ConsoleUser
	// secret is that of the session of user, or of one that is over; empty: none.
	secret string
	set    *Settings
}

// may tells whether who asks has a role.
func (r *request) may(role config.Role) bool { return r.user != nil && r.user.Role.Covers(role) }

// operator is what the log calls who asks.
func (r *request) operator() string { return "console:" + r.user.Name }

// secure tells whether the browser talks to us by TLS.
func (r *request) secure() bool { return r.client.TLS }

// ServeHTTP implements http.Handler: what keeps others out comes before the
// table of routes.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	client, _ := hr.Context().Value(connKey{}).(*Client)
	if client == nil {
		client = &Client{Peer: hr.RemoteAddr}
	}
	ctx, cancel := context.WithTimeout(hr.Context(), answerTimeout)
	defer cancel()
	r := &request{Request: hr.WithContext(ctx), client: client, set: s.settings.Load()}
	protect(w.Header(), r.secure())
	switch {
	case !r.set.ownHost(r.Host):
		s.Events(&Refused{*client, "the host " + shorten(r.Host) + " is not this one"})
		s.fail(w, r, http.StatusMisdirectedRequest, errors.New("this is not the name of this machine: ask by its address or its hostname, or name the host in console.hosts"))
		return
	case s.cross.Check(hr) != nil:
		s.Events(&Refused{*client, "another site's page made the request"})
		s.fail(w, r, http.StatusForbidden, errForeign)
		return
	case embedded(hr):
		s.Events(&Refused{*client, "another site's page wants to have this one in it"})
		s.fail(w, r, http.StatusForbidden, errForeign)
		return
	}
	hr.Body = http.MaxBytesReader(w, hr.Body, maxBody)
	r.Body = hr.Body
	s.route(w, r)
}

// protect sets the headers of every answer.
func protect(h http.Header, secure bool) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// embedded tells whether a page of another site, or of another port of this host,
// asks for something that is not to be a page of its own: an image, a script, a
// frame, data. Such a request may carry our cookie.
func embedded(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// ownHost tells whether a Host is this console's: a web page can have its own
// name lead here.
func (set *Settings) ownHost(host string) bool {
	names := append([]string{set.hostname}, set.console.Hosts...)
	name := peer.HostName(host)
	if set.tls != nil && set.tls.Certificates[0].Leaf != nil && set.tls.Certificates[0].Leaf.VerifyHostname(name) == nil {
		return true
	}
	return name != "" && peer.OwnHost(name, names...)
}

// signedIn is the user of a request; nil: there is none any more. The role is
// that of the configuration in force.
func (s *Server) signedIn(r *request) *config.ConsoleUser {
	var one *session
	for _, secret := range secretsOf(r.Request, r.secure()) {
		r.secret = secret
		if one = s.sessions.find(secret, placeOf(r.client), time.Now(), r.Header.Get("X-Live") == "" && r.Header.Get("Accept") != streaming); one != nil {
			break
		}
	}
	if one == nil {
		return nil
	}
	u := r.set.console.Users[one.user]
	if u == nil || u.Password != one.hash {
		return nil
	}
	return u
}

// shorten is foreign text for the log.
func shorten(text string) string {
	const most = 100
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
