package oauth

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// A login that nobody uses is renewed each week, a network that is down only
// puts that off, and one that was taken back is told of once.
func TestIdleLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		ctx, cancel := context.WithCancel(t.Context())
		other := accountWith(config.FlowClientCredentials)
		other.Name = "without-a-person"
		r.tokens.KeepLogins(ctx, func() []*config.Account { return []*config.Account{r.up, other, {Name: "none"}} })
		wait := func(d time.Duration, asked int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if r.asked() != asked {
				t.Errorf("asked %d times, not %d", r.asked(), asked)
			}
		}
		wait(idleLimit, 0)
		wait(2*idleRound, 1)
		wait(90*24*time.Hour, 13)
		if tok := onDisk(t, r.dir, r.up); tok.Refresh != "refresh-token-14" {
			t.Error("the file has another refresh token than the provider")
		}
		mustToken(t, r.tokens, r.up, "", "access-token-15") // mail renews it, too
		wait(idleLimit-idleRound, 14)
		r.set(func() { r.down = syscall.ECONNREFUSED })
		wait(24*time.Hour, 14)
		r.set(func() { r.down = nil })
		wait(2*idleRound, 15)
		r.set(func() { r.refresh = "" })
		wait(4*idleLimit, 16)
		_, failed := r.told()
		if last := failed[len(failed)-1]; last.Code != "invalid_grant" || last.Kind != NeedsLogin {
			t.Errorf("%+v", last)
		}
		if st := r.tokens.Status(t.Context(), r.up); !st.NeedsLogin {
			t.Errorf("%+v", st)
		}
		cancel()
		r.tokens.Wait(t.Context())
	})
}
