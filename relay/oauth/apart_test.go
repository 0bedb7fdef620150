package oauth

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

// A provider that does not answer holds up its own upstream alone: the others
// get their tokens meanwhile, sealed with one key that is made only once.
func TestSilentProviderOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIDP(t)
		state := t.TempDir()
		tokens := New(Options{State: stateIn(state), Transport: silentFor{"silent.example", p}})
		mute := accountWith(config.FlowClientCredentials)
		mute.Name, mute.OAuth.Issuer = "mute", "https://silent.example"
		var all sync.WaitGroup
		all.Go(func() { mustFail(t, tokens, mute, "", Unreachable) })
		synctest.Wait()
		began := time.Now()
		for i := range 4 {
			up := accountWith(config.FlowClientCredentials)
			up.Name = fmt.Sprint("office", i)
			all.Go(func() {
				if _, err := tokens.Token(t.Context(), up, ""); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("%s waited for %v", up.Name, took)
				}
				if st := New(Options{State: stateIn(state), Transport: p}).Status(t.Context(), up); !st.Present {
					t.Errorf("after a restart: %+v", st)
				}
			})
		}
		all.Wait()
	})
}

// silentFor lets requests to one host wait for ever.
type silentFor struct {
	host string
	next http.RoundTripper
}

func (s silentFor) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == s.host {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return s.next.RoundTrip(r)
}
