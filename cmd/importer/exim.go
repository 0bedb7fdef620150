package importer

import (
	"path/filepath"
	"strings"

	"postern/config"
)

// exim reads the settings of an Exim: those that Debian asks for, or a plain
// configuration of one file.
type exim struct {
	*Found
	src *source
	set map[string]Setting
}

// readExim reads the folder or the file. Where update-exim4.conf.conf is there,
// that counts.
func readExim(path string) (*Found, error) {
	dir, name := path, ""
	if !isFolder(path) {
		dir, name = filepath.Dir(path), filepath.Base(path)
	}
	e := &exim{Found: &Found{}, src: newSource(dir, "/etc/exim4"), set: map[string]Setting{}}
	e.Found.src = e.src
	const debian = "update-exim4.conf.conf"
	if name == "" || name == debian {
		f, err := e.src.read(filepath.Join(dir, debian))
		if err == nil {
			e.debian(f)
			return e.Found, nil
		}
		if name != "" {
			return nil, &Unreadable{path, err}
		}
	}
	candidates := []string{name}
	if name == "" {
		candidates = []string{"exim4.conf", "exim.conf", "configure"}
	}
	var f *file
	var err error
	for _, c := range candidates {
		if f, err = e.src.read(filepath.Join(dir, c)); err == nil {
			e.plain(f)
			return e.Found, nil
		}
	}
	return nil, &Unreadable{path, err}
}

// debian reads update-exim4.conf.conf, which is lines of NAME='VALUE'.
func (e *exim) debian(f *file) {
	for i, line := range f.lines {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && name != "" && name[0] != '#' {
			e.set[name] = Setting{f.at(i + 1), strings.Trim(strings.TrimSpace(value), `"'`)}
		}
	}
	e.debianNames()
	e.debianListeners()
	hosts := e.set["dc_smarthost"]
	kind := e.set["dc_eximconfig_configtype"]
	r := Route{Place: hosts.Place, From: []string{"*"}}
	if kind.Value == "smarthost" || kind.Value == "satellite" {
		for h := range strings.SplitSeq(hosts.Value, ";") {
			if u := e.smarthost(Setting{hosts.Place, strings.TrimSpace(h)}); u != nil {
				r.Upstream = union(r.Upstream, []string{u.Name})
			}
		}
	}
	if len(r.Upstream) == 0 {
		e.noUpstream(kind.Place)
		return
	}
	e.route(r)
}

func (e *exim) debianNames() {
	mailname, err := e.src.named("/etc/mailname")
	if err == nil && len(mailname.lines) > 0 {
		at := Setting{mailname.at(1), strings.TrimSpace(mailname.lines[0])}
		e.mailName(at.Place, "mailname", at.Value)
		if e.set["dc_readhost"].Value == "" || e.set["dc_hide_mailname"].Value != "true" {
			e.domain(at, "mailname")
		}
		e.local(at.Value)
	}
	if r := e.set["dc_readhost"]; r.Value != "" && e.set["dc_hide_mailname"].Value == "true" {
		e.domain(r, "dc_readhost")
		e.note(r.Place, "dc_readhost: the senders of this machine showed this domain; names without a domain are completed with it, and others stay", "add a [[rewrite]] where programs write the name of the machine")
	}
	e.local(strings.FieldsFunc(e.set["dc_other_hostnames"].Value, func(r rune) bool { return strings.ContainsRune(";: \t", r) })...)
	if f, err := e.src.named("/etc/aliases"); err == nil {
		e.AliasFile = Setting{f.at(0), "/etc/aliases"}
	}
	if d := e.set["dc_relay_domains"]; d.Value != "" {
		e.note(d.Place, "dc_relay_domains: mail for these domains was relayed for everybody", "let your mail server receive it")
	}
	if f, err := e.src.named("/etc/email-addresses"); err == nil {
		for i, line := range f.lines {
			user, to, ok := strings.Cut(line, ":")
			if line == "" || line[0] == '#' || !ok {
				continue
			}
			from := e.patterns(f.at(i+1), []string{strings.TrimSpace(user) + "@*"})
			if a, ok := address(to); ok && len(from) > 0 {
				e.Rewrites = append(e.Rewrites, Rewrite{Place: f.at(i + 1), From: from, Envelope: a, Header: a})
			}
		}
	}
}

