package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/config/wire"
)

func (c *Config) listenerTables() value {
	return tableList[Listener]{
		place: &c.Listeners, keys: (*Listener).keys, check: (*Listener).check,
		fresh: func(int, *table) Listener { return defaultListener("") },
		name:  func(l *Listener) (string, bool) { return l.Name, l.Name != l.Address },
		apart: "names tell listeners apart in routes and logs",
		empty: "remove it for a listener at " + defaultListen,
		most:  maxListeners,
	}
}

// maxListeners is beyond what the descriptors of a process are good for.
const maxListeners = 1000

func (l *Listener) check(t *table) {
	if !t.has("address") {
		t.problem("", "has no address", `such as address = "127.0.0.1:2525"`)
	}
	l.defaultLeniency(t.got["syntax"], t.got["repair_headers"])
	if !t.got["name"] {
		l.Name = l.Address
	} else {
		checkName(t, "name", l.Name)
		switch l.Name {
		case InternalListener:
			t.problem("name", strconv.Quote(l.Name)+" is taken: Postern's own notifications come from there", "choose another name")
		case PickupListener:
			t.problem("name", strconv.Quote(l.Name)+" is taken: it is the folder whose messages are taken", "choose another name")
		case ConsoleListener:
			t.problem("name", strconv.Quote(l.Name)+" is taken: it is where users of the console write mail", "choose another name")
		case HTTPListener, SubmitListener:
			t.problem("name", strconv.Quote(l.Name)+" is taken: it is where mail comes in by HTTP", "choose another name")
		}
	}
	l.checkTLS(t)
	if l.RequireAuth && !t.has("users") {
		t.problem("require_auth", "is set, and there are no users", "add users, or remove it")
	}
	l.checkSocketOwner(t)
	checkExposure(t, l)
}

// addressValue is an address, of which there are three kinds.
func (l *Listener) addressValue() value {
	read := func(f field, v any) (string, bool) {
		address, ok := readText(f, v)
		if ok {
			l.readAddress(f, address)
		}
		return address, ok
	}
	return kind[string]{name: "address", parse: read, format: unlessEmpty}.at(&l.Address)
}

// readAddress sets Network and Target.
func (l *Listener) readAddress(f field, address string) {
	const hint = `such as "127.0.0.1:2525", "[::1]:2525", "unix:/run/postern/smtp.sock" or "systemd:smtp"`
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		l.Network, l.Target = "unix", f.t.doc.path(path)
		if path == "" {
			f.problem("names no socket", hint)
		} else if text := socketPathProblem(l.Target); text != "" {
			f.problem(text, "choose a shorter one")
		}
		return
	}
	if name, ok := strings.CutPrefix(address, "systemd:"); ok {
		l.Network, l.Target = "systemd", name
		checkSystemdName(f, name)
		return
	}
	l.Network, l.Target = "tcp", address
	host, _, err := splitHostPort(address)
	if err != nil {
		f.problem(strconv.Quote(address)+" "+err.Error(), hint)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !strings.EqualFold(host, "localhost") {
		f.problem(strconv.Quote(host)+" is not an IP address", "name the address to listen at, not a host")
		l.Target = ""
	}
}

// checkSystemdName looks at a FileDescriptorName= of systemd.socket(5).
func checkSystemdName(f field, name string) {
	if name == "" || len(name) > 255 || strings.ContainsAny(name, ": ") {
		f.problem("names no systemd socket", "systemd:NAME, with the FileDescriptorName= of the socket unit")
	}
}

// checkName keeps names plain, since they stand in logs, metrics and URLs, and in
// commands that people paste into a shell: who may define an upstream must not
// have root run what its name says. key is what gives the name; empty: the table
// itself.
func checkName(t *table, key, name string) {
	if name == "" || len(name) > 100 || name[0] == '-' || strings.ContainsAny(name, " \"'/\\<>$`;&|()*?[]{}!#~^") || hasControl(name) {
		t.problem(key, strconv.Quote(name)+" cannot be a name",
			"up to 100 letters, digits and signs, not - at the beginning, without spaces, quotes, slashes and the signs of a shell")
	}
}

