package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
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

// Names of the cookie. The prefix has browsers refuse one that a neighbouring
// host, or a page without TLS, has set (RFC 6265bis §4.1.3).
const (
	plainCookie  = "postern-console"
	secureCookie = "__Host-postern-console"
)

// session is one sign-in.
type session struct {
	user  string
	hash  string // of the password that it was signed in with
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

// begin makes a session, and the secret of its cookie.
func (s *sessions) begin(user, hash string, now time.Time) (secret string) {
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
	s.all[sha256.Sum256([]byte(secret))] = &session{user: user, hash: hash, begun: now, used: now}
	return secret
}

// find is the session of a secret; nil: there is none. touched tells that a
// person asks, so that it is not idle.
func (s *sessions) find(secret string, now time.Time, touched bool) *session {
	if secret == "" {
		return nil
	}
	key := sessionKey(sha256.Sum256([]byte(secret)))
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil {
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

// cookie is that of a session; an empty secret has the browser forget it.
func cookie(secret string, secure bool) *http.Cookie {
	c := &http.Cookie{
		Name: plainCookie, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(sessionAge / time.Second),
	}
	if secure {
		c.Name, c.Secure = secureCookie, true
	}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

// secretOf is the secret that a request carries; empty: none.
func secretOf(r *http.Request, secure bool) string {
	name := plainCookie
	if secure {
		name = secureCookie
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}
