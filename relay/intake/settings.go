package intake

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/peer"
	"postern/relay/submission"
)

// settings are those of one listener, made once for each Apply and never
// changed. A connection keeps the ones that it began with.
type settings struct {
	cfg       *config.Listener
	message   *submission.Settings
	shared    *shared
	tls       *tls.Config
	users     *users // nil: no AUTH
	normalise bool
	lenient   bool // commands that can mean one thing only are taken
}

func newSettings(l *config.Listener, sh *shared) (*settings, error) {
	s := &settings{cfg: l, message: submission.SettingsOf(l), shared: sh, normalise: l.Newlines == "normalise", lenient: l.Syntax == "lenient"}
	if l.TLS != config.ListenerTLSOff && l.TLS != "" {
		cert, err := config.LoadKeyPair(l.CertFile, l.KeyFile)
		if err != nil {
			return nil, &peer.Advised{Err: fmt.Errorf("listener %s: certificate: %w", l.Name, err), Remedy: "check cert_file and key_file"}
		}
		// RFC 8314 §4.1, RFC 8996: nothing below TLS 1.2 unless it is named.
		s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: l.TLSMinVersion.Number()}
		if s.tls.MinVersion < tls.VersionTLS12 {
			s.tls.CipherSuites = config.OldCipherSuites()
		}
	}
	if len(l.Users) > 0 {
		u, err := newUsers(l.Users, sh)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		s.users = u
	}
	return s, nil
}

// allows tells whether a peer may talk at all. Without a list it is this
// machine alone, or everybody where users have to sign in.
func (s *settings) allows(a netip.Addr) bool {
	if len(s.cfg.Allow) == 0 {
		return a.IsLoopback() || s.users != nil
	}
	for _, p := range s.cfg.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

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
	return ok && origin.Pause(ctx, wait)
}
