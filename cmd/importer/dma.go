package importer

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"postern/config"
)

// readDMA reads the folder with dma.conf and auth.conf of the DragonFly Mail
// Agent, or the dma.conf that is named.
func readDMA(path string) (*Found, error) {
	if isFolder(path) {
		path = filepath.Join(path, "dma.conf")
	}
	d := &dma{Found: &Found{}, src: newSource(filepath.Dir(path), "/etc/dma"), set: map[string]Setting{}}
	d.Found.src = d.src
	f, err := d.src.read(path)
	if err != nil {
		return nil, &Unreadable{path, err}
	}
	for i, line := range f.lines {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value := line, ""
		if j := strings.IndexAny(line, " \t"); j >= 0 {
			name, value = line[:j], strings.TrimSpace(line[j:])
		}
		d.set[strings.ToUpper(name)] = Setting{f.at(i + 1), value}
	}
	d.names()
	if host := d.set["SMARTHOST"]; host.Value == "" || !d.smarthost(host) {
		d.noUpstream(f.at(0))
	}
	return d.Found, nil
}

// dma reads dma.conf.
type dma struct {
	*Found
	src *source
	set map[string]Setting
}

func (d *dma) has(name string) bool { _, ok := d.set[name]; return ok }

func (d *dma) names() {
	name := d.set["MAILNAME"]
	if strings.HasPrefix(name.Value, "/") {
		if f, err := d.src.named(name.Value); err == nil && len(f.lines) > 0 {
			name = Setting{f.at(1), strings.TrimSpace(f.lines[0])}
		} else {
			d.note(name.Place, "MAILNAME: "+shown(name.Value)+" cannot be read", "set hostname")
			name = Setting{}
		}
	}
	if name.Value != "" {
		d.mailName(name.Place, "MAILNAME", name.Value)
		d.domain(name, "MAILNAME")
	}
	if a := d.set["ALIASES"]; a.Value != "" {
		d.AliasFile = a
		d.local("localhost", name.Value)
	}
	if m := d.set["MASQUERADE"]; m.Value != "" {
		if a, ok := address(m.Value); ok {
			d.Rewrites = append(d.Rewrites, Rewrite{Place: m.Place, From: []string{"*"}, Envelope: a})
		} else if user, host, ok := strings.Cut(m.Value, "@"); !ok || user == "" {
			if !ok {
				host = m.Value
			}
			d.Domain = Setting{}
			d.domain(Setting{m.Place, host}, "MASQUERADE")
			d.note(m.Place, "MASQUERADE: names without a domain are completed with this one, and senders with another keep it", "add a [[rewrite]] where programs write the name of the machine")
		} else {
			d.note(m.Place, "MASQUERADE: a user without a domain is not put in the place of others", "add a [[rewrite]]")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.set)) {
		at := d.set[name].Place
		switch name {
		case "SMARTHOST", "PORT", "ALIASES", "SECURETRANSFER", "SECURETRANS", "SECURE", "STARTTLS", "OPPORTUNISTIC_TLS", "FINGERPRINT", "CERTFILE", "INSECURE", "MAILNAME", "MASQUERADE", "AUTHPATH", "SPOOLDIR", "VERIFYCERT":
		case "DEFER":
			d.note(at, "DEFER: mail goes at once", "pause an upstream by: postern upstream pause NAME")
		case "NULLCLIENT":
			d.note(at, "NULLCLIENT: nothing is delivered on this machine anyway", "")
		case "FULLBOUNCE":
			d.note(at, "FULLBOUNCE: how much a notice returns is what the program that sends asks for", "")
		default:
			d.note(at, setting(name)+" is not known", "see dma(8)")
		}
	}
}

// smarthost makes the upstream; false where its host cannot be used.
func (d *dma) smarthost(host Setting) bool {
	u := &Upstream{Place: host.Place, Port: 25, TLS: config.TLSOff}
	var ok bool
	if u.Host, ok = config.ParseHost(host.Value); !ok {
		d.note(host.Place, "SMARTHOST: "+shown(host.Value)+" is no host", "")
		return false
	}
	if p := d.set["PORT"]; p.Value != "" {
		if n, ok := portNumber(p.Value); ok {
			u.Port = n
		} else {
			u.note(p.Place, "PORT: "+shown(p.Value)+" is no port", "set port")
		}
	}
	fingerprint, secure := d.set["FINGERPRINT"], d.has("SECURETRANSFER") || d.has("SECURETRANS")
	switch start := d.has("STARTTLS"); {
	case secure && start && d.has("OPPORTUNISTIC_TLS") && fingerprint.Value == "":
		u.TLS = config.TLSOpportunistic
	case secure && start:
		u.TLS = config.TLSVerify
	case secure:
		u.TLS = config.TLSImplicit
	case start:
		u.note(d.set["STARTTLS"].Place, "STARTTLS without SECURETRANSFER had no effect", `set tls = "verify"`)
	}
	if u.TLS == config.TLSVerify || u.TLS == config.TLSImplicit {
		if fingerprint.Value != "" {
			u.fingerprint(fingerprint, "FINGERPRINT", fingerprint.Value)
		} else if !d.has("VERIFYCERT") {
			u.note(host.Place, "dma checked no certificate, and now it is checked", "where it is not valid for the host, set fingerprint or ca_file")
		}
	}
	if cert := d.set["CERTFILE"]; cert.Value != "" && u.TLS != config.TLSOff {
		u.certificate(d.src, cert, cert.Value, cert.Value)
	}
	d.signIn(u)
	d.upstream(u.Host, u)
	d.route(Route{Place: host.Place, From: []string{"*"}, Upstream: []string{u.Name}})
	return true
}

// signIn reads AUTHPATH: "USER|HOST:PASSWORD".
func (d *dma) signIn(u *Upstream) {
	path := d.set["AUTHPATH"]
	if path.Value == "" {
		return
	}
	f, err := d.src.named(path.Value)
	if err != nil {
		d.note(path.Place, "AUTHPATH: "+(&Unreadable{shown(path.Value), err}).Error(), "see that it can be read and import again")
		return
	}
	for i, line := range f.lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		user, rest, ok := strings.Cut(line, "|")
		host, password, too := strings.Cut(rest, ":")
		if !ok || !too || !strings.EqualFold(strings.TrimSpace(host), u.Host) {
			continue
		}
		if at := f.at(i + 1); !plain(user) || user == "" {
			u.note(at, "the user name cannot be carried over", "set username and password_file")
		} else {
			u.Username = user
			u.shows(at, "plain")
			u.password(at, password)
		}
		return
	}
}
