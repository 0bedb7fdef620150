package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
)

// Redacted is the configuration as it is in effect, defaults included, for
// printing as JSON: the keys of the file, with durations and sizes written as
// the file would, and without any secret. Passwords show where they come
// from, users show their names.
func (c *Config) Redacted() map[string]any {
	out := map[string]any{
		"hostname":  c.Hostname,
		"state_dir": c.StateDir,
		"confine":   c.Confine,
		"spool": map[string]any{
			"dir": c.Spool.Dir, "max_size": FormatSize(c.Spool.MaxSize), "min_free": FormatSize(c.Spool.MinFree),
			"max_messages": c.Spool.MaxMessages,
		},
		"control": given(map[string]any{
			"socket": c.Control.Socket, "mode": octal(c.Control.Mode), "group": c.Control.Group,
			"read_socket": c.Control.ReadSocket, "read_group": c.Control.ReadGroup,
			"metrics": c.Control.Metrics, "health_max_age": FormatDuration(c.Control.HealthMaxAge),
		}),
		"log":   map[string]any{"level": c.Log.Level, "format": c.Log.Format},
		"retry": c.Retry.redacted(),
	}
	if len(c.ConfineWritable) > 0 {
		out["confine_writable"] = c.ConfineWritable
	}
	listeners := []any{}
	for i := range c.Listeners {
		listeners = append(listeners, c.Listeners[i].redacted())
	}
	upstreams := map[string]any{}
	for name, up := range c.Upstreams {
		upstreams[name] = up.redacted()
	}
	routes := []any{}
	for i := range c.Routes {
		routes = append(routes, c.Routes[i].redacted())
	}
	out["listener"], out["upstream"], out["route"] = listeners, upstreams, routes
	if len(c.Senders) > 0 {
		senders := []any{}
		for _, s := range c.Senders {
			senders = append(senders, given(map[string]any{
				"user": s.User, "unix_user": s.UnixUser, "listener": s.Listener, "from": s.From, "check_from": s.CheckFrom,
			}))
		}
		out["sender"] = senders
	}
	return out
}

// Digest tells two configurations apart, as far as Redacted does: 16 hex
// digits. It gives no secret away.
func (c *Config) Digest() string { return digest(c.Redacted()) }

// Digest is Config.Digest for one upstream.
func (u *Upstream) Digest() string { return digest(u.redacted()) }

