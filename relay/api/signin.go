package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/relay/origin"
)

// gate is what keeps those out who guess: the turns of what takes a processor,
// and the limits of wrong tokens.
type gate struct {
	checks  *origin.Turns // of tokens with slow hashes, which take 20 ms of a processor each
	shakes  *origin.Turns // of TLS handshakes, which take about 1 ms each
	guesses *origin.Guesses
}

// remembered is how many origins, and tokens, are kept in mind.
const remembered = 10_000

func newGate() *gate {
	return &gate{
		checks:  origin.NewTurns(runtime.GOMAXPROCS(0) / 2),
		shakes:  origin.NewTurns(runtime.GOMAXPROCS(0)),
		guesses: origin.NewGuesses(remembered),
	}
}

// How long a check of a token waits for its turn, and a client that gave none,
// or a wrong one, for its answer.
const (
	turnTimeout = 30 * time.Second
	penalty     = time.Second
)

// maxToken bounds what is taken for a token, in bytes.
const maxToken = 1024

// check finds the token that a client gave; fresh: it was not known before.
// Nil: it is wrong, or, where busy, there was no turn.
func (g *gate) check(ctx context.Context, t *tokens, from origin.Key, secret string) (found *token, fresh, busy bool) {
	d := t.digest([]byte(secret))
	name := hex.EncodeToString(d[:8]) // for the limits of guesses; tokens have no name that a client would say
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	if wait, ok := g.guesses.Wait(from, name, time.Now()); !ok || !origin.Pause(ctx, wait) {
		return nil, false, true
	}
	found, wrong := t.look(d, secret)
	if found == nil && !wrong {
		if g.checks.Take(ctx, from) != nil {
			return nil, false, true
		}
		defer g.checks.Give()
		if found, wrong = t.look(d, secret); found == nil && !wrong { // another request may have asked meanwhile
			found = t.compare(d, secret)
		}
	}
	if found == nil {
		g.guesses.Failed(from, name, time.Now())
		return nil, false, false
	}
	g.guesses.Succeeded(from, name)
	return found, t.learn(d, found), false
}

// credential is the token that a request carries, wherever its dialect puts it.
func credential(r *http.Request) string {
	if secret := r.Header.Get("X-Postmark-Server-Token"); secret != "" {
		return secret
	}
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest)
	}
	_, password, _ := r.BasicAuth()
	return password
}

// signIn finds out who sends. By the unix socket that is a user of this machine
// and no token is needed; one that is given has to be right all the same.
func (r *request) signIn() *failure {
	secret := credential(r.Request)
	if secret == "" && r.client.Listener == config.SubmitListener {
		return nil
	}
	g := r.server.gate
	if len(r.Header["Authorization"])+len(r.Header["X-Postmark-Server-Token"]) > 1 {
		return r.turnAway(wrongKey, "more than one token")
	}
	if secret == "" {
		return r.turnAway(missingKey, "no token")
	}
	if len(secret) > maxToken {
		return r.turnAway(wrongKey, "a token of more than 1,024 bytes")
	}
	found, fresh, busy := g.check(r.Context(), r.settings.tokens, r.client.Connection(), secret)
	switch {
	case busy:
		return tooManyGuesses
	case found == nil:
		return r.turnAway(wrongKey, "wrong token")
	}
	r.token = found
	r.client.User, r.client.Token, r.client.Senders = found.name, true, found.senders
	if fresh {
		r.server.events(&SignedIn{&r.client})
	}
	return nil
}

// turnAway answers after a while, as a failed AUTH is.
func (r *request) turnAway(f *failure, why string) *failure {
	r.server.events(&SignInFailed{&r.client, why})
	origin.Pause(r.Context(), penalty)
	return f
}

// speaks tells whether whoever sent the request may do so in a dialect.
func (r *request) speaks(d config.Dialect) bool {
	if d == "" {
		return true
	}
	if r.token == nil { // by the socket
		return d == config.DialectResend
	}
	return slices.Contains(r.token.compat, d)
}
