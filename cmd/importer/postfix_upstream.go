package importer

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/config"
)

// ways makes upstreams and routes: where recipients of their own lead
// (transport_maps), then senders, then everybody else.
func (p *postfix) ways(at Place) {
	p.byRecipient()
	p.bySender()
	relay := p.main.get("relayhost")
	if up := p.hops(relay, p.main, "", ""); len(up) > 0 {
		p.route(Route{Place: relay.Place, From: []string{"*"}, Upstream: up})
		return
	}
	if transport := p.main.get("default_transport"); transport.Place.File != "" {
		if r, ok := p.transport(entry{transport.Place, "*", transport.Value}); ok {
			r.From = []string{"*"}
			p.route(r)
			return
		}
	}
	if len(p.Upstreams) == 0 {
		p.noUpstream(at)
		return
	}
	p.note(at, "Postfix delivered what no route below takes to the hosts of recipients itself; that mail is refused now", `add a [[route]] with from = ["*"] and an upstream`)
}

// hops are the upstreams of a relayhost or a nexthop, with those that come in
// when it fails. sender and name may be empty.
func (p *postfix) hops(s Setting, of *params, sender, name string) (upstreams []string) {
	list := words(s.Value)
	if len(list) == 0 {
		return nil
	}
	fallback := of.get("smtp_fallback_relay")
	if fallback.Value == "" {
		fallback = of.get("fallback_relay")
	}
	for i, hop := range append(list, words(fallback.Value)...) {
		at := s.Place
		if i >= len(list) {
			at = fallback.Place
		}
		if u := p.upstream(Setting{at, hop}, of, sender, name); u != nil && !slices.Contains(upstreams, u.Name) {
			upstreams = append(upstreams, u.Name)
		}
	}
	return upstreams
}

// upstream is the one for a nexthop such as "[mail.example.com]:587", as sender
// signs in there; nil where it is none.
func (p *postfix) upstream(hop Setting, of *params, sender, name string) *Upstream {
	u := &Upstream{Place: hop.Place, Port: 25}
	host, port := hop.Value, ""
	if h, rest, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && host[0] == '[' {
		host, port = strings.TrimPrefix(h, "ipv6:"), strings.TrimPrefix(rest, ":")
	} else if h, service, err := net.SplitHostPort(host); err == nil {
		host, port = h, service
	}
	if port == "" {
		port = of.get("smtp_tcp_port").Value
	}
	n, known := portNumber(port)
	var ok bool
	if u.Host, ok = config.ParseHost(host); !ok || !known {
		p.note(hop.Place, "the next hop "+shown(hop.Value)+" is no host and port that are known", "add an [upstream] for it")
		return nil
	}
	u.Port = n
	if _, err := netip.ParseAddr(u.Host); err != nil && hop.Value[0] != '[' {
		u.note(hop.Place, "Postfix looked up MX records of "+u.Host+", and Postern connects to the host itself", "set host to the name that `host -t mx "+u.Host+"` prints, if it prints one")
	}
	p.tls(u, of, hop.Value)
	hint := u.Host
	if p.signIn(u, of, hop.Value, sender) {
		hint = sender
	}
	if name != "" {
		hint = name
	}
	p.pace(u, of)
	if other := p.like(u); other != nil {
		return other
	}
	return p.Found.upstream(hint, u)
}

// pace reads how much goes at a time.
func (p *postfix) pace(u *Upstream, of *params) {
	for _, name := range []string{"smtp_destination_concurrency_limit", "default_destination_concurrency_limit"} {
		var n int
		if s := of.get(name); s.Place.File != "" {
			if _, err := fmt.Sscanf(s.Value, "%d", &n); err == nil && n > 0 {
				u.MaxConn = min(n, 1000)
				break
			}
		}
	}
	for _, name := range []string{"smtp_destination_rate_delay", "default_destination_rate_delay"} {
		if d, ok := postfixTime(of.get(name).Value, 's'); ok && d >= time.Second && d <= 31*24*time.Hour {
			u.Rate = "1/" + length(d)
			break
		}
	}
	if d, ok := postfixTime(of.get("smtp_connect_timeout").Value, 's'); ok && d > 0 {
		u.Connect = bounded(d, time.Second, 24*time.Hour)
	}
}