func digest(redacted map[string]any) string {
	text, err := json.Marshal(redacted) // whose keys are sorted
	if err != nil {
		panic("config: " + err.Error()) // texts, numbers and lists
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func (r *Retry) redacted() map[string]any {
	backoff := make([]string, len(r.Backoff))
	for i, d := range r.Backoff {
		backoff[i] = FormatDuration(d)
	}
	return map[string]any{
		"backoff": backoff, "lifetime": FormatDuration(r.Lifetime),
		"warn_after": FormatDuration(r.WarnAfter), "after_dot": r.AfterDot,
	}
}

func (l *Listener) redacted() map[string]any {
	out := map[string]any{
		"name": l.Name, "address": l.Address, "tls": string(l.TLS), "cert_file": l.CertFile, "key_file": l.KeyFile,
		"allow": texts(l.Allow), "max_message_size": FormatSize(l.MaxMessageSize),
		"max_recipients": l.MaxRecipients, "max_connections": l.MaxConnections,
		"idle_timeout": FormatDuration(l.IdleTimeout), "data_timeout": FormatDuration(l.DataTimeout),
		"data_max_time": FormatDuration(l.DataMaxTime), "data_min_rate": FormatSize(l.DataMinRate), "max_priority": l.MaxPriority,
		"newlines": l.Newlines, "syntax": l.Syntax, "early": l.Early, "repair_headers": l.RepairHeaders,
	}
	if len(l.Rate) > 0 {
		out["rate"] = texts(l.Rate)
	}
	if l.TLS != ListenerTLSOff {
		out["tls_min_version"] = l.TLSMinVersion
	}
	if l.Network == "unix" {
		out["mode"], out["group"] = octal(l.Mode), l.Group
	}
	if len(l.Users) > 0 {
		users := map[string]any{}
		for name := range l.Users {
			users[name] = redacted
		}
		out["users"], out["require_auth"] = users, l.RequireAuth
	}
	return given(out)
}

func (u *Upstream) redacted() map[string]any {
	out := map[string]any{
		"max_connections": u.MaxConnections,
		"connect_timeout": FormatDuration(u.ConnectTimeout), "command_timeout": FormatDuration(u.CommandTimeout),
		"data_timeout": FormatDuration(u.DataTimeout), "idle_close": FormatDuration(u.IdleClose),
	}
	if len(u.Rate) > 0 {
		out["rate"] = texts(u.Rate)
	}
	if u.MaxRecipients > 0 {
		out["max_recipients"] = u.MaxRecipients
	}
	if u.MaxMessageSize > 0 {
		out["max_message_size"] = FormatSize(u.MaxMessageSize)
	}
	if u.MaxMessages > 0 {
		out["max_messages"] = u.MaxMessages
	}
	out["max_age"], out["without"] = FormatDuration(u.MaxAge), u.Without
	out["provider"], out["region"] = u.Provider, u.Region
	if u.Provider == CaptureProvider {
		return given(out)
	}
	out["host"], out["tls"], out["auth"] = u.Host, string(u.TLS), u.Auth
	if u.Port != 0 {
		out["port"] = u.Port
	}
	if u.TLS != TLSOff {
		out["tls_min_version"] = u.TLSMinVersion
	}
	if u.TLSOldCiphers {
		out["tls_old_ciphers"] = true
	}
	out["ca_file"], out["server_name"] = u.CAFile, u.ServerName
	out["cert_file"], out["key_file"] = u.CertFile, u.KeyFile
	out["username"], out["domain"] = u.Username, u.Domain
	k := &u.Kerberos
	out["realm"], out["keytab"], out["ccache"], out["krb5_conf"], out["spn"] = k.Realm, k.Keytab, k.CCache, k.Conf, k.SPN
	var pins []string
	for _, pin := range u.Fingerprints {
		pins = append(pins, "sha256:"+pin)
	}
	out["fingerprint"] = pins
	u.Password.redactInto(out)
	if u.OAuth != nil {
		out["oauth"] = u.OAuth.redacted()
	}
	return given(out)
}

func (o *OAuth) redacted() map[string]any {
	out := map[string]any{
		"provider": o.Provider, "tenant": o.Tenant, "issuer": o.Issuer, "flow": o.Flow,
		"client_id": o.ClientID, "scopes": o.Scopes, "cert_file": o.CertFile, "key_file": o.KeyFile,
		"assertion_file": o.AssertionFile, "service_account_file": o.ServiceAccountFile,
		"subject": o.Subject, "redirect_url": o.RedirectURL,
	}
	o.ClientSecret.redactInto(out)
	o.TokenKey.redactInto(out)
	return given(out)
}

// redactInto tells where a secret comes from, under the key that gives it.
func (s Secret) redactInto(out map[string]any) {
	if s.source == nil {
		return
	}
	out[s.source.key()] = s.source.value
	if s.source.kind == secretLiteral || s.source.kind == secretCommand {
		out[s.source.key()] = redacted
	}
}

func (r *Route) redacted() map[string]any {
	out := given(map[string]any{
		"name": r.Name, "from": r.From, "to": r.To, "user": r.User, "unix_user": r.UnixUser,
		"listener": r.Listener, "upstream": r.Upstream, "reject": r.Reject,
	})
	if r.Priority != nil {
		out["priority"] = *r.Priority
	}
	if len(r.Header) > 0 {
		out["header"] = r.Header
	}
	return out
}

// given drops what is empty.
func given(m map[string]any) map[string]any {
	for key, value := range m {
		switch v := value.(type) {
		case string:
			if v == "" {
				delete(m, key)
			}
		case []string:
			if len(v) == 0 {
				delete(m, key)
			}
		}
	}
	return m
}

func texts[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}

func octal(mode fs.FileMode) string { return fmt.Sprintf("%04o", mode.Perm()) }
