package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Bounds of sessions.
const (
	maxSessions = 1000           // of all users; the one that was idle for longest ends
	maxOfUser   = 20             // of one
	sessionAge  = 12 * time.Hour // from sign-in, whatever happens
	sessionIdle = time.Hour      // without a request that a person made
)

// Names of the cookie, which the port follows: browsers send cookies to every
// port of a host. The prefix has them refuse one that a neighbouring host, or a
// page without TLS, has set (RFC 6265bis §4.1.3).
const (
	plainCookie  = "postern-console-"
	secureCookie = "__Host-postern-console-"
)

// session is one sign-in.
type session struct {
	user  string
	hash  string // of the password that it was signed in with
	place place  // it is good there alone
	begun time.Time
	used  time.Time
	said  string // for the next page; empty: nothing
}

// sessionKey is what a session is kept under. Who reads it out of memory cannot
// make the cookie of it.
type sessionKey [sha256.Size]byte

// sessions are those that there are. Its methods may be called concurrently.
type sessions struct {
	mu  sync.Mutex // guards all
	all map[sessionKey]*session
}

func newSessions() *sessions { return &sessions{all: map[sessionKey]*session{}} }

// place is where a browser is: a user of this machine, where the kernel tells,
// or, empty, anywhere. Addresses are no places, since those of a browser change.
type place string

// nowhere is a connection of this machine whose user nobody can tell any more.
const nowhere place = "nowhere"

// placeOf is where a client is. Another server on this machine that is sent the
// cookie, as every port of a host is, can do nothing with it as another user.
func placeOf(c *Client) place {
	switch key := c.key(); {
	case key.Unclear():
		return nowhere
	case key.Named():
		return place(key.String())
	}
	return ""
}

// begin makes a session at a place, and the secret of its cookie.
func (s *sessions) begin(user, hash string, at place, now time.Time) (secret string) {
	raw := make([]byte, 32)
	rand.Read(raw)
	secret = base64.RawURLEncoding.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(func(one *session) bool { return one.over(now) })
	if s.count(func(one *session) bool { return one.user == user }) >= maxOfUser {
		s.dropOldest(func(one *session) bool { return one.user == user })
	}
	if len(s.all) >= maxSessions {
		s.dropOldest(func(*session) bool { return true })
	}
	s.all[sha256.Sum256([]byte(secret))] = &session{user: user, hash: hash, place: at, begun: now, used: now}
	return secret
}

// find is the session of a secret at a place; nil: there is none. touched tells
// that a person asks, so that it is not idle.
func (s *sessions) find(secret string, at place, now time.Time, touched bool) *session {
	if secret == "" || at == nowhere {
		return nil
	}
	key := sessionKey(sha256.Sum256([]byte(secret)))
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil || one.place != at {
		return nil
	}
	if one.over(now) {
		delete(s.all, key)
		return nil
	}
	if touched {
		one.used = now
	}
	found := *one
	return &found
}

// say keeps a text for the next page of a session.
func (s *sessions) say(secret, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[sha256.Sum256([]byte(secret))]; one != nil {
		one.said = text
	}
}

// hear is the text that was kept for the next page, once.
func (s *sessions) hear(secret string) (text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[sha256.Sum256([]byte(secret))]; one != nil {
		text, one.said = one.said, ""
	}
	return text
}

// end ends a session.
func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(secret)))
}

func (one *session) over(now time.Time) bool {
	return now.Sub(one.begun) > sessionAge || now.Sub(one.used) > sessionIdle
}

func (s *sessions) drop(which func(*session) bool) {
	for key, one := range s.all {
		if which(one) {
			delete(s.all, key)
		}
	}
}

func (s *sessions) count(which func(*session) bool) (n int) {
	for _, one := range s.all {
		if which(one) {
			n++
		}
	}
	return n
}

// dropOldest ends the one that was idle for longest.
func (s *sessions) dropOldest(which func(*session) bool) {
	var oldest sessionKey
	var used time.Time
	for key, one := range s.all {
		if which(one) && (used.IsZero() || one.used.Before(used)) {
			oldest, used = key, one.used
		}
	}
	delete(s.all, oldest)
}

// cookieName is that of the cookie for a console at a Host: the port in it is the
// one that the browser asks for, which tells two consoles behind one address
// apart.
func cookieName(host string, secure bool) string {
	name, port := plainCookie, "80"
	if secure {
		name, port = secureCookie, "443"
	}
	if _, given, err := net.SplitHostPort(host); err == nil {
		if n, err := strconv.ParseUint(given, 10, 16); err == nil {
			port = strconv.FormatUint(n, 10)
		}
	}
	return name + port
}

// cookie is that of a session of a console at a Host; an empty secret has the
// browser forget it.
func cookie(secret, host string, secure bool) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName(host, secure), Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: secure, MaxAge: int(sessionAge / time.Second),
	}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

// maxSecrets is how many cookies of one name are looked at: another port of the
// host can set some with longer paths, which come first.
const maxSecrets = 5

// secretsOf are the secrets that a request carries, in its order.
func secretsOf(r *http.Request, secure bool) (list []string) {
	for _, c := range r.CookiesNamed(cookieName(r.Host, secure)) {
		if len(list) < maxSecrets {
			list = append(list, c.Value)
		}
	}
	return list
}
