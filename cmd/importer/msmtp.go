package importer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/config"
)

// maxAccounts bounds what one msmtprc can define.
const maxAccounts = 1000

// msmtpAccount is what an account says, with what it inherits.
type msmtpAccount struct {
	Place
	name     string
	settings map[string]Setting
}

// msmtp reads a msmtprc.
type msmtp struct {
	*Found
	src      *source
	file     *file
	accounts []*msmtpAccount
	home     string // for ~
}

// readMSMTP reads the msmtprc at path, of the system or of a user.
func readMSMTP(path string) (*Found, error) {
	if isFolder(path) {
		path = filepath.Join(path, "msmtprc")
	}
	m := &msmtp{Found: &Found{}}
	m.src, m.home = msmtpSource(path)
	m.Found.src = m.src
	var err error
	if m.file, err = m.src.read(path); err != nil {
		return nil, &Unreadable{path, err}
	}
	if err := m.parse(); err != nil {
		return nil, err
	}
	m.upstreams()
	if len(m.Upstreams) == 0 {
		m.noUpstream(Place{File: path})
	}
	return m.Found, nil
}

// msmtpSource says where the files are that a msmtprc names: beside that of a
// user they are the user's.
func msmtpSource(path string) (*source, string) {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	dir := filepath.Dir(path)
	home := filepath.Dir(abs)
	if filepath.Base(home) == "msmtp" && filepath.Base(filepath.Dir(home)) == ".config" {
		home = filepath.Dir(filepath.Dir(home))
	}
	own, _ := os.UserHomeDir()
	up := filepath.ToSlash(filepath.Dir(home))
	if home == own || up == "/home" || home == "/root" {
		return newSource(dir, filepath.ToSlash(filepath.Dir(abs))), home
	}
	return newSource(dir, "/etc"), own
}

// parse reads the lines into accounts.
func (m *msmtp) parse() error {
	defaults := map[string]Setting{}
	// Settings before the first account are those of an account "default", as
	// they were before msmtp had accounts.
	now := &msmtpAccount{name: "default", settings: map[string]Setting{}, Place: m.file.at(0)}
	var into map[string]Setting
	for i, line := range m.file.lines {
		at := m.file.at(i + 1)
		name, arg := msmtpLine(line)
		switch name {
		case "":
		case "defaults":
			into = defaults
		case "account":
			if len(m.accounts) >= maxAccounts {
				return &Unreadable{at.String(), fmt.Errorf("has more than %d accounts", maxAccounts)}
			}
			now = m.account(at, arg, defaults)
			into = now.settings
		default:
			if into == nil {
				into = now.settings
				m.accounts = append(m.accounts, now)
			}
			into[name] = Setting{at, arg}
		}
	}
	return nil
}

// msmtpLine cuts a line into its command and the argument, whose quotes are
// taken off.
func msmtpLine(line string) (name, arg string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	name = line
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		name, arg = line[:i], strings.TrimSpace(line[i:])
	}
	if len(arg) >= 2 && arg[0] == '"' && arg[len(arg)-1] == '"' {
		arg = arg[1 : len(arg)-1]
	}
	return strings.ToLower(name), arg
}

// account begins one: "NAME" or "NAME : OTHER, OTHER".
func (m *msmtp) account(at Place, arg string, defaults map[string]Setting) *msmtpAccount {
	name, from, _ := strings.Cut(arg, ":")
	a := &msmtpAccount{Place: at, name: strings.TrimSpace(name), settings: maps.Clone(defaults)}
	for other := range strings.SplitSeq(from, ",") {
		other = strings.TrimSpace(other)
		if other == "" {
			continue
		}
		if b := m.find(other); b != nil {
			maps.Copy(a.settings, b.settings)
		} else {
			m.note(at, "it inherits from the account "+shown(other)+", which is not defined before it", "")
		}
	}
	if i := slices.IndexFunc(m.accounts, func(b *msmtpAccount) bool { return b.name == a.name }); i >= 0 {
		m.accounts[i] = a // the last definition counts
	} else {
		m.accounts = append(m.accounts, a)
	}
	return a
}

func (m *msmtp) find(name string) *msmtpAccount {
	if i := slices.IndexFunc(m.accounts, func(a *msmtpAccount) bool { return a.name == name }); i >= 0 {
		return m.accounts[i]
	}
	return nil
}

// upstreams makes one of each account, and a route where msmtp would choose the
// account by its sender. What the account "default" merely names again is made
// once.
func (m *msmtp) upstreams() {
	var last *Upstream
	for _, a := range m.accounts {
		u := m.upstream(a)
		if u == nil {
			continue
		}
		if a.name == "default" {
			last = u
		} else {
			m.byFrom(a, u)
		}
	}
	if last != nil {
		m.Routes = slices.DeleteFunc(m.Routes, func(r Route) bool { return slices.Equal(r.Upstream, []string{last.Name}) })
		m.route(Route{Place: m.find("default").Place, From: []string{"*"}, Upstream: []string{last.Name}})
	} else if len(m.Upstreams) > 0 {
		m.note(m.file.at(0), "no account is named default, so that only the senders of the routes below are taken", `add a [[route]] with from = ["*"] where others send too`)
	}
}

