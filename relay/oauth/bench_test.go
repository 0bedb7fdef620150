package oauth

import (
	"testing"
	"time"

	"postern/config"
)

// What each session costs while the token is good.
func BenchmarkToken(b *testing.B) {
	tokens := New(Options{State: stateIn(b.TempDir())})
	up := accountWith(config.FlowClientCredentials)
	tokens.source(up).tok = &token{Access: "access", Obtained: time.Now(), Expires: time.Now().Add(time.Hour)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Token(b.Context(), up, ""); err != nil {
			b.Fatal(err)
		}
	}
}
