package console

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/passwd"
)

// gate is what keeps those out who guess: the turns of what takes a processor,
// and the limits of wrong passwords.
type gate struct {
	checks  *origin.Turns // of passwords, which take tens of milliseconds each
	shakes  *origin.Turns // of TLS handshakes, which take about 1 ms each
	guesses *origin.Guesses
}

func newGate() *gate {
	return &gate{
		checks:  origin.NewTurns(runtime.GOMAXPROCS(0) / 2),
		shakes:  origin.NewTurns(runtime.GOMAXPROCS(0)),
		guesses: origin.NewGuesses(remembered),
	}
}

const (
	remembered  = 10_000           // origins, and users, that are kept in mind
	turnTimeout = 30 * time.Second // for a check to come to its turn
	penalty     = time.Second      // before a wrong password is answered
	maxName     = 200              // bytes of a name
	maxPassword = 1024             // bytes of a password
)

// check finds the user of a name and a password; nil: they are wrong, or, where
// busy, there was no turn.
func (g *gate) check(ctx context.Context, c *config.Console, from origin.Key, name, password string) (u *config.ConsoleUser, busy bool) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	wait, ok := g.guesses.Wait(from, name, time.Now())
	if !ok || !origin.Pause(ctx, wait) || g.checks.Take(ctx, from) != nil {
		return nil, true
	}
	defer g.checks.Give()
	u = c.Users[name]
	stored := storedOf(c, u)
	if stored == nil || !stored.Check(password) || u == nil {
		g.guesses.Failed(from, name, time.Now())
		return nil, false
	}
	g.guesses.Succeeded(from, name)
	return u, false
}

// storedOf is what a password is compared with. For a user who doesn't exist it
// is one that takes as long as another's, and that no password matches.
func storedOf(c *config.Console, u *config.ConsoleUser) *passwd.Stored {
	if u != nil {
		stored, _ := passwd.Parse(u.Password) // which config has looked at
		return stored
	}
	for _, name := range c.UserNames() {
		if stored, err := passwd.Parse(c.Users[name].Password); err == nil {
			return stored.Decoy()
		}
	}
	return nil
}

// signInPage shows the form, or leads on whoever needs none.
func (s *Server) signInPage(w http.ResponseWriter, r *request) {
	if r.user != nil {
		http.Redirect(w, r.Request, local(r.Form.Get("back")), http.StatusSeeOther)
		return
	}
	s.page(w, r, http.StatusOK, "signin", "Sign in", signInForm{Back: local(r.Form.Get("back"))})
}

// signInForm is what the form shows.
type signInForm struct{ Name, Problem, Back string }

func (s *Server) signIn(w http.ResponseWriter, r *request) {
	name, password, back := r.PostFormValue("name"), r.PostFormValue("password"), local(r.PostFormValue("back"))
	if len(name) > maxName || len(password) > maxPassword {
		name, password = "", ""
	}
	u, busy := s.gate.check(r.Context(), r.set.console, r.client.key(), name, password)
	switch {
	case busy:
		s.Events(&SignInFailed{*r.client, name, "too many wrong passwords"})
		s.page(w, r, http.StatusTooManyRequests, "signin", "Sign in", signInForm{name, "There were too many wrong passwords from your address. Wait a while.", back})
	case u == nil:
		s.Events(&SignInFailed{*r.client, name, "wrong password"})
		origin.Pause(r.Context(), penalty)
		s.page(w, r, http.StatusForbidden, "signin", "Sign in", signInForm{name, "The name or the password is wrong.", back})
	default:
		s.Events(&SignedIn{*r.client, u.Name, u.Role})
		s.sessions.end(r.secret) // one that somebody else may know
		http.SetCookie(w, cookie(s.sessions.begin(u.Name, u.Password, placeOf(r.client), time.Now()), r.Host, r.secure()))
		http.Redirect(w, r.Request, back, http.StatusSeeOther)
	}
}

func (s *Server) signOut(w http.ResponseWriter, r *request) {
	s.sessions.end(r.secret)
	s.Events(&SignedOut{*r.client, r.user.Name})
	http.SetCookie(w, cookie("", r.Host, r.secure()))
	http.Redirect(w, r.Request, "/sign-in", http.StatusSeeOther)
}

// key is whose connection it is.
func (c *Client) key() origin.Key {
	if c.Connection == nil {
		return origin.Key{}
	}
	return c.Connection()
}