// byFrom is the route of the senders of an account.
func (m *msmtp) byFrom(a *msmtpAccount, u *Upstream) {
	from := a.settings["from"]
	switch {
	case from.Value == "" || strings.Contains(from.Value, "%"):
		return
	case strings.ContainsAny(from.Value, "?["):
		u.note(from.Place, "from: in the pattern "+shown(from.Value)+" only a * is known", "write a [[route]] for what is meant")
		return
	}
	m.route(Route{Place: from.Place, From: []string{from.Value}, Upstream: []string{u.Name}})
}

// upstream makes one of an account; nil where it has no host.
func (m *msmtp) upstream(a *msmtpAccount) *Upstream {
	host := a.settings["host"]
	u := &Upstream{Place: a.Place}
	var ok bool
	if u.Host, ok = config.ParseHost(host.Value); !ok {
		m.note(a.Place, "the account "+shown(a.name)+" has no host that can be used", "add an [upstream] where it is needed")
		return nil
	}
	m.tls(a, u)
	m.signIn(a, u)
	if from := a.settings["from"]; from.Value != "" {
		m.from(u, from)
	}
	if other := m.like(u); other != nil {
		u = other
	} else if a.name == "default" {
		m.Found.upstream(u.Host, u)
	} else {
		m.Found.upstream(a.name, u)
	}
	for _, name := range slices.Sorted(maps.Keys(a.settings)) {
		m.rest(u, name, a.settings[name])
	}
	return u
}

// on reads a switch, which is on where it has no argument.
func (a *msmtpAccount) on(name string, without bool) bool {
	s, ok := a.settings[name]
	if !ok {
		return without
	}
	return s.Value == "" || s.Value == "on"
}

// tls reads port and TLS.
func (m *msmtp) tls(a *msmtpAccount, u *Upstream) {
	start := a.on("tls_starttls", true)
	checked := a.on("tls_certcheck", true)
	switch {
	case !a.on("tls", false):
		u.TLS = config.TLSOff
	case !start:
		u.TLS = config.TLSImplicit
		if !checked {
			u.note(a.settings["tls_certcheck"].Place, "the certificate was not checked, and now it is", "where it is not valid for the host, set fingerprint or ca_file")
		}
	case checked:
		u.TLS = config.TLSVerify
	default:
		u.TLS = config.TLSEncrypt
	}
	u.Port = 25
	if u.TLS == config.TLSImplicit {
		u.Port = 465
	}
	if port := a.settings["port"]; port.Value != "" {
		if n, ok := portNumber(port.Value); ok {
			u.Port = n
		} else {
			u.note(port.Place, "port: "+shown(port.Value)+" is no number of a port", "set port")
		}
	}
	if u.TLS == config.TLSOff {
		return
	}
	if fp := a.settings["tls_fingerprint"]; fp.Value != "" && checked {
		u.fingerprint(fp, "tls_fingerprint", fp.Value)
	}
	if ca := a.settings["tls_trust_file"]; ca.Value != "" && ca.Value != "system" && checked {
		u.authorities(m.src, ca, "tls_trust_file", m.expand(ca.Value))
	}
	cert, key := a.settings["tls_cert_file"], a.settings["tls_key_file"]
	if cert.Value != "" || key.Value != "" {
		u.certificate(m.src, cert, m.expand(cert.Value), m.expand(key.Value))
	}
	if name := a.settings["tls_host_override"]; name.Value != "" {
		u.serverName(name, "tls_host_override")
	}
}

// expand puts the home of the file's user in the place of ~.
func (m *msmtp) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		return filepath.ToSlash(m.home) + rest
	}
	return path
}

// signIn reads user, password and mechanism.
func (m *msmtp) signIn(a *msmtpAccount, u *Upstream) {
	auth := a.settings["auth"]
	if _, ok := a.settings["auth"]; !ok || auth.Value == "off" {
		return
	}
	user, password, command := a.settings["user"], a.settings["password"], a.settings["passwordeval"]
	switch method := strings.ToLower(auth.Value); method {
	case "", "on":
		// Whichever is offered, and never in clear.
	case "plain", "login":
		u.shows(auth.Place, method)
	case "scram-sha-1", "scram-sha-256", "cram-md5", "ntlm":
		u.Auth = method
	case "external":
		if u.CertFile != "" {
			u.Auth = "external"
			return
		}
		u.note(auth.Place, "auth external needs a client certificate", `set cert_file, key_file and auth = "external"`)
		return
	case "xoauth2", "oauthbearer":
		u.note(auth.Place, "auth "+method+" took tokens from a command; Postern gets them from the provider itself", "add an [upstream."+u.Name+".oauth] table (docs/oauth.md)")
		return
	case "gssapi":
		u.note(auth.Place, "auth gssapi used the tickets of whoever sent", `set auth = "gssapi" with a keytab (docs/upstreams.md)`)
		return
	default:
		u.note(auth.Place, "auth "+shown(method)+" is not known here, and the strongest mechanism that both know is used", "")
	}
	if user.Value == "" || !plain(user.Value) {
		u.note(auth.Place, "auth is on, and no user name stands here that can be carried over", "set username and password_file")
		return
	}
	u.Username = user.Value
	if domain := a.settings["ntlmdomain"]; domain.Value != "" && u.Auth == "ntlm" && plain(domain.Value) && !strings.ContainsAny(domain.Value+u.Username, `\@/`) {
		u.Domain = domain.Value
	}
	switch {
	case password.Value != "":
		u.password(password.Place, password.Value)
	case command.Value != "":
		u.command(command)
	default:
		u.note(user.Place, "msmtp asked a key ring, ~/.netrc or a terminal for the password", "put it into password_file")
	}
}