// debianListeners reads dc_local_interfaces, separated by semicolons.
func (e *exim) debianListeners() {
	s := e.set["dc_local_interfaces"]
	var allow []string
	for n := range strings.SplitSeq(e.set["dc_relay_nets"].Value, ";") {
		if n = strings.TrimSpace(n); n == "" {
			continue
		}
		if c, ok := network(n); ok {
			allow = union(allow, []string{c})
		} else {
			e.note(e.set["dc_relay_nets"].Place, "dc_relay_nets: "+shown(n)+" is no network", "see to allow of the [[listener]]")
		}
	}
	addresses := strings.Split(s.Value, ";")
	for _, a := range addresses {
		if a = strings.TrimSpace(a); a == "" && len(addresses) > 1 {
			continue
		}
		if a == "::1" || a == "<; ::1" {
			continue // 127.0.0.1 stands beside it, and machines without IPv6 could not start
		}
		port := "25"
		if i := strings.LastIndexByte(a, '.'); strings.Count(a, ".") == 4 {
			a, port = a[:i], a[i+1:]
		}
		e.listen(s.Place, a, port, allow)
	}
}

// smarthost is the upstream of "HOST" or "HOST::PORT"; nil where it is none.
func (e *exim) smarthost(s Setting) *Upstream {
	if s.Value == "" {
		return nil
	}
	u := &Upstream{Place: s.Place, Port: 25, TLS: config.TLSOpportunistic}
	host, port, given := strings.Cut(s.Value, "::")
	if strings.Count(s.Value, ":") > 2 || s.Value[0] == '[' { // an IPv6 address
		host, port, given = strings.Trim(s.Value, "[]"), "", false
	}
	if given {
		n, ok := portNumber(strings.TrimSpace(port))
		if !ok {
			u.note(s.Place, "the port "+shown(port)+" is no number", "set port")
			n = 25
		}
		u.Port = n
	}
	var ok bool
	if u.Host, ok = config.ParseHost(strings.TrimSpace(host)); !ok {
		e.note(s.Place, "the smarthost "+shown(host)+" is no host", "add an [upstream] for it")
		return nil
	}
	if u.Port == 465 {
		u.TLS = config.TLSImplicit
	}
	e.passwd(u)
	if other := e.like(u); other != nil {
		return other
	}
	return e.upstream(u.Host, u)
}

// passwd reads passwd.client: "HOST:USER:PASSWORD", where HOST may be *.
func (e *exim) passwd(u *Upstream) {
	f, err := e.src.named("passwd.client")
	if err != nil {
		e.note(Place{File: "passwd.client"}, (&Unreadable{"it", err}).Error(), "see that it can be read, where the upstream asks for a password, and import again")
		return
	}
	for i, line := range f.lines {
		if line == "" || line[0] == '#' {
			continue
		}
		host, rest, _ := strings.Cut(line, ":")
		user, password, ok := strings.Cut(rest, ":")
		if host = strings.TrimSpace(host); !ok || host != "*" && !strings.EqualFold(host, u.Host) && !(strings.HasPrefix(host, "*") && strings.HasSuffix(u.Host, strings.ToLower(host[1:]))) {
			continue
		}
		at := f.at(i + 1)
		if !plain(user) || user == "" {
			u.note(at, "the user name cannot be carried over", "set username and password_file")
			return
		}
		u.Username = user
		u.password(at, strings.ReplaceAll(password, "^^", "^"))
		if u.TLS == config.TLSOpportunistic {
			u.TLS = config.TLSVerify
			u.note(at, "Exim checked no certificate; now that a password is shown, it is checked", `set tls = "opportunistic" where it is not valid for the host`)
		}
		return
	}
}
