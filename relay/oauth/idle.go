package oauth

import (
	"context"
	"time"

	"postern/config"
)

const (
	// idleLimit is how long a login may lie unused: Providers end one that nobody
	// uses, Microsoft after 90 days, Google after six months. It is half the life
	// of a login where that is less.
	idleLimit = 7 * 24 * time.Hour
	// idleRound is how often is looked for idle logins.
	idleRound = time.Hour
)

// KeepLogins renews, until ctx is done, the logins that no mail has renewed
// for a while, so that an account that is seldom used does not lose its own,
// and so that a login that was taken back is known before there is mail for
// it. accounts is asked for them each time. It returns at once; Wait waits
// for its end, too.
func (t *Tokens) KeepLogins(ctx context.Context, accounts func() []*config.Account) {
	t.running.Go(func() { t.keepLogins(ctx, accounts) })
}

func (t *Tokens) keepLogins(ctx context.Context, accounts func() []*config.Account) {
	round := time.NewTicker(idleRound)
	defer round.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-round.C:
		}
		for _, a := range accounts() {
			t.keepLogin(ctx, a)
		}
	}
}

// keepLogin renews the login of one account where it has to be. What goes
// wrong with it is no other account's trouble.
func (t *Tokens) keepLogin(ctx context.Context, a *config.Account) {
	defer t.guard(a.Name, func(any) {})
	if a.OAuth == nil || !a.OAuth.NeedsPerson() {
		return
	}
	st := t.Status(ctx, a)
	if st.Present && st.Renewable && time.Since(st.Obtained) > st.idle {
		_, _ = t.Token(ctx, a, "") // its events tell what came of it
	}
}
