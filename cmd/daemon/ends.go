package daemon

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"postern/cmd/alert"
	"postern/cmd/doctor"
	"postern/config"
	"postern/relay/oauth"
	"postern/relay/upstream"
)

const (
	// endsEvery is how often is looked for what ends within weeks.
	endsEvery = time.Hour
	// signInsEvery is how often is looked at tokens: somebody logs in while the
	// relay runs.
	signInsEvery = time.Minute
)

// ends is what was found of that, and for which configuration.
type ends struct {
	sync.Mutex
	at    time.Time
	cfg   *config.Config
	found []alert.Trouble

	signedAt time.Time // when was looked at tokens
	signIns  []alert.Trouble
	// shown is when the certificates end that upstreams have shown last, by their
	// names.
	shown map[string]time.Time
}

// endsSoon is how long before the end of an upstream's certificate is told of it.
const endsSoon = 21 * 24 * time.Hour

// observe notes when the certificates of upstreams end, and passes events on.
func (e *ends) observe(next func(upstream.Event)) func(upstream.Event) {
	return func(event upstream.Event) {
		if o, ok := event.(*upstream.Opened); ok && !o.CertificateEnds.IsZero() {
			e.Lock()
			if e.shown == nil {
				e.shown = map[string]time.Time{}
			}
			e.shown[o.Upstream] = o.CertificateEnds
			e.Unlock()
		}
		next(event)
	}
}

// ofUpstream is when the certificate ends that an upstream has shown last; zero:
// it has shown none.
func (e *ends) ofUpstream(name string) time.Time {
	e.Lock()
	defer e.Unlock()
	return e.shown[name]
}

// upstreamsEnd tells of upstreams whose certificate ends soon. One that has ended
// is told of with its upstream, which is parked, where it is checked.
func (e *ends) upstreamsEnd(cfg *config.Config, now time.Time) (all []alert.Trouble) {
	for _, name := range slices.Sorted(maps.Keys(e.shown)) {
		end := e.shown[name]
		switch {
		case cfg.Upstreams[name] == nil:
			delete(e.shown, name)
		case end.Sub(now) < endsSoon:
			all = append(all, alert.Trouble{Key: alert.Key{Kind: certificateEnds, Subject: "upstream " + name}, Severity: alert.Warning,
				Text:   fmt.Sprintf("the certificate that the upstream %q shows ends on %s", name, end.UTC().Format(time.DateOnly)),
				Remedy: "Ask whoever runs the upstream to renew it.", Command: "postern upstream test " + quoted(name)})
		}
	}
	return all
}

// judgeEnds tells of certificates and sign-ins that end soon, or have ended.
func (d *daemon) judgeEnds(now time.Time) []alert.Trouble {
	cfg := d.state.Load().cfg
	d.ends.Lock()
	defer d.ends.Unlock()
	if d.ends.cfg != cfg || now.Sub(d.ends.signedAt) >= signInsEvery || now.Before(d.ends.signedAt) {
		d.ends.signedAt, d.ends.signIns = now, signInsEnd(cfg, d.token, now)
	}
	if d.ends.cfg != cfg || now.Sub(d.ends.at) >= endsEvery || now.Before(d.ends.at) {
		d.ends.at, d.ends.cfg = now, cfg
		d.ends.found = slices.Concat(certificatesEnd(cfg, now), secretsEnd(cfg, now))
	}
	return slices.Concat(d.ends.found, d.ends.signIns, d.ends.upstreamsEnd(cfg, now))
}

// appendEnding adds a trouble, unless the finding is that nothing ends soon.
func appendEnding(all []alert.Trouble, f doctor.Finding, t alert.Trouble) []alert.Trouble {
	switch f.Status {
	case doctor.OK:
		return all
	case doctor.Failed:
		t.Severity = alert.Critical
	default:
		t.Severity = alert.Warning
	}
	return append(all, t)
}

// certificatesEnd judges the certificates in files that the configuration names:
// those of listeners, and those that upstreams are shown.
func certificatesEnd(cfg *config.Config, now time.Time) (all []alert.Trouble) {
	seen := map[string]bool{}
	look := func(path, use, command string) {
		if path == "" || seen[path] {
			return
		}
		seen[path] = true
		f := doctor.Certificate(path, now)
		t := alert.Trouble{Key: alert.Key{Kind: certificateEnds, Subject: path},
			Text: "the certificate of " + use + ": " + f.Text, Remedy: f.Remedy + " Then reload.", Command: command}
		all = appendEnding(all, f, t)
	}
	for _, l := range append(cfg.AllListeners(), &cfg.Console.Listener) {
		name := l.Name
		if l == &cfg.Console.Listener {
			name = "console"
		}
		look(l.CertFile, "the listener "+name, "postern doctor")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		up := cfg.Upstreams[name]
		look(up.CertFile, "the client at the upstream "+name, "postern upstream test "+quoted(name))
		if up.OAuth != nil {
			look(up.OAuth.CertFile, "the client at the provider of tokens of "+name, "postern upstream test "+quoted(name))
		}
	}
	return all
}

// signInsEnd judges tokens that only a person can renew. One that has ended is
// told of with its upstream, which is parked.
func signInsEnd(cfg *config.Config, token func(*config.Upstream) *oauth.Status, now time.Time) (all []alert.Trouble) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		up := cfg.Upstreams[name]
		if up.OAuth == nil || !up.OAuth.NeedsPerson() {
			continue
		}
		if f := doctor.Token(name, token(up), now); f.Status == doctor.Warning {
			all = append(all, alert.Trouble{Key: alert.Key{Kind: signInEnds, Subject: name}, Severity: alert.Warning,
				Text: "the sign-in of the upstream " + name + " ends: " + f.Text, Remedy: "Sign in again.", Command: "postern upstream login " + quoted(name)})
		}
	}
	return all
}

// secretsEnd judges the secrets of clients, as far as the configuration says when
// they end.
func secretsEnd(cfg *config.Config, now time.Time) (all []alert.Trouble) {
	look := func(what, name string, o *config.OAuth, command string) {
		if o == nil || o.ClientSecretEnds.IsZero() {
			return
		}
		f := doctor.ClientSecret(name, o.ClientSecretEnds, now)
		t := alert.Trouble{Key: alert.Key{Kind: secretEnds, Subject: what + " " + name},
			Text: fmt.Sprintf("of the %s %q %s: without it no token can be had", what, name, f.Text), Remedy: f.Remedy, Command: command}
		all = appendEnding(all, f, t)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		look("upstream", name, cfg.Upstreams[name].OAuth, "postern upstream test "+quoted(name))
	}
	for i := range cfg.Books {
		b := &cfg.Books[i]
		look("book", b.Name, b.Directory.Account.OAuth, "postern book test "+quoted(b.Name))
	}
	return all
}
