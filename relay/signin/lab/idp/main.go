// Command idp is the OpenID provider of the lab: the server library of
// zitadel/oidc over its storage in memory, with a user whose address Dovecot
// knows. It is a module of its own, so that nothing of it comes near the
// product.
//
// Beside what a provider does, POST /lab/life?seconds=N sets how long the
// access tokens live that it gives out from now on, and POST
// /lab/revoke?what=access, refresh or both takes back what it has given out.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	address = "127.0.0.1:9998"
	issuer  = "http://localhost:9998"
	// defaultLife is what the library gives an access token.
	defaultLife = 5 * time.Minute
)

func main() {
	storage.RegisterClients(
		storage.NativeClient("native", "http://127.0.0.1/auth/callback"), // any port: RFC 8252 §7.3
		storage.DeviceClient("device", "device-s3cret"))
	s := &store{
		Storage: storage.NewStorage(people{}), life: defaultLife,
		expires: map[string]time.Time{}, owner: map[string]string{},
	}
	mux := http.NewServeMux()
	mux.Handle("/", exampleop.SetupServer(issuer, s, slog.New(slog.NewTextHandler(os.Stderr, nil)), false))
	mux.HandleFunc("POST /lab/life", s.setLife)
	mux.HandleFunc("POST /lab/revoke", s.revoke)
	log.Fatal(http.ListenAndServe(address, mux))
}

// people is who can log in: alice, and the service whose client credentials
// the library has built in, with the same mailbox.
type people struct{}

func (people) GetUserByID(id string) *storage.User {
	return &storage.User{
		ID: id, Username: "alice@postern.test", Password: "alice-at-idp",
		Email: "alice@postern.test", EmailVerified: true,
	}
}

func (p people) GetUserByUsername(name string) *storage.User {
	if name != "alice@postern.test" {
		return nil
	}
	return p.GetUserByID(name)
}

func (people) ExampleClientID() string { return "unused" }

// store is the library's storage, with tokens that live as long as they are
// told to, and with refresh tokens for devices, which the library's example
// cannot redeem.
type store struct {
	*storage.Storage

	mu      sync.Mutex
	life    time.Duration
	expires map[string]time.Time // of access tokens, by ID; a revoked one has the zero time
	owner   map[string]string    // client of each refresh token that is good
}

func (s *store) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, r)
	return id, s.issued(id), err
}

func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	client := ""
	switch r := r.(type) {
	case *op.DeviceAuthorizationState:
		client = r.ClientID
	case interface{ GetClientID() string }:
		client = r.GetClientID()
	}
	id, refresh, _, err := s.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
	if err != nil {
		return "", "", time.Time{}, err
	}
	s.mu.Lock()
	delete(s.owner, current)
	s.owner[refresh] = client
	s.mu.Unlock()
	return id, refresh, s.issued(id), nil
}

func (s *store) issued(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires[id] = time.Now().Add(s.life)
	return s.expires[id]
}

func (s *store) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	client, good := s.owner[token]
	s.mu.Unlock()
	if !good {
		return nil, errors.New("this refresh token was used before, or revoked")
	}
	r, err := s.Storage.TokenRequestByRefreshToken(ctx, token)
	if known, ok := r.(*storage.RefreshTokenRequest); ok {
		known.ApplicationID = client
	}
	return r, err
}

// SetIntrospectionFromToken tells any client that asks: that is the mail
// server.
func (s *store) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, id, subject, _ string) error {
	s.mu.Lock()
	end := s.expires[id]
	s.mu.Unlock()
	if time.Now().After(end) {
		return errors.New("this token has ended, or was revoked")
	}
	info := new(oidc.UserInfo)
	if err := s.Storage.SetUserinfoFromToken(ctx, info, id, subject, ""); err != nil {
		return err
	}
	answer.SetUserInfo(info)
	answer.Expiration = oidc.FromTime(end)
	return nil
}

func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return renewing{c}, nil
}

// renewing is a client that may redeem refresh tokens.
type renewing struct{ op.Client }

func (c renewing) GrantTypes() []oidc.GrantType {
	return append(c.Client.GrantTypes(), oidc.GrantTypeRefreshToken)
}

func (s *store) setLife(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.FormValue("seconds"))
	if err != nil || seconds <= 0 || time.Duration(seconds)*time.Second > defaultLife {
		http.Error(w, "seconds, up to the library's five minutes", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = time.Duration(seconds) * time.Second
}

func (s *store) revoke(w http.ResponseWriter, r *http.Request) {
	what := r.FormValue("what")
	s.mu.Lock()
	defer s.mu.Unlock()
	if what == "access" || what == "both" {
		for id := range s.expires {
			s.expires[id] = time.Time{}
		}
	}
	if what == "refresh" || what == "both" {
		clear(s.owner)
	}
	fmt.Fprintln(w, "revoked:", what)
}
