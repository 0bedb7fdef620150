package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// longTime bounds every time-out: beyond it is a mistake.
const longTime = 24 * time.Hour

func (d *document) readListeners(top *table, cfg *Config) {
	if !top.has("listener") {
		top.take("listener")
		cfg.Listeners = []Listener{DefaultListener(defaultListen)}
		return
	}
	names := map[string]string{}
	for _, t := range top.each("listener") {
		l := DefaultListener("")
		d.readListener(t, &l)
		cfg.Listeners = append(cfg.Listeners, l)
		if l.Name == "" {
			continue
		}
		if other, twice := names[l.Name]; twice && l.Name != l.Address {
			t.problem("name", strconv.Quote(l.Name)+" is the name of "+other+" too", "names tell listeners apart in routes and logs")
		}
		names[l.Name] = t.path
	}
	if len(cfg.Listeners) == 0 && len(d.problems) == 0 {
		top.problem("listener", "is an empty list", `remove it for a listener at `+defaultListen)
	}
}

func (d *document) readListener(t *table, l *Listener) {
	if t.text("address", &l.Address) {
		d.readAddress(t, l)
	} else if !t.has("address") {
		t.problem("", "has no address", `such as address = "127.0.0.1:2525"`)
	}
	l.Name = l.Address
	if t.text("name", &l.Name) {
		checkName(t, l.Name)
		if l.Name == InternalListener {
			t.problem("name", strconv.Quote(l.Name)+" is taken: Postern's own notifications come from there", "choose another name")
		}
	}
	d.readListenerTLS(t, l)
	readUsers(t, l)
	t.boolean("require_auth", &l.RequireAuth)
	readAllow(t, l)
	if l.RequireAuth && !t.has("users") {
		t.problem("require_auth", "is set, and there are no users", "add users, or remove it")
	}
	t.size("max_message_size", &l.MaxMessageSize, 1<<10)
	// RFC 5321 §4.5.3.1.8: at least 100 recipients have to be accepted.
	t.integer("max_recipients", &l.MaxRecipients, 1, 100_000)
	t.integer("max_connections", &l.MaxConnections, 1, 1_000_000)
	t.duration("idle_timeout", &l.IdleTimeout, time.Second, longTime)
	t.duration("data_timeout", &l.DataTimeout, time.Second, longTime)
	t.duration("data_max_time", &l.DataMaxTime, time.Second, 7*longTime)
	t.size("data_min_rate", &l.DataMinRate, 0)
	t.integer("max_priority", &l.MaxPriority, -9, 9) // RFC 6710 §2
	readRates(t, &l.Rate)
	t.oneOf("newlines", &l.Newlines, "refuse", "normalise")
	l.defaultLeniency()
	t.oneOf("syntax", &l.Syntax, "lenient", "strict")
	t.oneOf("early", &l.Early, "refuse", "allow")
	t.boolean("repair_headers", &l.RepairHeaders)
	d.readSocketOwner(t, l)
	checkExposure(t, l)
	t.finish()
}

// readAddress tells the three kinds of addresses apart.
func (d *document) readAddress(t *table, l *Listener) {
	const hint = `such as "127.0.0.1:2525", "[::1]:2525", "unix:/run/postern/smtp.sock" or "systemd:smtp"`
	if path, ok := strings.CutPrefix(l.Address, "unix:"); ok {
		l.Network, l.Target = "unix", d.path(path)
		if path == "" {
			t.problem("address", "names no socket", hint)
		} else if text := socketPathProblem(l.Target); text != "" {
			t.problem("address", text, "choose a shorter one")
		}
		return
	}
	if name, ok := strings.CutPrefix(l.Address, "systemd:"); ok {
		l.Network, l.Target = "systemd", name
		// FileDescriptorName= of systemd.socket(5).
		if name == "" || len(name) > 255 || strings.ContainsAny(name, ": ") {
			t.problem("address", "names no systemd socket", "systemd:NAME, with the FileDescriptorName= of the socket unit")
		}
		return
	}
	l.Network, l.Target = "tcp", l.Address
	host, _, err := splitHostPort(l.Address)
	if err != nil {
		t.problem("address", strconv.Quote(l.Address)+" "+err.Error(), hint)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !strings.EqualFold(host, "localhost") {
		t.problem("address", strconv.Quote(host)+" is not an IP address", "name the address to listen at, not a host")
		l.Target = ""
	}
}

// checkName keeps names plain, since they stand in logs, metrics and URLs.
func checkName(t *table, name string) {
	if len(name) > 100 || strings.ContainsAny(name, " \"'/\\<>") {
		t.problem("name", strconv.Quote(name)+" cannot be a name", "up to 100 letters, digits and signs, without spaces, quotes and slashes")
	}
}

func (d *document) readListenerTLS(t *table, l *Listener) {
	mode := string(l.TLS)
	t.oneOf("tls", &mode, string(ListenerTLSOff), string(ListenerTLSStart), string(ListenerTLSImplicit))
	l.TLS = ListenerTLS(mode)
	t.text("cert_file", &l.CertFile)
	t.text("key_file", &l.KeyFile)
	if t.oneOf("tls_min_version", &l.TLSMinVersion, "1.0", "1.1", "1.2", "1.3") && l.TLSMinVersion < "1.2" && l.TLS != ListenerTLSOff {
		t.warn("tls_min_version", "TLS "+l.TLSMinVersion+" is broken (RFC 8996): whoever sits between may read and change what passes",
			"keep it for devices that know nothing newer, on a listener of their own")
	}
	if l.TLS == ListenerTLSOff {
		for _, name := range []string{"cert_file", "key_file", "tls_min_version"} {
			if t.has(name) {
				t.problem(name, `has no effect while tls = "off"`, `set tls = "starttls" or "implicit"`)
			}
		}
		return
	}
	if l.CertFile == "" || l.KeyFile == "" {
		if !t.has("cert_file") || !t.has("key_file") {
			t.problem("tls", strconv.Quote(mode)+" needs a certificate", "set cert_file and key_file")
		}
		return
	}
	l.CertFile, l.KeyFile = d.path(l.CertFile), d.path(l.KeyFile)
	checkKeyPair(t, l.CertFile, l.KeyFile)
}

// checkKeyPair loads a certificate and its key the way the session will.
func checkKeyPair(t *table, certFile, keyFile string) {
	if !checkReadable(t, "cert_file", certFile) || !checkReadable(t, "key_file", keyFile) {
		return
	}
	checkPrivate(t, "key_file", keyFile)
	pair, err := LoadKeyPair(certFile, keyFile)
	if err != nil {
		t.problem("cert_file", filepath.Base(certFile)+" and "+filepath.Base(keyFile)+" are no certificate and its key: "+
			strings.TrimPrefix(err.Error(), "tls: "), "both in PEM, the certificate with its chain")
		return
	}
	if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		t.warn("cert_file", filepath.Base(certFile)+" expired on "+leaf.NotAfter.UTC().Format(time.DateOnly), "renew it")
	}
}

