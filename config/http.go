package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The names of the two listeners of HTTP, as routes and logs have them.
const (
	HTTPListener   = "http"
	SubmitListener = "submit.sock"
)

// Dialect is the API of a provider whose requests are understood.
type Dialect string

// The dialects. Native requests of Postern's own are for everybody.
const (
	DialectResend   Dialect = "resend"
	DialectPostmark Dialect = "postmark"
	DialectSendGrid Dialect = "sendgrid"
	DialectMailgun  Dialect = "mailgun"
)

var dialects = []string{string(DialectResend), string(DialectPostmark), string(DialectSendGrid), string(DialectMailgun)}

// HTTP configures mail by HTTP: a unix socket for the users of this machine,
// and an address for whoever has a token. Both are listeners, with the same
// limits, whose Address is empty where there is none.
type HTTP struct {
	Socket   Listener // its name is SubmitListener
	Listener Listener // its name is HTTPListener
	// Hosts are names beside those of this machine that clients may ask for.
	Hosts []string
	// MaxJSON is how many requests with a large body that is held in memory
	// are answered at a time.
	MaxJSON int
	// Messages is the folder of message files that requests may name as their
	// template; empty: see Config.MessagesDir.
	Messages string
	Tokens   map[string]*HTTPToken
	// set: the file says where the socket is, or that there is none. sized: it
	// says how large a message may be.
	set, sized bool
}

// HTTPToken lets a client in at the address. Who has it is signed in as a user
// with its name.
type HTTPToken struct {
	Name   string
	Hash   string    // as of postern passwd --token; never logged
	From   []string  // patterns of the addresses that it may send as; empty: all
	Compat []Dialect // in which its requests may be
	Line   int       // in the file
}

func (h *HTTP) keys() []key {
	l := &h.Listener
	of := map[string]key{}
	for _, k := range l.keys() {
		of[k.name] = k
	}
	pick := func(names ...string) (keys []key) {
		for _, name := range names {
			k := of[name]
			k.restart = name == "idle_timeout" // net/http has it for the life of a listener
			if name == "max_connections" {
				k.def = 100 // which is beside the 500 of each listener of SMTP
			}
			keys = append(keys, k)
		}
		return keys
	}
	secure := pick("cert_file", "key_file", "tls_min_version", "allow")
	secure[3].unset = "everybody who has a token"
	return slices.Concat([]key{
		{name: "socket", value: h.socketValue(), unset: "submit.sock beside control.socket, where a listener takes mail from all users of this machine", help: "The unix socket where users of this machine hand in mail by HTTP."},
		{name: "socket_mode", value: permissions.at(&h.Socket.Mode), def: "0666", help: "The permissions of that socket."},
		{name: "socket_group", value: text.at(&h.Socket.Group), unset: "unchanged", help: "The group that owns that socket."},
		{name: "address", value: h.addressValue(), unset: "off", help: "Where clients with a token connect: an IP address with a port, or a socket of systemd."},
		{name: "tls", value: choice(&l.TLS, ListenerTLSOff, ListenerTLSImplicit), def: "off", hidden: l.Address == "", help: "Whether the address is one of HTTPS."},
	}, secure, []key{
		{name: "hosts", value: textList.at(&h.Hosts), unset: "names of this machine and of its certificate", help: "Further names that requests may be for, such as that of a proxy."},
	}, pick("max_message_size", "max_recipients", "max_connections", "idle_timeout", "data_timeout", "data_max_time", "data_min_rate", "rate"), []key{
		{name: "max_json", value: number(&h.MaxJSON, 1, 10_000), def: 16, help: "The most bodies of more than 1 MiB that are held in memory at a time."},
		{name: "messages", value: path.at(&h.Messages), unset: "messages beside the configuration", help: "The folder of message files that requests may name as their template."},
		{name: "token", value: h.tokenTables(), hidden: len(h.Tokens) == 0, help: "Who may hand in mail at the address."},
	})
}

func (t *HTTPToken) keys() []key {
	return []key{
		{name: "hash", value: tokenHash.at(&t.Hash), unset: "must be given", help: "What postern passwd --token prints beside the token."},
		{name: "from", value: patternList.at(&t.From), unset: "whatever the routes take", help: "Patterns of the addresses that the token may send as."},
		{name: "compat", value: compat.at(&t.Compat), def: []any{string(DialectResend)}, help: "The providers whose requests it may make."},
	}
}

// Senders are the rules that From makes for whoever has the token.
func (t *HTTPToken) Senders() []Sender {
	if len(t.From) == 0 {
		return nil
	}
	return []Sender{{User: []string{t.Name}, From: t.From, CheckFrom: true, Line: t.Line}}
}