// msmtpQuiet are settings of which nothing has to be said: they are read
// elsewhere, or Postern does so anyway.
var msmtpQuiet = map[string]bool{
	"host": true, "port": true, "tls": true, "tls_starttls": true, "tls_certcheck": true, "tls_trust_file": true,
	"tls_fingerprint": true, "tls_cert_file": true, "tls_key_file": true, "tls_host_override": true, "auth": true,
	"user": true, "password": true, "passwordeval": true, "ntlmdomain": true,
	"set_date_header": true, "add_missing_date_header": true, "set_msgid_header": true, "remove_bcc_headers": true,
	"keepbcc": true, "syslog": true, "tls_min_dh_prime_bits": true, "tls_nocertcheck": true, "from": true,
}

// msmtpTold are settings that have no counterpart: what that means, what to do.
var msmtpTold = map[string][2]string{
	"eval":                    {"a command that prints a line of the file is not run", "write what it prints by hand"},
	"logfile":                 {"the log goes to standard error, and so to the journal", ""},
	"logfile_time_format":     {"the log has its own format", ""},
	"source_ip":               {"no address to connect from can be chosen", "let the routing table of the machine choose it"},
	"proxy_host":              {"there are no SOCKS proxies", "connect directly, or forward a port of this machine and name it as host"},
	"proxy_port":              {"there are no SOCKS proxies", ""},
	"socket":                  {"an upstream is reached by TCP only", "let the server listen at a port"},
	"dsn_notify":              {"the program that sends asks for notices, and Postern itself reports what fails", ""},
	"dsn_return":              {"the program that sends chooses it", ""},
	"undisclosed_recipients":  {"To and Cc stay as they are", ""},
	"tls_priorities":          {"TLS 1.2 and newer with safe ciphers are used", "set tls_min_version where the server is older"},
	"tls_crl_file":            {"lists of revoked certificates are not read", ""},
	"from_full_name":          {"the display name is what the program writes", ""},
	"allow_from_override":     {"who may send as whom is said by [[sender]]", "see docs/senders.md"},
	"auto_from":               {"the sender is what the program gives", "see docs/senders.md"},
	"set_from_header":         {"From is what the program writes", ""},
	"add_missing_from_header": {"From is what the program writes", ""},
}

// rest carries over, or tells of, whatever is not about the way to the host.
func (m *msmtp) rest(u *Upstream, name string, s Setting) {
	switch name {
	case "timeout":
		if n, err := strconv.Atoi(s.Value); err == nil && n > 0 {
			u.Connect = bounded(time.Duration(min(n, 86400))*time.Second, time.Second, 24*time.Hour)
		}
		return
	case "protocol":
		if strings.EqualFold(s.Value, "lmtp") {
			u.note(s.Place, "LMTP is not spoken", "name a server that speaks SMTP")
		}
		return
	case "domain":
		switch {
		case s.Value == "" || s.Value == "localhost" || strings.Contains(s.Value, "%"):
		case m.Hostname.Value == "":
			m.mailName(s.Place, "domain", s.Value)
		case !strings.EqualFold(m.Hostname.Value, s.Value):
			u.note(s.Place, "domain: EHLO says hostname, which is one for all upstreams", "")
		}
		return
	case "maildomain":
		m.domain(s, "maildomain")
		return
	case "aliases":
		m.aliases(s)
		return
	}
	if told, ok := msmtpTold[name]; ok {
		u.note(s.Place, name+": "+told[0], told[1])
	} else if !msmtpQuiet[name] {
		u.note(s.Place, setting(name)+" is not known", "see msmtp(1)")
	}
}

// from is the sender of whatever msmtp sent by the account without another.
func (m *msmtp) from(u *Upstream, s Setting) {
	if strings.ContainsAny(s.Value, "*?[") || s.Value == "" {
		return // a pattern, which made a route
	}
	if strings.Contains(s.Value, "%") {
		u.note(s.Place, "from: Postern puts no user or host into a pattern", "")
		return
	}
	if a, ok := address(s.Value); ok {
		u.Sender = a
		u.note(s.Place, "from: all mail of this upstream goes out as this address, in From too; msmtp left From, and a sender that a program gave, as they were", "remove sender where programs choose an address that the upstream accepts")
	}
}

// aliases names the file of aliases, which msmtp writes like aliases(5).
func (m *msmtp) aliases(s Setting) {
	m.AliasFile = Setting{s.Place, m.expand(s.Value)}
}