// checkReadable reports whether a named file can be opened and read.
func checkReadable(t *table, key, path string) bool {
	if _, err := ReadFile(path); err != nil {
		t.problem(key, path+" cannot be read: "+reason(err), "")
		return false
	}
	return true
}

// readAllow reads networks and single addresses.
func readAllow(t *table, l *Listener) {
	var list []string
	if !t.list("allow", &list) {
		return
	}
	if l.Network == "unix" {
		t.problem("allow", "has no effect on a unix socket", "who may connect is decided by mode and group")
		return
	}
	for i, s := range list {
		if s == "" {
			continue
		}
		prefix, err := parsePrefix(s)
		if err != nil {
			t.doc.problem(joinIndex(t.key("allow"), i), strconv.Quote(s)+" "+err.Error(), `such as "192.0.2.0/24", "192.0.2.7" or "2001:db8::/32"`)
			continue
		}
		l.Allow = append(l.Allow, prefix)
		if network := meantNetwork(s); network != "" {
			t.doc.warn(joinIndex(t.key("allow"), i), strconv.Quote(s)+" is one address and not a network", "write "+strconv.Quote(network)+" if a network is meant, or "+strconv.Quote(prefix.String())+" for this address alone")
		}
	}
	if l.RequireAuth {
		return
	}
	for i, prefix := range l.Allow {
		if prefix.Bits() == 0 {
			t.doc.warn(joinIndex(t.key("allow"), i), "lets the whole world send mail without signing in", "name your own networks, or set require_auth = true")
		}
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("is neither a network nor an address")
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("has bits set behind its length; did you mean %q?", prefix.Masked())
	}
	return prefix, nil
}

// meantNetwork is the network that somebody probably means who writes its
// first address without a length; "" for any other address.
func meantNetwork(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return ""
	}
	for _, private := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fe80::/10"} {
		if p := netip.MustParsePrefix(private); p.Addr() == ip {
			return private
		}
	}
	for _, bits := range []int{0, 8, 16, 24, 64} {
		p := netip.PrefixFrom(ip, bits)
		if ip.Is4() == (bits <= 24) && ip.WithZone("") == p.Masked().Addr() || ip.IsUnspecified() {
			return p.String()
		}
	}
	return ""
}

// readSocketOwner reads mode and group, which only our own unix sockets have.
func (d *document) readSocketOwner(t *table, l *Listener) {
	hasMode, hasGroup := t.mode("mode", &l.Mode), t.text("group", &l.Group)
	if l.Network != "unix" {
		for _, name := range []string{"mode", "group"} {
			if t.has(name) {
				t.problem(name, "only a unix socket has it", `with address = "unix:/path"; systemd sets those of its sockets`)
			}
		}
		return
	}
	if hasMode {
		checkSocketMode(t)
	}
	if hasGroup {
		checkGroup(t, "group", l.Group)
	}
}

// checkExposure refuses a door that stands open to strangers, or at which
// passwords cross the network in clear.
func checkExposure(t *table, l *Listener) {
	if l.Network != "tcp" || l.Target == "" {
		return
	}
	host, _, err := splitHostPort(l.Address)
	if err != nil || isLoopback(host) {
		return
	}
	if !t.has("allow") && !t.has("users") {
		t.problem("address", strconv.Quote(l.Address)+" can be reached from other machines, and anybody there could send mail",
			"set allow to the networks that may, or users")
	} else if !t.has("allow") && !l.RequireAuth {
		t.problem("address", strconv.Quote(l.Address)+" can be reached from other machines, and users need not sign in there",
			"set require_auth = true, or allow to the networks that may send without")
	}
	if l.TLS != ListenerTLSOff {
		return
	}
	for _, hash := range l.Users {
		if !isVerifier(hash) {
			t.problem("users", `would send their passwords in clear over the network while tls = "off"`,
				`set tls = "starttls" or "implicit", or store SCRAM verifiers only`)
			return
		}
	}
}

// checkListenerSizes compares what a listener accepts with what fits.
func (d *document) checkListenerSizes(cfg *Config) {
	if cfg.Spool.MaxSize == 0 {
		return
	}
	for i, l := range cfg.Listeners {
		if l.MaxMessageSize > cfg.Spool.MaxSize {
			key := joinIndex("listener", i) + ".max_message_size"
			d.problem(key, FormatSize(l.MaxMessageSize)+" is more than the whole spool may hold",
				"spool.max_size is "+FormatSize(cfg.Spool.MaxSize))
		}
	}
}
