package oauth

import (
	"context"
	"time"

	"postern/config"
)

const (
	// idleLimit is how long a login may lie unused. Providers end one that
	// nobody uses: Microsoft after 90 days, Google after six months.
	idleLimit = 7 * 24 * time.Hour
	// idleRound is how often is looked for idle logins.
	idleRound = time.Hour
)

// KeepLogins renews, until ctx is done, the logins that no mail has renewed
// for a while, so that an upstream that is seldom used does not lose its own,
// and so that a login that was taken back is known before there is mail for
// it. upstreams is asked for them each time. It returns at once; Wait waits
// for its end, too.
func (t *Tokens) KeepLogins(ctx context.Context, upstreams func() []*config.Upstream) {
	t.flights.Go(func() { t.keepLogins(ctx, upstreams) })
}

func (t *Tokens) keepLogins(ctx context.Context, upstreams func() []*config.Upstream) {
	round := time.NewTicker(idleRound)
	defer round.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-round.C:
		}
		for _, up := range upstreams() {
			if up.OAuth == nil || !up.OAuth.NeedsPerson() {
				continue
			}
			st := t.Status(ctx, up)
			if st.Present && st.Renewable && time.Since(st.Obtained) > idleLimit {
				_, _ = t.Token(ctx, up, "") // its events tell what came of it
			}
		}
	}
}
