package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"postern/relay/oauth"
)

// LoginBegun tells that somebody has begun to log in with the provider of an
// upstream.
type LoginBegun struct {
	Client   Client
	User     string
	Upstream string
}

func (*LoginBegun) event() {}

// ShowCode shows the code of a device login, and the address to type it at.
type ShowCode func(address, code string, until time.Time)

// login is one that waits for somebody to type a code.
type login = progress[loggedIn]

// loggedIn is how far a login has come.
type loggedIn struct {
	Address, Code string // empty: the provider was not heard of yet
	Until         time.Time
	State         string // "waits", "done", "refused", or "ended": nobody typed it in time
	Problem       string
}

// Ended tells whether nothing more is to come.
func (l *loggedIn) Ended() bool { return l.State != "waits" }

// logins is how many can wait at a time: each asks its provider every few seconds.
const logins = 4

// beginLogin logs in to the provider of an upstream by a code that somebody types
// elsewhere.
func (s *Server) beginLogin(w http.ResponseWriter, r *request) {
	name, operator := r.PathValue("name"), r.operator()
	select {
	case s.loggingIn <- struct{}{}:
	default:
		s.fail(w, r, http.StatusConflict, errors.New("other logins wait for somebody to type their codes: end one of them, or wait a quarter of an hour"))
		return
	}
	s.Events(&LoginBegun{*r.client, r.user.Name, name})
	ctx, cancel := context.WithTimeout(s.ctx, draftAge)
	l := newProgress(loggedIn{State: "waits"})
	s.walks.Go(func() {
		defer func() { cancel(); <-s.loggingIn }()
		err := s.walkSafely(func() error {
			return s.Login(ctx, name, operator, func(address, code string, until time.Time) {
				l.set(func(in *loggedIn) { in.Address, in.Code, in.Until = address, code, until })
			})
		})
		l.set(func(in *loggedIn) { in.State, in.Problem = outcomeOf(err) })
	})
	http.Redirect(w, r.Request, "/logins/"+s.drafts.add(r.secret, &draft{login: l, cancel: cancel, test: name}), http.StatusSeeOther)
}

// outcomeOf says how a login ended.
func outcomeOf(err error) (state, problem string) {
	var e *oauth.Error
	switch {
	case err == nil:
		return "done", ""
	case errors.Is(err, context.Canceled):
		return "ended", "it was given up"
	case errors.As(err, &e) && e.Kind == oauth.NeedsLogin, errors.Is(err, context.DeadlineExceeded):
		return "ended", "nobody typed the code in time"
	}
	return "refused", err.Error()
}

// loginPage is the page of a login.
type loginPage struct {
	ID, Upstream string
	In           *loggedIn
}

// loginOf is a login of the session; nil: an answer was given.
func (s *Server) loginOf(w http.ResponseWriter, r *request) *draft {
	d := s.drafts.find(r.PathValue("id"), r.secret)
	if d == nil || d.login == nil {
		s.fail(w, r, http.StatusNotFound, errors.New("this login is over: begin it again"))
		return nil
	}
	return d
}

func (s *Server) login(w http.ResponseWriter, r *request) {
	if d := s.loginOf(w, r); d != nil {
		state := d.login.now()
		s.page(w, r, http.StatusOK, "login", "Login of upstream "+d.test, &loginPage{r.PathValue("id"), d.test, state})
	}
}

// loginStream has that page go on.
func (s *Server) loginStream(w http.ResponseWriter, r *request) {
	d := s.loginOf(w, r)
	if d == nil {
		return
	}
	s.stream(w, r, keepAlive, func() (update, <-chan struct{}) {
		state, changed := d.login.follow()
		text, err := s.fragment("login", "live", s.shown(r, "", &loginPage{r.PathValue("id"), d.test, state}))
		if err != nil {
			return update{last: true}, nil
		}
		return update{event: "part", data: text, last: state.Ended()}, changed
	})
}

// endLogin ends one that waits.
func (s *Server) endLogin(w http.ResponseWriter, r *request) {
	if d := s.loginOf(w, r); d != nil {
		d.cancel()
		s.sessions.say(r.secret, "The login has ended.")
		http.Redirect(w, r.Request, "/upstreams/"+d.test, http.StatusSeeOther)
	}
}
