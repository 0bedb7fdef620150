package oauth

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/spool"
)

// defective panics in place of an answer, as a library does that a provider has
// found a defect of.
type defective struct{}

func (defective) RoundTrip(*http.Request) (*http.Response, error) { panic("index out of range") }

// sometimes panics while it is broken.
type sometimes struct {
	http.RoundTripper
	broken *atomic.Bool
}

func (s sometimes) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.broken.Load() {
		return defective{}.RoundTrip(r)
	}
	return s.RoundTripper.RoundTrip(r)
}

// A panic wherever a token is renewed is an error for those who wait, and the
// next attempt succeeds.
func TestPanicWhileRenewing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, panicked := new(atomic.Bool), 0
		broken.Store(true)
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: sometimes{newIDP(t), broken}, Events: func(e Event) {
			switch e.(type) {
			case *Panicked:
				panicked++
			case *Failed:
				panic("whoever is told panics")
			}
		}})
		up := accountWith(config.FlowClientCredentials)
		for range 2 {
			if _, err := tokens.Token(t.Context(), up, ""); err == nil {
				t.Fatal("a token in spite of a defect")
			}
		}
		if panicked != 4 { // of the provider's answer, and of what is told of that
			t.Errorf("%d defects were told", panicked)
		}
		broken.Store(false)
		mustToken(t, tokens, up, "", "access-token-1")
		tokens.Wait(t.Context())
	})
}

// A panic leaves the token in use that goes on for a while.
func TestPanicKeepsTheTokenInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, w := new(atomic.Bool), &witness{}
		tokens := New(Options{State: stateIn(t.TempDir()), Transport: sometimes{newIDP(t), broken}, Events: w.tell})
		up := accountWith(config.FlowClientCredentials)
		mustToken(t, tokens, up, "", "access-token-1")
		broken.Store(true)
		obtained, _ := w.told()
		time.Sleep(time.Until(obtained[0].Expires) - earliest)
		mustToken(t, tokens, up, "", "access-token-1")
		_, failed := w.told()
		if len(failed) != 1 || failed[0].Until.IsZero() {
			t.Errorf("%+v", failed)
		}
	})
}

// brittle panics over the token of one account.
type brittle struct {
	spool.State
	name string
	met  atomic.Int32
}

func (b *brittle) Read(ctx context.Context, f spool.Fact) ([]byte, error) {
	if f.Name == b.name {
		b.met.Add(1)
		panic("what lies on disk has found a defect")
	}
	return b.State.Read(ctx, f)
}

// A panic over one idle login keeps no other from being renewed.
func TestPanicWhileKeepingLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		bad := accountWith(config.FlowDevice)
		bad.Name = "bad"
		state := &brittle{State: r.tokens.store.state, name: bad.Name}
		r.tokens.store.state = state
		ctx, cancel := context.WithCancel(t.Context())
		r.tokens.KeepLogins(ctx, func() []*config.Account { return []*config.Account{bad, r.up} })
		time.Sleep(idleLimit + 2*idleRound)
		synctest.Wait()
		if state.met.Load() == 0 || r.asked() != 1 {
			t.Errorf("met %d times, the other login was renewed %d times", state.met.Load(), r.asked())
		}
		cancel()
		r.tokens.Wait(t.Context())
	})
}
