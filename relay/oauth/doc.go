// Package oauth faces the providers that give out access tokens (RFC 6749):
// it gets tokens for accounts, keeps them, and renews them before they end.
//
// It owns the files below STATE_DIR/oauth and the rule that a token is on
// disk, synced, before anybody uses it: a refresh token that was rotated and
// then forgotten locks its owner out. It asks a provider for one token of an
// account at a time, however many sessions want it.
//
// It never signs in, never lets a token or a secret into an
// error, an event or a status, never follows a redirect with a secret, and
// never takes a network that is down for a token that is not valid.
//
// Reading order: Tokens.Token, source.get, source.run, source.renew, obtain,
// client.ask, store.save; Tokens.Login.
package oauth