func (l *Listener) checkTLS(t *table) {
	if l.TLSMinVersion.broken() && l.TLS != ListenerTLSOff {
		t.warn("tls_min_version", "TLS "+string(l.TLSMinVersion)+" is broken (RFC 8996): whoever sits between may read and change what passes",
			"keep it for devices that know nothing newer, on a listener of their own")
	}
	if l.TLS == ListenerTLSOff {
		t.refuse(`has no effect while tls = "off"`, `set tls = "starttls" or "implicit"`, "cert_file", "key_file", "tls_min_version")
		return
	}
	if l.CertFile == "" || l.KeyFile == "" {
		if !t.has("cert_file") || !t.has("key_file") {
			t.problem("tls", strconv.Quote(string(l.TLS))+" needs a certificate", "set cert_file and key_file")
		}
		return
	}
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

// checkClientCertificate looks at the certificate of a client, which needs its
// key.
func checkClientCertificate(t *table, certFile, keyFile string) {
	switch {
	case t.has("cert_file") && !t.has("key_file"):
		t.problem("cert_file", "needs its key", "set key_file")
	case t.has("key_file") && !t.has("cert_file"):
		t.problem("key_file", "needs its certificate", "set cert_file")
	case certFile != "" && keyFile != "":
		checkKeyPair(t, certFile, keyFile)
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

// allowValue is a list of networks and single addresses.
func (l *Listener) allowValue() value {
	read := func(f field, v any) ([]netip.Prefix, bool) {
		if l.Network != "unix" {
			return listOf(l.readNetwork)(f, v)
		}
		if _, ok := readList(f, v); ok {
			f.problem("has no effect on a unix socket", "who may connect is decided by mode and group")
		}
		return nil, false
	}
	return kind[[]netip.Prefix]{name: "networks", parse: read, format: written[netip.Prefix]}.at(&l.Allow)
}

// proxyValue is a list of the networks and addresses of proxies.
func (l *Listener) proxyValue() value {
	read := func(f field, v any) ([]netip.Prefix, bool) {
		if l.Network != "unix" {
			return listOf(readProxy)(f, v)
		}
		if _, ok := readList(f, v); ok {
			f.problem("has no effect on a unix socket", "let the proxy connect by TCP")
		}
		return nil, false
	}
	return kind[[]netip.Prefix]{name: "networks", parse: read, format: written[netip.Prefix]}.at(&l.Proxies)
}

func readProxy(f field, s string) (netip.Prefix, bool) {
	prefix, err := parsePrefix(s)
	switch {
	case err != nil:
		return prefix, f.problem(strconv.Quote(s)+" "+err.Error(), `such as "192.0.2.10" or "2001:db8::/64"`)
	case prefix.Bits() == 0:
		return prefix, f.problem(strconv.Quote(s)+" would let everybody say that he is somebody else", "name the proxies, such as \"192.0.2.10\"")
	}
	return prefix, true
}

func (l *Listener) readNetwork(f field, s string) (netip.Prefix, bool) {
	prefix, err := parsePrefix(s)
	if err != nil {
		return prefix, f.problem(strconv.Quote(s)+" "+err.Error(), `such as "192.0.2.0/24", "192.0.2.7" or "2001:db8::/32"`)
	}
	if network := meantNetwork(s); network != "" {
		f.warn(strconv.Quote(s)+" is one address and not a network", "write "+strconv.Quote(network)+" if a network is meant, or "+strconv.Quote(prefix.String())+" for this address alone")
	}
	if prefix.Bits() == 0 && !l.RequireAuth {
		f.warn("lets the whole world send mail without signing in", "name your own networks, or set require_auth = true")
	}
	return prefix, true
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

// checkSocketOwner: only our own unix sockets have mode and group.
func (l *Listener) checkSocketOwner(t *table) {
	if l.Network != "unix" {
		t.refuse("only a unix socket has it", `with address = "unix:/path"; systemd sets those of its sockets`, "mode", "group")
		return
	}
	if t.got["mode"] {
		checkSocketMode(t)
	}
	if t.got["group"] {
		checkGroup(t, "group", l.Group)
	}
}

// checkExposure refuses a listener that stands open to strangers, or at which
// passwords cross the network in clear.
func checkExposure(t *table, l *Listener) {
	if l.Network != "tcp" || l.Target == "" {
		return
	}
	host, _, err := splitHostPort(l.Address)
	if err != nil || isLoopback(host) && len(l.Proxies) == 0 {
		return
	}
	by := " can be reached from other machines"
	if isLoopback(host) {
		by += " through the proxy"
	}
	if !t.has("allow") && !t.has("users") {
		t.problem("address", strconv.Quote(l.Address)+by+", and anybody there could send mail",
			"set allow to the networks that may, or users")
	} else if !t.has("allow") && !l.RequireAuth {
		t.problem("address", strconv.Quote(l.Address)+by+", and users need not sign in there",
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
	check := func(key string, size int64) {
		if size > cfg.Spool.MaxSize {
			d.problem(key+".max_message_size", FormatSize(size)+" is more than the whole spool may hold",
				"spool.max_size is "+FormatSize(cfg.Spool.MaxSize))
		}
	}
	for i, l := range cfg.Listeners {
		check(joinIndex("listener", i), l.MaxMessageSize)
	}
	if len(cfg.HTTP.Listeners()) > 0 {
		check("http", cfg.HTTP.Listener.MaxMessageSize)
	}
}

// readUsers reads names with their hashes. A hash is never repeated.
func readUsers(f field, v any) (map[string]string, bool) {
	users, known := f.table(v), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(users.values)) {
		hash, ok := readText(users.field(name), users.values[name])
		if !ok {
			continue
		}
		if strings.ContainsFunc(name, func(r rune) bool {
			return r != ' ' && (r < 0x80 && !wire.Visible(r) || r >= 0x80 && !wire.Addressable(r))
		}) {
			f.problem(strconv.QuoteToASCII(name)+" contains a character that cannot be seen", "names that look alike are one name to a reader")
		}
		if !knownHash(hash) {
			users.problem(name, "is not a stored password", "make one with: postern passwd")
		}
		known[name] = hash
	}
	if users.values != nil && len(users.values) == 0 {
		f.problem("is empty", "add a user, or remove the key")
	}
	checkMixedUsers(f, known)
	return known, true
}

func showUsers(users map[string]string) any {
	if len(users) == 0 {
		return nil
	}
	shown := map[string]any{}
	for name := range users {
		shown[name] = redacted
	}
	return shown
}

// checkMixedUsers warns about users whose clients will be refused: most clients
// take the strongest mechanism that is offered, for whomever they sign in.
func checkMixedUsers(f field, users map[string]string) {
	var without []string
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if !isVerifier(users[name]) {
			without = append(without, strconv.Quote(name))
		}
	}
	if n := len(without); n > 0 && n < len(users) {
		f.warn("SCRAM-SHA-256 is offered, and clients that choose it cannot sign in as "+strings.Join(without, ", "),
			"give all users verifiers (postern passwd --scheme scram-sha-256), or none")
	}
}

// The stored forms that sign-in verifies: argon2id and bcrypt in the form of
// crypt(3), verifiers for SCRAM-SHA-256 as RFC 5803 and as Dovecot write them.
var (
	argonForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\$argon2id\$v=19\$(?:[mtp]=[0-9]{1,7},){2}[mtp]=[0-9]{1,7}\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{22,}$`)
	})
	bcryptForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\$2[aby]\$(?:0[4-9]|1[0-9]|20)\$[./A-Za-z0-9]{53}$`)
	})
	scramForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:SCRAM-SHA-256\$|\{SCRAM-SHA-256\})([0-9]{4,8})[:,][A-Za-z0-9+/]{11,}={0,2}[$,][A-Za-z0-9+/]{43}=[:,][A-Za-z0-9+/]{43}=$`)
	})
)

func knownHash(hash string) bool {
	return argonForm().MatchString(hash) || bcryptForm().MatchString(hash) || isVerifier(hash)
}

// isVerifier reports whether a stored password is a verifier for SCRAM, with
// at least the iterations of RFC 7677 §4.
func isVerifier(hash string) bool {
	parts := scramForm().FindStringSubmatch(hash)
	if parts == nil {
		return false
	}
	iterations, err := strconv.Atoi(parts[1])
	return err == nil && iterations >= 4096 && iterations <= 10_000_000
}
