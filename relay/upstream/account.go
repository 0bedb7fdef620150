package upstream

import (
	"context"
	"errors"

	"postern/config"
	"postern/relay/signin"
)

// signsIn tells whether the configuration wants a sign-in.
func signsIn(up *config.Upstream) bool {
	switch up.Auth {
	case "none":
		return false
	case "", "auto":
		k := &up.Kerberos
		return up.Username != "" || up.CertFile != "" || k.Keytab != "" || k.CCache != ""
	}
	return true
}

// requestOf is what the configuration alone knows of a sign-in.
func requestOf(up *config.Upstream) *signin.Request {
	k := &up.Kerberos
	r := &signin.Request{
		Auth: string(up.Auth), Username: up.Username, Domain: up.Domain, Certificate: up.CertFile != "",
		Kerberos: signin.Kerberos{Realm: k.Realm, Keytab: k.Keytab, Cache: k.CCache, Conf: k.Conf, Service: k.SPN},
		Host:     up.Host, Port: up.Port,
		// Whoever names the mechanism and turns TLS off means it, for
		// instance for a bridge on the same machine.
		AllowClear: up.TLS == config.TLSOff,
	}
	if r.Auth == "" {
		r.Auth = "auto"
	}
	if up.Password.IsSet() {
		r.Password = up.Password.Read
	}
	return r
}

// Foresee tells which mechanisms a session with the upstream can sign in by,
// the one that goes first at the top, and why not by the others. It asks
// nobody: of those that it can, the session takes the first that the upstream
// offers. encrypted says whether there is TLS, which only "opportunistic"
// leaves open. nil: no sign-in is configured.
func Foresee(up *config.Upstream, encrypted bool) []signin.Verdict {
	if !signsIn(up) {
		return nil
	}
	r := requestOf(up)
	r.TLS = encrypted
	if up.OAuth != nil {
		r.Token = func(context.Context, string) (string, error) { return "", errors.New("nobody is connected") }
	}
	return signin.Foresee(r)
}
