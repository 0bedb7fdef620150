package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"postern/config"
	"postern/relay/peer"
)

// route is one row of the table.
type route struct {
	method string // GET stands for HEAD too
	path   string // segments; {name} is any one that is not empty
	needs  config.Role
	answer func(*Server, http.ResponseWriter, *request)
}

var errNoPage = errors.New("nothing is at this address")

// nobody is for what needs no sign-in.
const nobody config.Role = ""

// routes is the table of all there is to ask. Of two rows that match a path,
// the first counts.
var routes = []route{
	{"GET", "/assets/{name}", nobody, (*Server).asset},
	{"GET", "/sign-in", nobody, (*Server).signInPage},
	{"POST", "/sign-in", nobody, (*Server).signIn},
	{"POST", "/sign-out", config.RoleLook, (*Server).signOut},
	{"GET", "/", config.RoleLook, (*Server).overview},
	{"GET", "/stream", config.RoleLook, (*Server).overviewStream},
	{"GET", "/trend", config.RoleLook, (*Server).charted},
	{"GET", "/events", config.RoleLook, (*Server).events},
	{"GET", "/events/stream", config.RoleLook, (*Server).eventStream},
	{"GET", "/queue", config.RoleLook, (*Server).queueList},
	{"POST", "/queue/{op}", config.RoleOperate, (*Server).act},
	{"GET", "/messages/{id}", config.RoleLook, (*Server).message},
	{"GET", "/messages/{id}/life", config.RoleLook, (*Server).life},
	{"GET", "/messages/{id}/source", config.RoleOperate, (*Server).source},
	{"GET", "/trace", config.RoleLook, (*Server).trace},
	{"GET", "/upstreams", config.RoleLook, (*Server).upstreams},
	{"GET", "/upstreams/{name}", config.RoleLook, (*Server).upstream},
	{"POST", "/upstreams/{name}/test", config.RoleOperate, (*Server).testUpstream},
	{"GET", "/tests/{id}", config.RoleOperate, (*Server).test},
	{"GET", "/tests/{id}/stream", config.RoleOperate, (*Server).testStream},
	{"POST", "/upstreams/{name}/login", config.RoleOperate, (*Server).beginLogin},
	{"GET", "/logins/{id}", config.RoleOperate, (*Server).login},
	{"GET", "/logins/{id}/stream", config.RoleOperate, (*Server).loginStream},
	{"POST", "/logins/{id}/end", config.RoleOperate, (*Server).endLogin},
	{"POST", "/upstreams/{name}/{op}", config.RoleOperate, (*Server).operateUpstream},
	{"GET", "/captured", config.RoleOperate, (*Server).captured},
	{"POST", "/captured/remove", config.RoleOperate, (*Server).removeCaptured},
	{"GET", "/captured/{name}", config.RoleOperate, (*Server).letter},
	{"GET", "/captured/{name}/newer", config.RoleOperate, (*Server).newer},
	{"GET", "/captured/{name}/html", config.RoleOperate, (*Server).frame},
	{"GET", "/captured/{name}/source", config.RoleOperate, (*Server).rawCaptured},
	{"GET", "/captured/{name}/parts/{part}", config.RoleOperate, (*Server).part},
	{"POST", "/captured/{name}/release", config.RoleOperate, (*Server).sendOn},
	{"GET", "/routes", config.RoleLook, (*Server).routing},
	{"GET", "/books", config.RoleLook, (*Server).bookList},
	{"GET", "/books/{name}", config.RoleLook, (*Server).bookCheck},
	{"GET", "/books/{name}/entry", config.RoleLook, (*Server).bookEntry},
	{"GET", "/books/{name}/group", config.RoleLook, (*Server).bookGroup},
	{"GET", "/books/{name}/new", config.RoleOperate, inFolder((*Server).newPerson)},
	{"GET", "/books/{name}/change", config.RoleOperate, inFolder((*Server).changePerson)},
	{"POST", "/books/{name}/save", config.RoleOperate, inFolder((*Server).savePerson)},
	{"POST", "/books/{name}/card", config.RoleOperate, ofCard((*Server).saveCard)},
	{"POST", "/books/{name}/remove", config.RoleOperate, ofCard((*Server).removeCard)},
	{"POST", "/books/{name}/members/{op}", config.RoleOperate, inFolder((*Server).changeMembers)},
	{"GET", "/message-files", config.RoleOperate, (*Server).messageFiles},
	{"GET", "/message-files/{name}", config.RoleOperate, (*Server).messageFile},
	{"POST", "/message-files/{name}", config.RoleOperate, (*Server).fillFile},
	{"GET", "/made/{id}/{n}", config.RoleOperate, (*Server).preview},
	{"GET", "/made/{id}/{n}/html", config.RoleOperate, (*Server).previewFrame},
	{"GET", "/made/{id}/{n}/source", config.RoleOperate, (*Server).previewSource},
	{"GET", "/made/{id}/{n}/parts/{part}", config.RoleOperate, (*Server).previewPart},
	{"POST", "/made/{id}/send", config.RoleOperate, (*Server).sendMade},
	{"GET", "/definitions", config.RoleDefine, (*Server).definitions},
	{"GET", "/definitions/{kind}", config.RoleDefine, (*Server).defineForm},
	{"POST", "/definitions/{kind}", config.RoleDefine, (*Server).tryDefinition},
	{"POST", "/definitions/{kind}/remove", config.RoleDefine, (*Server).removeDefinition},
	{"GET", "/drafts/{id}", config.RoleDefine, (*Server).draft},
	{"POST", "/drafts/{id}/save", config.RoleDefine, (*Server).keep},
	{"POST", "/alerts/test", config.RoleOperate, (*Server).testAlerts},
	{"POST", "/reload", config.RoleDefine, (*Server).reload},
}

func (t *route) methods() []string {
	if t.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{t.method}
}

// route answers by the table. Whoever has not signed in learns of no path.
func (s *Server) route(w http.ResponseWriter, r *request) {
	r.user = s.signedIn(r)
	var found *route
	var allowed []string
	for i := range routes {
		t := &routes[i]
		if !peer.MatchPath(t.path, r.Request) {
			continue
		}
		if slices.Contains(t.methods(), r.Method) {
			found = t
			break
		}
		allowed = append(allowed, t.methods()...)
	}
	switch {
	case r.user == nil && (found == nil || found.needs != nobody):
		if r.Header.Get("HX-Request") != "" { // a part of a page whose session is over
			w.Header().Set("HX-Redirect", signInPath(r))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r.Request, signInPath(r), http.StatusSeeOther)
	case found == nil && len(allowed) > 0:
		takes := strings.Join(allowed, ", ")
		w.Header().Set("Allow", takes)
		s.fail(w, r, http.StatusMethodNotAllowed, errors.New("this address is that of a form: open the page that has it"))
	case found == nil:
		s.fail(w, r, http.StatusNotFound, errNoPage)
	case found.needs != nobody && !r.may(found.needs):
		s.fail(w, r, http.StatusForbidden, fmt.Errorf("this is for users with the role %s, and yours is %s", found.needs, r.user.Role))
	default:
		if err := r.ParseForm(); err != nil {
			status, text := http.StatusBadRequest, "the form cannot be read"
			if errors.As(err, new(*http.MaxBytesError)) {
				status, text = http.StatusRequestEntityTooLarge, "the form is too long"
			}
			s.fail(w, r, status, errors.New(text))
			return
		}
		found.answer(s, w, r)
	}
}
