package config

import (
	"maps"
	"slices"
	"strconv"
)

// ConsoleListener is the name of the console as a way in, as routes and the log
// have it. Who writes mail there has signed in as "console:NAME".
const ConsoleListener = "console"

// Role is what a user of the console may do. Each may do all that those before
// it may.
type Role string

// The roles.
const (
	RoleLook    Role = "look"    // see the state, and no content
	RoleOperate Role = "operate" // read contents, and act on messages and upstreams
	RoleDefine  Role = "define"  // put a changed configuration in force
)

// roles are in the order of what they may do.
var roles = []Role{RoleLook, RoleOperate, RoleDefine}

// Covers tells whether r may do what another role may. The zero Role covers
// nothing.
func (r Role) Covers(other Role) bool {
	return slices.Contains(roles, r) && slices.Index(roles, r) >= slices.Index(roles, other)
}

// Console is the web console. Its listener, which takes no mail, has no Address
// where there is none.
type Console struct {
	Listener Listener
	// Hosts are names beside those of this machine that browsers may ask for.
	Hosts []string
	// Messages is the folder of message files that users may fill in; empty: see
	// Config.ConsoleMessagesDir.
	Messages string
	Users    map[string]*ConsoleUser
}

// ConsoleUser may sign in to the console.
type ConsoleUser struct {
	Name     string
	Password string // as of postern passwd; never logged
	Role     Role
}

// maxConsoleUsers is beyond any team.
const maxConsoleUsers = 1000

func (c *Console) keys() []key {
	l := &c.Listener
	unix := l.Network == "unix"
	of := map[string]key{}
	for _, k := range l.keys() {
		of[k.name] = k
	}
	tls := of["tls_min_version"]
	tls.restart = true
	return []key{
		{name: "address", value: l.addressValue(), unset: "off", restart: true, help: "Where browsers connect: an IP address with a port, or a unix socket."},
		{name: "mode", value: permissions.at(&l.Mode), def: "0660", restart: true, hidden: !unix, help: "The permissions of a unix socket."},
		{name: "group", value: text.at(&l.Group), unset: "unchanged", restart: true, hidden: !unix, help: "The group that owns a unix socket."},
		{name: "tls", value: choice(&l.TLS, ListenerTLSOff, ListenerTLSImplicit), def: "off", restart: true, hidden: l.Address == "", help: "Whether the address is one of HTTPS."},
		{name: "cert_file", value: path.at(&l.CertFile), unset: "none", restart: true, help: "The certificate with its chain, in PEM."},
		{name: "key_file", value: path.at(&l.KeyFile), unset: "none", restart: true, help: "The key of the certificate, in PEM."},
		tls,
		{name: "allow", value: l.allowValue(), unset: "everybody who can sign in", help: "The networks and addresses that may connect."},
		{name: "hosts", value: textList.at(&c.Hosts), unset: "names of this machine and of its certificate", help: "Further names that browsers may ask for, such as that of a proxy."},
		{name: "messages", value: path.at(&c.Messages), unset: "that of http.messages", help: "The folder of message files that users with the role operate may fill in and send."},
		{name: "user", value: c.userTables(), hidden: len(c.Users) == 0, help: "Who may sign in to the console."},
	}
}

func (u *ConsoleUser) keys() []key {
	return []key{
		{name: "password", value: consoleHash.at(&u.Password), unset: "must be given", help: "What postern passwd prints."},
		{name: "role", value: choice(&u.Role, roles...), def: string(RoleLook), help: "What the user may do: look, operate as well, or define as well."},
	}
}

func (c *Console) userTables() value {
	return tableMap[ConsoleUser]{
		place: &c.Users, keys: (*ConsoleUser).keys, check: (*ConsoleUser).check,
		fresh: func(name string) *ConsoleUser {
			u := &ConsoleUser{Name: name}
			setDefaults(u.keys())
			return u
		},
	}
}

func (u *ConsoleUser) check(t *table) {
	if !t.has("password") {
		t.problem("", "has no password", "make one with: postern passwd")
	}
	checkName(t, "name", u.Name)
}

func (c *Console) check(t *table) {
	l := &c.Listener
	if len(c.Users) > maxConsoleUsers {
		t.problem("user", "there are more than "+strconv.Itoa(maxConsoleUsers), "")
	}
	if !t.has("address") {
		t.refuse("has no effect without address", `such as address = "127.0.0.1:2590"`,
			"mode", "group", "tls", "cert_file", "key_file", "tls_min_version", "allow", "hosts", "messages", "user")
		return
	}
	if l.Network == "systemd" {
		t.problem("address", "is a socket of systemd, which the console cannot use", `such as address = "127.0.0.1:2590", or "unix:/run/postern/console.sock"`)
		return
	}
	l.checkTLS(t)
	l.checkSocketOwner(t)
	if len(c.Users) == 0 && !t.has("user") {
		t.problem("address", "lets nobody in: there is no user", "add [console.user.NAME] with what `postern passwd` prints")
	}
	if l.Network != "tcp" || l.Target == "" || l.TLS != ListenerTLSOff {
		return
	}
	if host, _, err := splitHostPort(l.Address); err == nil && !isLoopback(host) {
		t.problem("address", strconv.Quote(l.Address)+" can be reached from other machines, and passwords would cross the network in clear",
			`set tls = "implicit" with cert_file and key_file, or listen on loopback behind a proxy`)
	}
}

// readConsoleHash never repeats what it reads.
func readConsoleHash(f field, v any) (string, bool) {
	hash, ok := readText(f, v)
	if ok && !knownHash(hash) {
		f.problem("is not a stored password", "make one with: postern passwd")
	}
	return hash, ok
}

// ConsoleMessagesDir is the folder of message files that users of the console may
// fill in: without console.messages that of MessagesDir. Empty: there is none.
func (c *Config) ConsoleMessagesDir() string {
	if c.Console.Messages != "" {
		return c.Console.Messages
	}
	return c.MessagesDir()
}

// UserNames are those of the users, sorted.
func (c *Console) UserNames() []string { return slices.Sorted(maps.Keys(c.Users)) }
