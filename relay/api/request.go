package api

import (
	"crypto/x509"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"postern/config"
	"postern/config/wire"
	"postern/relay/peer"
	"postern/relay/submission"
)

// request is one request of a client.
type request struct {
	*http.Request
	server   *Server
	settings *settings // as of its begin
	limits   *limits
	client   submission.Client
	token    *token // nil: none was needed
	body     *body
	holding  holding
	large    int // mails of it that have a file
}

// route is one row of the table of all that can be asked.
type row struct {
	method  string
	path    string
	dialect config.Dialect // empty: everybody's
	media   []string       // of bodies that it takes; nil: none
	answer  func(*request, http.ResponseWriter) *failure
}

const (
	mediaJSON = "application/json"
	mediaMail = "message/rfc822"
	mediaForm = "multipart/form-data"
)

// table is what the server answers. Of two rows that match, the first counts. A test compares openapi.json with it.
var table = []row{
	{"POST", "/emails", config.DialectResend, []string{mediaJSON}, (*request).email},
	{"POST", "/emails/batch", config.DialectResend, []string{mediaJSON}, (*request).emails},
	{"GET", "/emails/{id}", "", nil, (*request).emailStatus},
	{"POST", "/emails/{id}/cancel", "", nil, (*request).cancel},
	{"POST", "/email", config.DialectPostmark, []string{mediaJSON}, (*request).postmark},
	{"POST", "/email/batch", config.DialectPostmark, []string{mediaJSON}, (*request).postmarkBatch},
	{"POST", "/v3/mail/send", config.DialectSendGrid, []string{mediaJSON}, (*request).sendgrid},
	{"POST", "/v3/{domain}/messages", config.DialectMailgun, []string{mediaForm}, (*request).mailgun},
	{"POST", "/v3/{domain}/messages.mime", config.DialectMailgun, []string{mediaForm}, (*request).mailgunMIME},
	{"GET", "/openapi.json", "", nil, (*request).describe},
	{"GET", "/v1/book", "", nil, (*request).findInBooks},
	{"POST", "/v1/book/expand", "", []string{mediaJSON}, (*request).expandFromBooks},
	{"POST", "/v1/book/resolve", "", []string{mediaJSON}, (*request).resolveFromBooks},
	{"POST", "/v1/messages", "", []string{mediaMail, mediaForm}, (*request).messages},
}

// find is the row of a request, or why there is none.
func find(w http.ResponseWriter, r *http.Request) (*row, *failure) {
	var allowed []string
	for i := range table {
		t := &table[i]
		if !peer.MatchPath(t.path, r) {
			continue
		}
		if t.method == r.Method {
			return t, nil
		}
		allowed = append(allowed, t.method)
	}
	path := wire.Line(r.URL.Path)
	if len(allowed) == 0 {
		return nil, &failure{status: http.StatusNotFound, name: nameNotFound, text: "there is no " + path}
	}
	takes := strings.Join(allowed, ", ")
	w.Header().Set("Allow", takes)
	return nil, &failure{status: http.StatusMethodNotAllowed, name: nameMethod, text: fmt.Sprintf("%s takes %s, not %s", path, takes, wire.Line(r.Method))}
}

// ServeHTTP implements http.Handler. A request for a name that is not ours, or
// from a web page, goes no further.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		defect.tell(w, "")
		return
	}
	abused := func(f *failure, what string) {
		s.events(&Abused{&c.client, what})
		w.Header().Set("Connection", "close")
		f.tell(w, "")
	}
	if len(r.TransferEncoding) > 0 && c.client.Listener != config.SubmitListener {
		// It may have had a Content-Length too, which a proxy in front goes by: what
		// follows the body is nobody's request then (RFC 9112 §6.1).
		w.Header().Set("Connection", "close")
	}
	lim, set := c.listener.limits.Load(), s.settings.Load()
	switch {
	case !lim.allows(c.client.Addr): // a reload may have taken it away
		s.events(&Refused{&c.client, "address not allowed"})
		w.Header().Set("Connection", "close")
		(&failure{status: http.StatusForbidden, name: nameWrongKey, text: "your address may not use this server"}).tell(w, "")
	case r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil: // Sec-Fetch-Mode alone is of Node.js
		abused(&failure{status: http.StatusForbidden, name: nameOrigin, text: "requests of web pages are not answered"}, "a request of a web page")
	case c.client.Listener != config.SubmitListener && !set.answersTo(r.Host, lim):
		abused(&failure{status: http.StatusMisdirectedRequest, name: nameHost,
			text: fmt.Sprintf("%q is not the name of this machine; ask by its address or its hostname, or name it in http.hosts", wire.Line(peer.HostName(r.Host)))}, "a foreign host")
	default:
		t, f := find(w, r)
		if f != nil {
			if r.ContentLength != 0 {
				w.Header().Set("Connection", "close") // rather than to read a body for nothing
			}
			f.tell(w, "")
			return
		}
		s.serve(w, r, t)
	}
}

// serve carries out a request. A panic is that request's alone.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, t *row) {
	c := r.Context().Value(connKey{}).(*conn)
	lim := c.listener.limits.Load()
	req := &request{Request: r, server: s, settings: s.settings.Load(), limits: lim, client: c.client}
	req.client.Settings = lim.message
	req.body = newBody(w, r, lim.cfg)
	defer req.give()
	defer req.guard(func(f *failure) {
		w.Header().Set("Connection", "close")
		f.tell(w, t.dialect) // which does nothing behind an answer that has begun
	})
	if f := req.carryOut(w, t); f != nil {
		req.body.leave(w)
		f.tell(w, t.dialect)
	}
}

// guard is deferred where a bug may panic over what a client sent: it is told of,
// and failed is called.
func (r *request) guard(failed func(*failure)) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		panic(v)
	default:
		r.server.events(&Panicked{&r.client, v, debug.Stack()})
		failed(defect)
	}
}

func (r *request) carryOut(w http.ResponseWriter, t *row) *failure {
	if f := r.signIn(); f != nil {
		return f
	}
	if !r.speaks(t.dialect) {
		key := "a token with compat"
		if r.token != nil {
			key = "compat of http.token." + r.token.name
		}
		return &failure{status: http.StatusForbidden, name: nameRestrictedKey,
			text: fmt.Sprintf("requests of %s are not taken from you: they need %q in %s", t.dialect, t.dialect, key)}
	}
	if t.media == nil {
		if r.ContentLength != 0 {
			return invalid("this request takes no body")
		}
		return t.answer(r, w)
	}
	// A form that a browser can post without being asked has another type.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || !slices.Contains(t.media, kind) {
		return &failure{status: http.StatusUnsupportedMediaType, name: nameMediaType,
			text: fmt.Sprintf("%s takes Content-Type: %s", t.path, strings.Join(t.media, " or "))}
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return &failure{status: http.StatusUnsupportedMediaType, name: nameMediaType, text: "a body with a Content-Encoding is not taken"}
	}
	return t.answer(r, w)
}

// answersTo tells whether a request for a host is ours.
func (set *settings) answersTo(host string, lim *limits) bool {
	name := peer.HostName(host)
	return peer.OwnHost(name, slices.Concat(set.http.Hosts, []string{set.hostname})...) ||
		lim.tls != nil && certifies(lim.tls.Certificates[0].Leaf, name)
}

// certifies tells whether a certificate is for a name.
func certifies(leaf *x509.Certificate, name string) bool {
	return leaf != nil && leaf.VerifyHostname(name) == nil
}
