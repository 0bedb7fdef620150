package console

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/cmd/explanation"
	"postern/config"
)

// routed is the page of the routes, with the answer to a question about them.
type routed struct {
	Routes    []shownRoute
	Listeners []string
	Question  question
	Answer    string // lines, as `postern explain` prints them; empty: nothing was asked
	Refused   bool
	Problem   string
	// Unasked: there are address books that were not asked, since who looks may not
	// see them.
	Unasked bool
}

// question is the form, as it was filled in.
type question struct{ From, To, Listener, User, UnixUser, Header string }

// shownRoute is one route in words.
type shownRoute struct {
	Name, Where string
	If          []string // conditions, all of which have to hold
	To          string
	More        []string
}

const (
	explainFor  = 20 * time.Second // for an answer, with those before it: address books may be asked
	explainers  = 2                // at a time
	maxQuestion = 2000             // bytes of a name or an address of a question
	maxFields   = 100              // of a header
)

// routing shows the routes in force, and answers a question as `postern explain`
// does, but by the address books alone that who asks may see: not even whether
// somebody is in another one can be found out by asking.
func (s *Server) routing(w http.ResponseWriter, r *request) {
	cfg := s.Config()
	page := &routed{Routes: routesOf(cfg), Listeners: explanation.Listeners(cfg)}
	f := r.Form
	page.Question = question{f.Get("from"), f.Get("to"), f.Get("listener"), f.Get("user"), f.Get("unix_user"), f.Get("header")}
	if f.Has("from") {
		seen := *cfg
		seen.Books = slices.DeleteFunc(slices.Clone(cfg.Books), func(b config.Book) bool { return !b.AllowsConsole(r.user.Name) })
		page.Unasked = len(seen.Books) < len(cfg.Books)
		s.explain(r.Context(), &seen, page)
	}
	s.page(w, r, http.StatusOK, "routing", "Routes", page)
}

func (s *Server) explain(ctx context.Context, cfg *config.Config, page *routed) {
	ctx, cancel := context.WithTimeout(ctx, explainFor)
	defer cancel()
	select {
	case s.explaining <- struct{}{}:
		defer func() { <-s.explaining }()
	case <-ctx.Done():
		page.Problem = "Others are asking. Try again in a while."
		return
	}
	q, err := page.Question.query(page.Listeners)
	if err != nil {
		page.Problem = err.Error()
		return
	}
	answer, err := explanation.Of(ctx, cfg, q, s.Tokens)
	if err != nil {
		page.Problem = err.Error()
		return
	}
	page.Answer, page.Refused = answer.String(), answer.Refused || answer.Refusal != nil
}

// query is the question for the routes.
func (q *question) query(listeners []string) (explanation.Question, error) {
	out := explanation.Question{From: bare(q.From), To: bare(q.To), Listener: q.Listener, User: q.User, UnixUser: q.UnixUser}
	for _, text := range []string{q.From, q.To, q.User, q.UnixUser} {
		if len(text) > maxQuestion {
			return out, errors.New("this is too long for a name or an address")
		}
	}
	if strings.TrimSpace(q.From) == "" {
		return out, errors.New("the sender is missing: an address, or <> for the null sender")
	}
	if q.Listener != "" && !slices.Contains(listeners, q.Listener) {
		return out, errors.New("there is no such listener")
	}
	fields := 0
	for line := range strings.Lines(q.Header) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if fields++; !ok || strings.TrimSpace(name) == "" || fields > maxFields {
			return out, errors.New("a field of the header has the form Name: value, each on a line, and there are " + strconv.Itoa(maxFields) + " at most")
		}
		if out.Header == nil {
			out.Header = textproto.MIMEHeader{}
		}
		out.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return out, nil
}

// bare takes an address out of its angle brackets.
func bare(address string) string {
	address = strings.TrimSpace(address)
	if strings.HasPrefix(address, "<") && strings.HasSuffix(address, ">") {
		return address[1 : len(address)-1]
	}
	return address
}

func routesOf(cfg *config.Config) (list []shownRoute) {
	for i := range cfg.Routes {
		list = append(list, inWords(&cfg.Routes[i]))
	}
	return list
}

func inWords(t *config.Route) shownRoute {
	out := shownRoute{Name: t.Name, To: strings.Join(t.Upstream, ", then ")}
	if t.Line > 0 {
		out.Where = "line " + strconv.Itoa(t.Line)
		if t.File != "" {
			out.Where += " of " + t.File
		}
	}
	if t.Reject != "" {
		out.To = "refused: " + t.Reject
	}
	add := func(list *[]string, name string, values []string) {
		if len(values) > 0 {
			*list = append(*list, name+" "+strings.Join(values, " or "))
		}
	}
	add(&out.If, "from", t.From)
	add(&out.If, "to", t.To)
	add(&out.If, "listener", t.Listener)
	add(&out.If, "user", t.User)
	add(&out.If, "unix user", t.UnixUser)
	for _, name := range slices.Sorted(maps.Keys(t.Header)) {
		add(&out.If, "field "+name, t.Header[name])
	}
	add(&out.More, "redirected to", t.Redirect)
	add(&out.More, "goes out only to", t.AllowTo)
	if t.Otherwise != "" && len(t.AllowTo) > 0 && len(t.Redirect) == 0 {
		out.More = append(out.More, "to others: "+string(t.Otherwise))
	}
	add(&out.More, "copy for", t.Archive)
	if t.Priority != nil {
		out.More = append(out.More, "priority "+strconv.Itoa(*t.Priority))
	}
	if t.Expect > 0 {
		out.More = append(out.More, "an alert tells when it takes no mail for "+config.RoughDuration(t.Expect))
	}
	return out
}
