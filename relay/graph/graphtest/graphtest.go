// Package graphtest has a server for tests that answers as Microsoft Graph does.
package graphtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Server answers as Microsoft's documents of Graph v1.0 say.
type Server struct {
	*httptest.Server
	t testing.TB

	// What follows is set before the server is asked, or with it locked.
	Data map[string][]map[string]any // by the path below v1.0
	Page int                         // entries of one; 0: $top
	// Good tells whether a token may ask; nil: "good" may.
	Good func(token string) bool
	// Instead answers in place of the server; false: it does not.
	Instead func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	asked []*http.Request
}

// Lock keeps questions out until the function that it returns is called.
func (f *Server) Lock() (unlock func()) {
	f.mu.Lock()
	return f.mu.Unlock
}

// Asked are the questions so far.
func (f *Server) Asked() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// Person is a user as Graph tells of one.
func Person(id, name, mail string, more ...string) map[string]any {
	given, surname, _ := strings.Cut(name, " ")
	p := map[string]any{
		"@odata.type": "#microsoft.graph.user", "id": id, "displayName": name, "givenName": given, "surname": surname, "mail": mail,
		"mailNickname": strings.ToLower(given), "userPrincipalName": strings.ToLower(given) + "@login.example", "companyName": nil, "showInAddressList": nil,
		"proxyAddresses": append([]string{"SMTP:" + mail}, more...),
	}
	if mail == "" {
		p["mail"], p["proxyAddresses"] = nil, []string{}
	}
	return p
}

// Group is one.
func Group(id, name, mail string) map[string]any {
	return map[string]any{
		"@odata.type": "#microsoft.graph.group", "id": id, "displayName": name, "mail": mail, "mailNickname": strings.ToLower(name), "mailEnabled": mail != "",
		"proxyAddresses": []string{"SMTP:" + mail},
	}
}

