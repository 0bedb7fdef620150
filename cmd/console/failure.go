package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/config"
)

// failed is a page that says what is wrong.
type failed struct {
	Text  string
	Leads []lead
}

// fail answers with a page that says what is wrong, and leads to where the work
// goes on.
func (s *Server) fail(w http.ResponseWriter, r *request, status int, err error) {
	s.failTo(w, r, status, err, s.waysOn(r, status)...)
}

// failTo is fail with a choice of where the page leads, besides to the overview.
func (s *Server) failTo(w http.ResponseWriter, r *request, status int, err error, to ...lead) {
	r.Header.Del("X-Live") // it is a whole page
	s.page(w, r, status, "fail", failureTitle(status), &failed{sentenceOf(err.Error()), to})
}

// failureTitle is the title of a page that says what is wrong, for people who have
// never heard of a status.
func failureTitle(status int) string {
	switch status {
	case http.StatusForbidden:
		return "This is not allowed"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable:
		return "There is no such page"
	case http.StatusConflict:
		return "This cannot be done"
	case http.StatusRequestEntityTooLarge:
		return "This is too much"
	case http.StatusMisdirectedRequest:
		return "This console has another name"
	case http.StatusServiceUnavailable:
		return "This does not work at the moment"
	}
	return "This cannot be used"
}

// sentenceOf is the words of an error, which begin small and have no stop, as a
// sentence. Names and keys at its beginning stay as they are.
func sentenceOf(text string) string {
	text = strings.TrimSpace(text)
	first, _, _ := strings.Cut(text, " ")
	if first != "" && strings.IndexFunc(strings.TrimSuffix(first, ","), func(c rune) bool { return !unicode.IsLower(c) && c != '\'' }) < 0 {
		text = capital(text)
	}
	if last, _ := utf8.DecodeLastRuneInString(text); unicode.IsLetter(last) || unicode.IsDigit(last) || strings.ContainsRune(")\"'”`", last) {
		text += "."
	}
	return text
}

// waysOn lead to where whoever met with a failure finds what is there now: to what
// has changed meanwhile, to the same page where it may work in a while, to the list
// that the thing would be in.
func (s *Server) waysOn(r *request, status int) (ways []lead) {
	switch {
	case r.user == nil || status == http.StatusMisdirectedRequest: // or asks by a name that is not ours
		return nil
	case status == http.StatusConflict:
		ways = s.leads(r)
	case status == http.StatusServiceUnavailable && r.Method == http.MethodGet:
		ways = []lead{{local(r.URL.RequestURI()), "Try again"}}
	}
	section, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if i := slices.IndexFunc(sections, func(of sectionOf) bool { return slices.Contains(of.paths, section) }); i >= 0 && len(ways) == 0 {
		if of := &sections[i]; r.may(of.needs) && (r.Method != http.MethodGet || r.URL.RequestURI() != of.list.Path) {
			ways = append(ways, of.list)
		}
	}
	return ways
}

// sectionOf says which list the pages of some paths are about.
type sectionOf struct {
	paths []string // their first segments
	needs config.Role
	list  lead
}

var sections = []sectionOf{
	{[]string{"queue", "messages"}, config.RoleLook, lead{"/queue", "The queue"}},
	{[]string{"events"}, config.RoleLook, lead{"/events", "Events"}},
	{[]string{"upstreams", "tests", "logins"}, config.RoleLook, lead{"/upstreams", "Upstreams"}},
	{[]string{"captured"}, config.RoleOperate, lead{"/captured", "Captured mail"}},
	{[]string{"routes"}, config.RoleLook, lead{"/routes", "Routes"}},
	{[]string{"books"}, config.RoleLook, lead{"/books", "Address books"}},
	{[]string{"message-files", "made"}, config.RoleOperate, lead{"/message-files", "Message files"}},
	{[]string{"definitions", "drafts"}, config.RoleDefine, lead{"/definitions", "All definitions"}},
	{[]string{"trace"}, config.RoleLook, lead{"/trace", "Trace"}},
}

// maxBack is how long the address of a page may be that a sign-in leads back to,
// in bytes.
const maxBack = 2000

// signInPath leads to the form of the sign-in, and from there to the page that
// was asked for.
func signInPath(r *request) string {
	back := ""
	switch {
	case r.Header.Get("HX-Request") != "": // by a part of it
		if u, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil {
			back = u.RequestURI()
		}
	case r.Method == http.MethodGet:
		back = r.URL.RequestURI()
	}
	if back = local(back); back == "/" || len(back) > maxBack {
		return "/sign-in"
	}
	return "/sign-in?" + url.Values{"back": {back}}.Encode()
}
