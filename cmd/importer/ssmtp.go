package importer

import (
	"net"
	"path/filepath"
	"strings"

	"postern/config"
)

// ssmtp reads ssmtp.conf and revaliases.
type ssmtp struct {
	*Found
	src *source
	set map[string]Setting // lower case
	at  Place
}

// readSSMTP reads the folder with ssmtp.conf, or the file.
func readSSMTP(path string) (*Found, error) {
	if isFolder(path) {
		path = filepath.Join(path, "ssmtp.conf")
	}
	s := &ssmtp{Found: &Found{}, src: newSource(filepath.Dir(path), "/etc/ssmtp"), set: map[string]Setting{}}
	s.Found.src = s.src
	f, err := s.src.read(path)
	if err != nil {
		return nil, &Unreadable{path, err}
	}
	s.at = f.at(0)
	for i, line := range f.lines {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			s.set[strings.ToLower(strings.TrimSpace(name))] = Setting{f.at(i + 1), strings.TrimSpace(value)}
		}
	}
	s.names()
	s.reverse()
	if u := s.hub(s.set["mailhub"]); u != nil {
		s.route(Route{Place: u.Place, From: []string{"*"}, Upstream: []string{u.Name}})
	} else {
		s.Upstreams, s.Routes = nil, nil
		s.noUpstream(s.at)
	}
	return s.Found, nil
}

func (s *ssmtp) names() {
	if h := s.set["hostname"]; h.Value != "" {
		s.mailName(h.Place, "hostname", h.Value)
	}
	if d := s.set["rewritedomain"]; d.Value != "" {
		s.domain(d, "rewriteDomain")
	} else if h := s.set["hostname"]; h.Value != "" {
		s.domain(h, "hostname")
	}
	if root := s.set["root"]; root.Value != "" {
		if a, ok := address(root.Value); ok {
			s.Aliases = append(s.Aliases, Alias{root.Place, "root", []string{a}})
			s.local("localhost", s.set["hostname"].Value)
			s.note(root.Place, "root= was for all users of the system, with an ID below 1000", "add an alias for each that gets mail")
		} else {
			s.note(root.Place, "root: "+shown(root.Value)+" is no whole address", "name who gets the mail of root in submission.alias")
		}
	}
	for name, v := range s.set {
		switch name {
		case "mailhub", "hostname", "rewritedomain", "root", "usetls", "usestarttls", "authuser", "authpass", "authmethod", "tls_ca_file", "tlscert", "tlskey", "usetlscert", "debug", "useoldauth":
		case "fromlineoverride":
			if strings.EqualFold(v.Value, "yes") {
				s.note(v.Place, "FromLineOverride: From is what the program writes", "see docs/senders.md for who may send as whom")
			}
		case "minuserid":
			s.note(v.Place, "MinUserID: aliases are by name, not by the number of a user", "")
		default:
			s.note(v.Place, setting(name)+" is not known", "see ssmtp.conf(5)")
		}
	}
}

// hub is the upstream of a mailhub: "mail.example.com:587".
func (s *ssmtp) hub(hub Setting) *Upstream {
	if hub.Value == "" {
		return nil
	}
	u := &Upstream{Place: hub.Place, Port: 25, TLS: config.TLSOff}
	host := hub.Value
	if h, port, err := net.SplitHostPort(hub.Value); err == nil {
		n, ok := portNumber(port)
		if !ok {
			u.note(hub.Place, "the port "+shown(port)+" is no number", "set port")
			n = 25
		}
		host, u.Port = h, n
	}
	var ok bool
	if u.Host, ok = config.ParseHost(host); !ok {
		s.note(hub.Place, "mailhub: "+shown(host)+" is no host", "")
		return nil
	}
	yes := func(name string) bool { return strings.EqualFold(s.set[name].Value, "yes") }
	switch {
	case yes("usestarttls"):
		u.TLS = config.TLSVerify
	case yes("usetls"):
		u.TLS = config.TLSImplicit
	}
	if u.TLS == config.TLSVerify && u.Port == 465 {
		u.TLS = config.TLSImplicit
	}
	if u.TLS != config.TLSOff {
		if ca := s.set["tls_ca_file"]; ca.Value != "" {
			u.authorities(s.src, ca, "TLS_CA_File", ca.Value)
		} else {
			u.note(hub.Place, "ssmtp checked no certificate, and now it is checked", "where it is not valid for the host, set fingerprint or ca_file")
		}
		if cert := s.set["tlscert"]; cert.Value != "" {
			u.certificate(s.src, cert, cert.Value, s.set["tlskey"].Value)
		}
	}
	if user := s.set["authuser"]; user.Value != "" && plain(user.Value) {
		u.Username = user.Value
		switch method := strings.ToLower(s.set["authmethod"].Value); method {
		case "cram-md5":
			u.Auth = method
		default:
			u.shows(user.Place, "login")
		}
		if pass := s.set["authpass"]; pass.Value != "" {
			u.password(pass.Place, pass.Value)
		}
	} else if user.Value != "" {
		u.note(user.Place, "AuthUser has characters that cannot be seen", "set username and password_file")
	}
	if other := s.like(u); other != nil {
		return other
	}
	return s.upstream(u.Host, u)
}

// reverse reads revaliases: "USER:ADDRESS[:HUB[:PORT]]".
func (s *ssmtp) reverse() {
	f, err := s.src.named("revaliases")
	if err != nil {
		return
	}
	for i, line := range f.lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := f.at(i + 1)
		user, rest, _ := strings.Cut(line, ":")
		to, hub, _ := strings.Cut(rest, ":")
		from := s.patterns(at, []string{strings.TrimSpace(user) + "@*"})
		a, ok := address(to)
		if !ok || len(from) == 0 {
			s.note(at, "the sender of "+shown(user)+" is no whole address", "add a [[rewrite]] for what is meant")
			continue
		}
		s.Rewrites = append(s.Rewrites, Rewrite{Place: at, From: from, Envelope: a, Header: a})
		if hub == "" {
			continue
		}
		if u := s.hub(Setting{at, hub}); u != nil {
			s.route(Route{Place: at, From: from, Upstream: []string{u.Name}})
		}
	}
}