// signIn finds user and password; own is true of those of the sender.
func (p *postfix) signIn(u *Upstream, of *params, hop, sender string) (own bool) {
	on := of.get("smtp_sasl_auth_enable")
	if !of.is("smtp_sasl_auth_enable") {
		return false
	}
	table := p.lookup(of, "smtp_sasl_password_maps")
	var e entry
	var ok bool
	if sender != "" && of.is("smtp_sender_dependent_authentication") {
		if e, ok = table.find(sender); !ok {
			_, domain, _ := strings.Cut(sender, "@")
			e, ok = table.find("@" + domain)
		}
		own = ok
	}
	for _, key := range []string{hop, u.Host, "*"} {
		if !ok {
			e, ok = table.find(key)
		}
	}
	if !ok {
		u.note(on.Place, "smtp_sasl_auth_enable is on, and no password was found for "+u.Host, "set username and password_file where it asks for them")
		return false
	}
	user, password, ok := strings.Cut(e.value, ":")
	if !ok || !plain(user) || user == "" {
		u.note(e.Place, "user and password cannot be carried over", "set username and password_file")
		return false
	}
	if filter := of.get("smtp_sasl_mechanism_filter"); strings.Contains(strings.ToLower(filter.Value), "oauth") {
		u.note(filter.Place, "tokens come from the provider itself", "add an [upstream.NAME.oauth] table (docs/oauth.md)")
		return false
	}
	u.Username = user
	u.password(e.Place, password)
	u.shows(e.Place, "")
	if u.Auth == "" && u.TLS == config.TLSOff {
		if ip, err := netip.ParseAddr(u.Host); err == nil && ip.IsLoopback() || u.Host == "localhost" {
			u.Auth = "plain"
		}
	}
	return own
}

// tls reads how a nexthop is protected.
func (p *postfix) tls(u *Upstream, of *params, hop string) {
	level := of.get("smtp_tls_security_level")
	raw, _ := of.raw("smtp_tls_security_level")
	switch {
	case level.Value != "":
	case raw.Value != "": // an expression that is not computed
		level.Value = raw.Value
	case of.is("smtp_enforce_tls"):
		level = Setting{of.get("smtp_enforce_tls").Place, "verify"}
	case of.is("smtp_use_tls"):
		level = Setting{of.get("smtp_use_tls").Place, "may"}
	}
	var attributes []string
	policies := p.lookup(of, "smtp_tls_policy_maps")
	e, ok := policies.find(hop)
	for _, key := range policyKeys(u.Host) {
		if !ok {
			e, ok = policies.find(key)
		}
	}
	if f := words(e.value); ok && len(f) > 0 {
		level, attributes = Setting{e.Place, f[0]}, f[1:]
	}
	p.level(u, of, level)
	if u.TLS == config.TLSOff {
		return
	}
	for _, a := range attributes {
		p.attribute(u, level, a)
	}
	if u.TLS == config.TLSVerify || u.TLS == config.TLSImplicit {
		if ca := of.get("smtp_tls_CAfile"); ca.Value != "" {
			u.authorities(p.src, ca, "smtp_tls_CAfile", ca.Value)
		}
	}
	cert, key := of.get("smtp_tls_cert_file"), of.get("smtp_tls_key_file")
	if chain := words(of.get("smtp_tls_chain_files").Value); len(chain) > 0 {
		cert = Setting{of.get("smtp_tls_chain_files").Place, chain[len(chain)-1]}
		key.Value = chain[0]
	}
	if cert.Value != "" {
		u.certificate(p.src, cert, cert.Value, key.Value)
	}
}

