package main

import (
	"context"

	"postern/cmd/facts"
	"postern/config"
	"postern/relay/oauth"
	"postern/relay/webclient"
	"postern/spool/statefile"
)

// bookTokens are those of the books of a command: shared with other relays, or in a
// state folder.
func (a *app) bookTokens(shared bool, stateDir string) webclient.Tokens {
	if shared {
		return sharedTokens{a.config}
	}
	return oauth.New(oauth.Options{State: &statefile.State{Dir: stateDir}})
}

// sharedTokens are those that relays have in common. The configuration is read, and
// the database of their queue asked, for a book that wants a token, and no other.
type sharedTokens struct{ option string }

// Token implements webclient.Tokens.
func (s sharedTokens) Token(ctx context.Context, account *config.Account, refused string) (string, error) {
	cfg, err := config.Find(s.option)
	if err != nil {
		return "", badConfig(err)
	}
	tokens, closed, err := tokensOf(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer closed()
	defer tokens.Wait(ctx)
	return tokens.Token(ctx, account, refused)
}

// tokensOf opens the tokens of a relay for a command. They are good until ctx ends and
// closed is called.
func tokensOf(ctx context.Context, cfg *config.Config) (*oauth.Tokens, func(), error) {
	state, closed, err := facts.Open(ctx, cfg)
	if err != nil {
		return nil, nil, noFacts(err)
	}
	return oauth.New(oauth.Options{State: state, Key: cfg.Spool.TokenKey}), closed, nil
}
