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

// TestLoginsWithAnEnd: a login that its provider ends is told of, one whose end
// each renewal puts off is kept, and what nobody could mean is no end.
func TestLoginsWithAnEnd(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for name, c := range map[string]struct {
		ends  func(since time.Duration) any
		after time.Duration // that long with no mail
		asked int
		told  time.Duration // the end that is told then, from the login on; 0: none
	}{
		"fixed":     {func(since time.Duration) any { return (week - since).Seconds() }, 6 * 24 * time.Hour, 3, week},
		"put off":   {func(time.Duration) any { return week.Seconds() }, 20 * 24 * time.Hour, 6, 0},
		"never":     {func(time.Duration) any { return 0 }, 20 * 24 * time.Hour, 3, 0},
		"negative":  {func(time.Duration) any { return -5 }, 20 * 24 * time.Hour, 3, 0},
		"huge":      {func(time.Duration) any { return 1e300 }, 20 * 24 * time.Hour, 3, 0},
		"no number": {func(time.Duration) any { return []any{"1"} }, 20 * 24 * time.Hour, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t)
				began := time.Now()
				r.set(func() { r.ends = func() any { return c.ends(time.Since(began)) } })
				mustToken(t, r.tokens, r.up, "access-token-1", "access-token-2")
				ctx, cancel := context.WithCancel(t.Context())
				r.tokens.KeepLogins(ctx, func() []*config.Account { return []*config.Account{r.up} })
				time.Sleep(c.after)
				synctest.Wait()
				st := r.tokens.Status(t.Context(), r.up)
				if told := st.LoginEnds.Sub(began).Round(time.Minute); st.Problem != "" || st.LoginEnds.IsZero() != (c.told == 0) || c.told > 0 && told != c.told {
					t.Errorf("%+v: the end is told as %v after the login", st, told)
				}
				if r.asked() != c.asked {
					t.Errorf("asked %d times, not %d", r.asked(), c.asked)
				}
				if c.told > 0 { // somebody logs in again, by another process
					r.set(func() { r.ends = nil })
					given := r.issue()
					other := &token{Identity: identity(r.up), Access: given["access_token"].(string), Refresh: r.refresh, Obtained: time.Now(), Expires: time.Now().Add(time.Hour)}
					if err := (&store{state: stateIn(r.dir)}).save(t.Context(), r.up.Name, config.Secret{}, other); err != nil {
						t.Fatal(err)
					}
					if st := r.tokens.Status(t.Context(), r.up); !st.LoginEnds.IsZero() {
						t.Errorf("after another login: %+v", st)
					}
				}
				cancel()
				r.tokens.Wait(t.Context())
			})
		})
	}
}
