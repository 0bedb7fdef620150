package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"postern/relay/peer"
)

// Rights are what somebody may do; they are bits. The zero value is no right
// at all.
type Rights uint8

// The rights.
const (
	Look    Rights = 1 << iota // see the state, and no content
	Operate                    // read contents, and change things
)

// Principal is who asks.
type Principal struct {
	UID    int    // of the user at the other end; -1: the system does not tell
	User   string // the name of that user, or the number; "operator": the system does not tell
	Rights Rights // of the socket by which the request came
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

func keepConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// principal is who makes a request by a socket that gives rights.
func principal(ctx context.Context, rights Rights) Principal {
	p := Principal{UID: -1, User: "operator", Rights: rights}
	c, _ := ctx.Value(connKey{}).(net.Conn)
	if u, ok := peer.Unwrapped(c).(*net.UnixConn); ok {
		if uid, err := peer.UserID(u); err == nil {
			p.UID = int(uid)
		}
		if name, err := peer.User(u); err == nil && name != "" {
			p.User = name
		}
	}
	return p
}

// request is a request that its route takes.
type request struct {
	*http.Request
	who  Principal
	body []byte // whole; empty where the route reads none
}

// route is one row of the table.
type route struct {
	method string // GET stands for HEAD too
	path   string // segments; {name} is any one that is not empty
	needs  Rights // 0: none
	limit  int64  // of the body in bytes; 0: the route reads none, and refuses one; streamed: it reads the body itself
	answer func(*Server, http.ResponseWriter, *request)
}

// streamed stands for a body of any length.
const streamed = -1

// maxSelection is about 60,000 IDs.
const maxSelection = 1 << 20

// routes is the table of all there is to ask. Of two rows that match a path,
// the first counts.
var routes = []route{
	{"GET", "/metrics", 0, 0, func(s *Server, w http.ResponseWriter, r *request) { s.Scrapes.ServeHTTP(w, r.Request) }},
	{"GET", "/healthz", 0, 0, (*Server).health},
	{"GET", "/v1/status", Look, 0, (*Server).status},
	{"GET", "/v1/queue", Look, 0, (*Server).list},
	{"GET", "/v1/trace", Look, 0, (*Server).trace},
	{"GET", "/v1/alerts", Look, 0, (*Server).alerts},
	{"POST", "/v1/alerts/test", Operate, 0, (*Server).tryAlerts},
	{"GET", "/v1/messages/{id}", Look, 0, (*Server).message},
	{"GET", "/v1/messages/{id}/content", Operate, 0, (*Server).content},
	{"POST", "/v1/queue/{op}", Operate, maxSelection, (*Server).act},
	{"POST", "/v1/adopt", Operate, streamed, (*Server).adopt},
	{"POST", "/v1/upstreams/{name}/forget-tls", Operate, 0, (*Server).forgetTLS},
	{"POST", "/v1/upstreams/{name}/{op}", Operate, 0, (*Server).upstream},
	{"POST", "/v1/reload", Operate, 0, (*Server).reload},
}

func (t *route) methods() []string {
	if t.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{t.method}
}

// find is the route of a request; nil: none takes its method, or, where allowed
// is empty, none its path.
func find(r *http.Request, rights Rights) (found *route, allowed []string) {
	for i := range routes {
		t := &routes[i]
		// Who has no rights is not told what others may do.
		if rights == 0 && t.needs != 0 || !peer.MatchPath(t.path, r) {
			continue
		}
		if slices.Contains(t.methods(), r.Method) {
			return t, nil
		}
		allowed = append(allowed, t.methods()...)
	}
	return nil, slices.Compact(allowed)
}

// with answers by the table those who have rights: 404, 405, 403 and 413 in
// this order, and the handler after them.
func (s *Server) with(rights Rights) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, allowed := find(r, rights)
		switch {
		case t == nil && len(allowed) == 0:
			refuse(w, http.StatusNotFound, errors.New("there is no "+r.URL.Path))
			return
		case t == nil:
			takes := strings.Join(allowed, ", ")
			w.Header().Set("Allow", takes)
			refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%s takes %s, not %s", r.URL.Path, takes, r.Method))
			return
		case rights&t.needs != t.needs:
			refuse(w, http.StatusForbidden, errors.New("by this socket you may look at the state; contents and changes are for those who may use control.socket"))
			return
		}
		body, err := t.read(w, r)
		if err != nil {
			refuse(w, statusOf(err), err)
			return
		}
		t.answer(s, w, &request{r, principal(r.Context(), rights), body})
	})
}

// read reads the body of a request under the limit of its route.
func (t *route) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody || t.limit == streamed {
		return nil, nil
	}
	long := tooLong(t.limit)
	if r.ContentLength > t.limit {
		return nil, long
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, http.MaxBytesReader(w, r.Body, t.limit)); errors.As(err, new(*http.MaxBytesError)) {
		return nil, long
	} else if err != nil {
		return nil, invalid("the body could not be read to its end")
	}
	return b.Bytes(), nil
}

// tooLong is the error of a body that is longer than its route takes.
type tooLong int64

func (limit tooLong) Error() string {
	if limit == 0 {
		return "this request takes no body"
	}
	return fmt.Sprintf("the body is longer than %d bytes", int64(limit))
}