// socketValue is a path, a socket of systemd, or "off".
func (h *HTTP) socketValue() value {
	l := &h.Socket
	show := func(address string) any {
		switch {
		case l.Network == "unix":
			return l.Target
		case address != "":
			return address
		}
		return "off"
	}
	return kind[string]{name: "address", parse: h.readSocket, format: show}.at(&l.Address)
}

// readSocket sets Network and Target too.
func (h *HTTP) readSocket(f field, v any) (address string, ok bool) {
	s, ok := readText(f, v)
	if !ok {
		return "", false
	}
	h.set = true
	if s == "off" {
		return "", true
	}
	l := &h.Socket
	if l.Target, ok = strings.CutPrefix(s, "systemd:"); ok {
		l.Network = "systemd"
		checkSystemdName(f, l.Target)
		return s, true
	}
	l.Network, l.Target = "unix", f.t.doc.path(strings.TrimPrefix(s, "unix:"))
	if text := socketPathProblem(l.Target); text != "" {
		f.problem(text, "choose a shorter one")
	}
	return "unix:" + l.Target, true
}

// addressValue is that of a listener, but for unix sockets.
func (h *HTTP) addressValue() value {
	read := func(f field, v any) (string, bool) {
		address, ok := readText(f, v)
		if !ok {
			return "", false
		}
		if path, isPath := strings.CutPrefix(address, "unix:"); isPath {
			return "", f.problem("is for clients with tokens", "set socket = "+strconv.Quote(path))
		}
		h.Listener.readAddress(f, address)
		return address, true
	}
	return kind[string]{name: "address", parse: read, format: unlessEmpty}.at(&h.Listener.Address)
}

func (h *HTTP) check(t *table) {
	l := &h.Listener
	h.sized = t.got["max_message_size"]
	slow := 0
	for _, one := range h.Tokens {
		if argonForm().MatchString(one.Hash) {
			slow++
		}
	}
	if slow > maxSlowTokens {
		t.problem("token", "there are more than "+strconv.Itoa(maxSlowTokens)+" with a hash of argon2id", "an unknown token is compared with each of them: make them anew with: postern passwd --token")
	}
	if h.set && h.Socket.Network != "unix" {
		t.refuse("only a unix socket of Postern's own has it", `with socket = "/path"; systemd sets those of its sockets`, "socket_mode", "socket_group")
	}
	if t.got["socket_mode"] {
		checkSocketMode(t)
	}
	if t.got["socket_group"] {
		checkGroup(t, "socket_group", h.Socket.Group)
	}
	if !t.has("address") {
		t.refuse("has no effect without address", `such as address = "127.0.0.1:2580"`, "tls", "cert_file", "key_file", "tls_min_version", "allow", "hosts")
		return
	}
	l.checkTLS(t)
	if len(h.Tokens) == 0 && !t.has("token") {
		t.problem("address", "lets nobody in: there is no token", "add [http.token.NAME] with what `postern passwd --token` prints")
	}
	if l.Network != "tcp" || l.Target == "" || l.TLS != ListenerTLSOff {
		return
	}
	if host, _, err := splitHostPort(l.Address); err == nil && !isLoopback(host) {
		t.problem("address", strconv.Quote(l.Address)+" can be reached from other machines, and tokens would cross the network in clear",
			`set tls = "implicit" with cert_file and key_file, or listen on loopback behind a proxy`)
	}
}

func (h *HTTP) tokenTables() value {
	return tableMap[HTTPToken]{
		place: &h.Tokens, keys: (*HTTPToken).keys, check: (*HTTPToken).check,
		fresh: func(name string) *HTTPToken {
			t := &HTTPToken{Name: name}
			setDefaults(t.keys())
			return t
		},
	}
}

func (k *HTTPToken) check(t *table) {
	if !t.has("hash") {
		t.problem("", "has no hash", "make one with: postern passwd --token")
	}
	checkName(t, "name", k.Name)
}

// maxSlowTokens bounds what a wrong token costs: 20 ms of a processor for each
// that has a hash of argon2id, as earlier versions made them and as it may be made
// of a secret that somebody chose.
const maxSlowTokens = 100

