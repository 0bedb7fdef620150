package intake

import (
	"context"
	"runtime"
	"time"

	"postern/relay/origin"
)

// remembered is how many origins, and users, are kept in mind. It takes a few
// megabytes at most.
const remembered = 10_000

// shared is what the clients of all listeners have to share.
type shared struct {
	checks     *origin.Turns // of passwords, which take 20 ms of a processor each
	handshakes *origin.Turns // of TLS handshakes, which take about 1 ms of a processor each
	guesses    *origin.Guesses
}

func newShared() *shared {
	return &shared{
		checks:     origin.NewTurns(runtime.GOMAXPROCS(0) / 2),
		handshakes: origin.NewTurns(runtime.GOMAXPROCS(0)),
		guesses:    origin.NewGuesses(remembered),
	}
}

// await lets time pass where wrong passwords were given before; false: too
// much time, or ctx has ended.
func (s *shared) await(ctx context.Context, from origin.Key, user string) bool {
	wait, ok := s.guesses.Wait(from, user, time.Now())
	return ok && pause(ctx, wait)
}

// pause lets d pass; false: ctx has ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