// New starts one with a few users, contacts and groups, and a mailbox.
func New(t testing.TB) *Server {
	hidden := Person("9", "Alice Hidden", "hidden@corp.test")
	hidden["showInAddressList"] = false
	contact := Person("c1", "Ali Outside", "ali@partner.test")
	contact["@odata.type"] = "#microsoft.graph.orgContact"
	f := &Server{t: t, Data: map[string][]map[string]any{
		"/users": {
			Person("1", "Alice Liddell", "alice@corp.test", "smtp:liddell@corp.test"), Person("2", "Bob O'Brien", "bob@corp.test"),
			Person("3", "Twin Same", "twin1@corp.test"), Person("4", "Twin Same", "twin2@corp.test"), Person("5", "Admin Only", ""), hidden,
		},
		"/contacts": {contact},
		"/groups":   {Group("g1", "Sales", "sales@corp.test"), Group("g2", "Secure", "")},
		"/groups/g1/transitiveMembers": {
			Person("1", "Alice Liddell", "alice@corp.test"), Group("g3", "Inner", ""), Person("2", "Bob O'Brien", "bob@corp.test"),
			Person("1b", "Alice Again", "ALICE@corp.test"), contact, Person("5", "Admin Only", ""),
			{"@odata.type": "#microsoft.graph.device", "id": "d", "displayName": "PC"},
		},
		"/users/office@corp.test/contacts": {
			{"id": "m1", "displayName": "Carol Customer", "nickName": "cc", "emailAddresses": []map[string]any{{"name": "C", "address": "carol@customer.test"}}},
			{"id": "m2", "displayName": "No Mail", "emailAddresses": []map[string]any{}},
		},
	}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

// Deny answers as Microsoft does that says no.
func Deny(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": message}})
}

func (f *Server) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r)
	if f.Instead != nil && f.Instead(w, r) {
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if f.Good == nil && token != "good" || f.Good != nil && !f.Good(token) {
		Deny(w, 401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v1.0")
	all, known := f.Data[path]
	if !ok || !known {
		Deny(w, 404, "Request_ResourceNotFound", "Resource does not exist.")
		return
	}
	q := r.URL.Query()
	if q.Get("$search") != "" && r.Header.Get("ConsistencyLevel") != "eventual" {
		Deny(w, 400, "Request_UnsupportedQuery", "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
		return
	}
	var hits []map[string]any
	for _, e := range all {
		ok, err := matches(e, q)
		if err != nil {
			f.t.Error(err)
			Deny(w, 400, "Request_BadRequest", err.Error())
			return
		}
		if ok {
			hits = append(hits, selected(e, q.Get("$select")))
		}
	}
	skip, _ := strconv.Atoi(q.Get("$skiptoken"))
	top, _ := strconv.Atoi(q.Get("$top"))
	if f.Page > 0 {
		top = min(top, f.Page)
	}
	out := map[string]any{"@odata.context": "x", "value": hits[min(skip, len(hits)):min(skip+top, len(hits))]}
	if q.Get("$count") == "true" {
		out["@odata.count"] = len(hits)
	}
	if skip+top < len(hits) {
		q.Set("$skiptoken", strconv.Itoa(skip+top))
		out["@odata.nextLink"] = f.URL + r.URL.Path + "?" + q.Encode()
	}
	json.NewEncoder(w).Encode(out)
}

// selected are the fields of $select, and the type.
func selected(e map[string]any, fields string) map[string]any {
	out := map[string]any{}
	for _, name := range append(strings.Split(fields, ","), "@odata.type") {
		if v, ok := e[name]; ok {
			out[name] = v
		}
	}
	return out
}

var (
	searched = regexp.MustCompile(`"(\w+):((?:[^"\\]|\\.)*)"`)
	equal    = regexp.MustCompile(`^(\w+) eq '((?:[^']|'')*)'$`)
	begins   = regexp.MustCompile(`^startswith\((\w+),'((?:[^']|'')*)'\)$`)
	proxied  = regexp.MustCompile(`^proxyAddresses/any\(a:a eq '((?:[^']|'')*)'\)$`)
)

// matches evaluates $search and $filter as far as they are used.
func matches(e map[string]any, q url.Values) (bool, error) {
	value := func(field string) string { s, _ := e[field].(string); return strings.ToLower(s) }
	text := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "''", "'")) }
	if s := q.Get("$search"); s != "" {
		for _, m := range searched.FindAllStringSubmatch(s, -1) {
			want := strings.ToLower(strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2]))
			for word := range strings.FieldsSeq(value(m[1])) {
				if strings.HasPrefix(word, want) {
					return true, nil
				}
			}
		}
		return false, nil
	}
	filter := q.Get("$filter")
	if filter == "" {
		return true, nil
	}
	for _, c := range clauses(filter) {
		switch {
		case c == "mail ne null":
			return e["mail"] != nil, nil
		case c == "mailEnabled eq true":
			return e["mailEnabled"] == true, nil
		case equal.MatchString(c):
			m := equal.FindStringSubmatch(c)
			if value(m[1]) == text(m[2]) {
				return true, nil
			}
		case begins.MatchString(c):
			m := begins.FindStringSubmatch(c)
			if strings.HasPrefix(value(m[1]), text(m[2])) {
				return true, nil
			}
		case proxied.MatchString(c):
			want := text(proxied.FindStringSubmatch(c)[1])
			list, _ := e["proxyAddresses"].([]string)
			if slices.ContainsFunc(list, func(p string) bool { return strings.ToLower(p) == want }) {
				return true, nil
			}
		default:
			return false, fmt.Errorf("invalid filter clause: %s", c)
		}
	}
	return false, nil
}

// clauses are what " or " joins outside of quotes.
func clauses(filter string) (all []string) {
	quoted, from := false, 0
	for i := range filter {
		switch {
		case filter[i] == '\'':
			quoted = !quoted
		case !quoted && strings.HasPrefix(filter[i:], " or "):
			all, from = append(all, filter[from:i]), i+len(" or ")
		}
	}
	return append(all, filter[from:])
}