// policyKeys are the keys by which a host is found: itself and its domains.
func policyKeys(host string) []string {
	keys := []string{host, "[" + host + "]"}
	for _, up, more := strings.Cut(host, "."); more; _, up, more = strings.Cut(up, ".") {
		keys = append(keys, "."+up)
	}
	return keys
}

// level turns a security level into a mode.
func (p *postfix) level(u *Upstream, of *params, level Setting) {
	checked := true
	switch strings.ToLower(level.Value) {
	case "", "none":
		u.TLS, checked = config.TLSOff, false
	case "may":
		u.TLS, checked = config.TLSOpportunistic, false
	case "encrypt":
		u.TLS, checked = config.TLSEncrypt, false
	case "dane", "dane-only", "half-dane":
		u.TLS = config.TLSVerify
		u.note(level.Place, "the level "+level.Value+" asks DNS for certificates (TLSA), and now the certificate has to be valid by itself", "where it is not, set fingerprint or ca_file")
	case "verify", "secure":
		u.TLS = config.TLSVerify
	case "fingerprint":
		u.TLS = config.TLSVerify
		p.fingerprints(u, of)
	default:
		u.TLS = config.TLSVerify
		u.note(level.Place, "the security level "+shown(level.Value)+" is not known, and the certificate is checked", "")
	}
	wrapped := of.get("smtp_tls_wrappermode")
	if !of.is("smtp_tls_wrappermode") {
		if u.TLS == config.TLSEncrypt && !strings.HasPrefix(u.Host, "127.") {
			u.note(level.Place, "the level encrypt checks no certificate", `set tls = "verify", so that nobody in between can read the mail`)
		}
		return
	}
	if u.TLS = config.TLSImplicit; !checked {
		u.note(wrapped.Place, "the certificate was not checked, and now it is", "where it is not valid for the host, set fingerprint or ca_file")
	}
}

// fingerprints are those of smtp_tls_fingerprint_cert_match.
func (p *postfix) fingerprints(u *Upstream, of *params) {
	match := of.get("smtp_tls_fingerprint_cert_match")
	for _, digest := range strings.FieldsFunc(match.Value, func(r rune) bool { return r == ' ' || r == ',' || r == '|' }) {
		u.fingerprint(match, "smtp_tls_fingerprint_cert_match", digest)
	}
}

// attribute reads one of a TLS policy: "match=nexthop".
func (p *postfix) attribute(u *Upstream, at Setting, a string) {
	name, value, _ := strings.Cut(a, "=")
	switch name {
	case "match":
		for m := range strings.SplitSeq(value, ":") {
			switch {
			case m == "nexthop" || m == "hostname" || m == "dot-nexthop" || m == u.Host:
			case len(value) >= 95: // 32 bytes in hex, with colons
				u.fingerprint(at.with(value), "match", value)
				return
			default:
				u.serverName(at.with(strings.TrimPrefix(m, ".")), "match")
			}
		}
	case "servername":
		if value != "hostname" {
			u.serverName(at.with(value), "servername")
		}
	case "protocols", "ciphers", "exclude", "connection_reuse":
		// TLS 1.2 and newer with safe ciphers.
	default:
		u.note(at.Place, "the attribute "+shown(name)+" of the TLS policy has no counterpart", "")
	}
}

// with is another value at the same place.
func (s Setting) with(value string) Setting { return Setting{s.Place, value} }

// postfixTime reads "5d", or a number in the unit that the parameter has.
func postfixTime(s string, unit byte) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	if c := s[len(s)-1]; c < '0' || c > '9' {
		unit, s = c, s[:len(s)-1]
	}
	of := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[unit|0x20]
	var n int64
	if _, err := fmt.Sscanf(s, "%d", &n); err != nil || of == 0 || n < 0 || n > int64(365*24*time.Hour/of) {
		return 0, false
	}
	return time.Duration(n) * of, true
}