// tokenForm is the hash of a token of postern passwd --token.
var tokenForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\$sha256\$[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$`) })

// readTokenHash never repeats what it reads.
func readTokenHash(f field, v any) (string, bool) {
	hash, ok := readText(f, v)
	if ok && !argonForm().MatchString(hash) && !tokenForm().MatchString(hash) {
		f.problem("is not the hash of a token", "make both with: postern passwd --token")
	}
	return hash, ok
}

func readDialect(f field, s string) (Dialect, bool) {
	if slices.Contains(dialects, s) {
		return Dialect(s), true
	}
	hint := "known: " + strings.Join(dialects, ", ")
	if near := Nearest(s, dialects); near != "" {
		hint = "did you mean " + strconv.Quote(near) + "?"
	}
	return "", f.problem(strconv.Quote(s)+" is not known", hint)
}

// Listeners are those of the two that there are.
func (h *HTTP) Listeners() (list []*Listener) {
	for _, l := range []*Listener{&h.Socket, &h.Listener} {
		if l.Address != "" {
			list = append(list, l)
		}
	}
	return list
}

// AllListeners are all that mail comes in by, those of HTTP last.
func (c *Config) AllListeners() (list []*Listener) {
	for i := range c.Listeners {
		list = append(list, &c.Listeners[i])
	}
	return append(list, c.HTTP.Listeners()...)
}

// settleHTTP makes of what was read the two listeners.
func (c *Config) settleHTTP() {
	h := &c.HTTP
	if !h.set && c.openToMachine() {
		h.Socket.Network, h.Socket.Target = "unix", submitSocket(c)
		h.Socket.Address = "unix:" + h.Socket.Target
	}
	own, l := h.Socket, &h.Listener
	if most := c.Spool.MaxSize; most > 0 && !h.sized {
		l.MaxMessageSize = min(l.MaxMessageSize, most)
	}
	h.Socket = *l
	h.Socket.Name, h.Socket.Address, h.Socket.Network, h.Socket.Target = SubmitListener, own.Address, own.Network, own.Target
	h.Socket.Mode, h.Socket.Group, h.Socket.TLS = own.Mode, own.Group, ListenerTLSOff
	h.Socket.Allow, h.Socket.CertFile, h.Socket.KeyFile = nil, "", ""
	h.Socket.RepairHeaders = true
	l.Name, l.RequireAuth, l.Users = HTTPListener, true, map[string]string{}
	for name, t := range h.Tokens {
		l.Users[name] = t.Hash
	}
	l.defaultLeniency(true, false)
}

// DefaultSubmitSocket is where the socket is with the usual control.socket: for
// whoever may not read the file.
func DefaultSubmitSocket() string { return submitSocket(Default()) }

// DefaultSockets are control.socket and the control.read_socket that the package
// sets: for whoever may not read the file.
func DefaultSockets() (control, read string) {
	control = systemPlaces().socket
	return control, filepath.Join(filepath.Dir(control), "read.sock")
}

// submitSocket is where the socket is if nobody says otherwise.
func submitSocket(c *Config) string {
	return filepath.Join(filepath.Dir(c.Control.Socket), "submit.sock")
}

// openToMachine tells whether a socket where all users of this machine hand in
// mail gives nobody more than a listener does already: one takes mail from all
// of them, and nothing holds its clients to rates or addresses.
func (c *Config) openToMachine() bool {
	bound := func(l *Listener) bool {
		return len(l.Rate) > 0 ||
			slices.ContainsFunc(c.Senders, func(s Sender) bool { return slices.Contains(s.Listener, l.Name) }) ||
			slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Reject != "" && slices.Contains(r.Listener, l.Name) })
	}
	return slices.ContainsFunc(c.Listeners, func(l Listener) bool {
		if l.RequireAuth || bound(&l) {
			return false
		}
		switch l.Network {
		case "unix":
			return l.Mode&0o002 != 0
		case "tcp":
			if len(l.Allow) == 0 {
				return true
			}
			host, _, err := splitHostPort(l.Address)
			return err == nil && isLoopback(host)
		}
		return false
	})
}

// warnNoSubmitSocket tells that users of this machine have no socket because it
// is systemd that knows who may connect to the listener.
func (d *document) warnNoSubmitSocket(c *Config) {
	if c.HTTP.set || c.HTTP.Socket.Address != "" {
		return
	}
	i := slices.IndexFunc(c.Listeners, func(l Listener) bool { return l.Network == "systemd" && !l.RequireAuth })
	if i < 0 {
		return
	}
	d.top().sub("http").warn("socket", fmt.Sprintf("there is none for sendmail and send, since only systemd knows who may connect to %q", c.Listeners[i].Address),
		fmt.Sprintf("set socket = %q in [http], or socket = \"off\"", submitSocket(c)))
}

// MessagesDir is the folder of message files that requests may name: without
// http.messages the one beside the configuration. Empty: there is none.
func (c *Config) MessagesDir() string {
	if c.HTTP.Messages != "" || c.Path == "" {
		return c.HTTP.Messages
	}
	folder, err := filepath.Abs(filepath.Dir(c.Path))
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "messages")
}

// TokenNames are those of the tokens, sorted.
func (h *HTTP) TokenNames() []string { return slices.Sorted(maps.Keys(h.Tokens)) }
