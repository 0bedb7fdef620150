package importer

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/config"
)

// nullmailer reads the folder of a nullmailer, which has a file for each
// setting.
type nullmailer struct {
	*Found
	src *source
	dir string
}

// readNullmailer reads the folder, or the file "remotes" that is named in it.
func readNullmailer(path string) (*Found, error) {
	if !isFolder(path) {
		path = filepath.Dir(path)
	}
	n := &nullmailer{Found: &Found{}, src: newSource(path, "/etc/nullmailer"), dir: path}
	n.Found.src = n.src
	remotes, err := n.src.read(filepath.Join(path, "remotes"))
	if err != nil {
		return nil, &Unreadable{filepath.Join(path, "remotes"), err}
	}
	n.names()
	n.remotes(remotes)
	n.times()
	return n.Found, nil
}

// one is the first line of a file of the folder that says something.
func (n *nullmailer) one(name string) Setting {
	f, err := n.src.named(name)
	if err != nil {
		return Setting{}
	}
	for i, line := range f.lines {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return Setting{f.at(i + 1), line}
		}
	}
	return Setting{}
}

// names reads who this machine is, and who gets the mail of its users.
func (n *nullmailer) names() {
	me := n.one("me")
	if me.Value == "" {
		me = n.one("/etc/mailname") // as Debian has it
	}
	helo := me
	if s := n.one("helohost"); s.Value != "" {
		helo = s
	}
	if helo.Value != "" {
		n.mailName(helo.Place, filepath.Base(helo.File), helo.Value)
	}
	host, domain := n.one("defaulthost"), n.one("defaultdomain")
	if host.Value == "" {
		host = me
	}
	if host.Value != "" && !strings.Contains(host.Value, ".") && domain.Value != "" {
		host.Value += "." + domain.Value
	}
	if host.Value != "" {
		n.domain(host, filepath.Base(host.File))
	}
	if admin := n.one("adminaddr"); admin.Value != "" {
		a := Alias{Place: admin.Place, Name: "*"}
		for s := range strings.SplitSeq(admin.Value, ",") {
			if to, ok := address(s); ok {
				a.To = append(a.To, to)
			} else {
				n.note(admin.Place, "adminaddr: "+shown(s)+" is no whole address", "name who gets the mail of local users in submission.alias")
			}
		}
		if len(a.To) > 0 {
			n.Aliases = append(n.Aliases, a)
			n.local("localhost", me.Value)
		}
	}
	if from := n.one("allmailfrom"); from.Value != "" {
		if a, ok := address(from.Value); ok {
			n.Rewrites = append(n.Rewrites, Rewrite{Place: from.Place, From: []string{"*"}, Envelope: a})
		} else {
			n.note(from.Place, "allmailfrom: "+shown(from.Value)+" is no whole address", "set sender of the upstream")
		}
	}
	for _, name := range []string{"bounceto", "doublebounceto"} {
		if s := n.one(name); s.Value != "" {
			n.note(s.Place, name+": notices go to the sender, and those without one are kept for a person", "see docs/queue.md")
		}
	}
}

// remotes makes an upstream of each line; they are tried in order.
func (n *nullmailer) remotes(f *file) {
	r := Route{Place: f.at(0), From: []string{"*"}}
	for i, line := range f.lines {
		words := unquoted(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if u := n.remote(f.at(i+1), words); u != nil {
			r.Upstream = union(r.Upstream, []string{u.Name})
		}
	}
	if len(r.Upstream) == 0 {
		n.noUpstream(f.at(0))
		return
	}
	n.route(r)
}

// unquoted cuts a line into words, of which parts may stand in quotes.
func unquoted(line string) (words []string) {
	var b strings.Builder
	quote, in := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				words = append(words, b.String())
			}
			b.Reset()
			in = false
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, b.String())
	}
	if len(words) > 0 && words[0] == "" {
		return nil
	}
	return words
}

// remote reads "HOST [PROTOCOL] [--OPTION[=VALUE]…]".
func (n *nullmailer) remote(at Place, words []string) *Upstream {
	u := &Upstream{Place: at, TLS: config.TLSOff}
	var ok bool
	if u.Host, ok = config.ParseHost(words[0]); !ok {
		n.note(at, shown(words[0])+" is no host", "add an [upstream] for it")
		return nil
	}
	words = words[1:]
	if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		if words[0] != "smtp" {
			n.note(at, "the protocol "+shown(words[0])+" is not spoken", "name a server that speaks SMTP")
			return nil
		}
		words = words[1:]
	}
	options := map[string]string{}
	for _, w := range words {
		// The dashes may be left out.
		name, value, assigned := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if !assigned && !nullmailerSwitches[name] {
			u.note(at, "a word is no option of nullmailer", "see whether it is the value of the one before it")
			continue
		}
		if old := map[string]string{"p": "port", "tls": "ssl"}[name]; old != "" {
			name = old
		}
		options[name] = value
	}
	n.options(u, options)
	if other := n.like(u); other != nil {
		return other
	}
	return n.upstream(u.Host, u)
}

// nullmailerSwitches are options without a value.
var nullmailerSwitches = map[string]bool{"ssl": true, "tls": true, "starttls": true, "insecure": true, "auth-login": true, "auth-plain": true, "x509fmtder": true, "tls-anon-auth": true}

// options reads those of a remote.
func (n *nullmailer) options(u *Upstream, options map[string]string) {
	has := func(name string) bool { _, ok := options[name]; return ok }
	u.Port = 25
	switch insecure := has("insecure"); {
	case has("starttls") && insecure:
		u.TLS = config.TLSEncrypt
	case has("starttls"):
		u.TLS = config.TLSVerify
	case has("ssl"):
		u.TLS, u.Port = config.TLSImplicit, 465
		if insecure {
			u.note(u.Place, "the certificate was not checked, and now it is", "where it is not valid for the host, set fingerprint or ca_file")
		}
	}
	if p, ok := portNumber(options["port"]); ok {
		u.Port = p
	} else if has("port") {
		u.note(u.Place, "the port is no number", "set port")
	}
	if ca := options["x509cafile"]; ca != "" && (u.TLS == config.TLSVerify || u.TLS == config.TLSImplicit) {
		u.authorities(n.src, Setting{u.Place, ca}, "x509cafile", ca)
	}
	if cert := options["x509certfile"]; cert != "" && u.TLS != config.TLSOff {
		u.certificate(n.src, Setting{u.Place, cert}, cert, options["x509keyfile"])
	}
	if user := options["user"]; user != "" {
		if plain(user) {
			u.Username = user
			method := "plain"
			if has("auth-login") {
				method = "login"
			}
			u.shows(u.Place, method)
			u.password(u.Place, options["pass"])
		} else {
			u.note(u.Place, "the user name has characters that cannot be seen", "set username and password_file")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		switch name {
		case "port", "ssl", "starttls", "insecure", "user", "pass", "auth-login", "auth-plain", "x509cafile", "x509certfile", "x509keyfile":
		case "x509fmtder":
			u.note(u.Place, "--x509fmtder: certificates are read in PEM", "convert them by openssl x509 -inform der")
		case "tls-anon-auth":
			u.note(u.Place, "--tls-anon-auth: TLS without certificates is not done", "give the server a certificate, and set fingerprint")
		case "source":
			u.note(u.Place, "--source: no address to connect from can be chosen", "let the routing table of the machine choose it")
		case "x509crlfile":
			u.note(u.Place, "--x509crlfile: lists of revoked certificates are not read", "")
		default:
			u.note(u.Place, "--"+setting(name)+" is not known", "see nullmailer-smtp")
		}
	}
}

// times reads how often, and how long, is tried.
func (n *nullmailer) times() {
	seconds := func(name string, without time.Duration) (time.Duration, bool) {
		s := n.one(name)
		v, err := strconv.Atoi(s.Value)
		if err != nil || v <= 0 || v > 100*86400 {
			return without, false
		}
		return time.Duration(v) * time.Second, true
	}
	if d, ok := seconds("queuelifetime", 0); ok {
		n.Lifetime = d
	}
	least, ok := seconds("pausetime", time.Minute)
	most, too := seconds("maxpause", 24*time.Hour)
	if ok || too {
		n.backoff(least, most)
	}
	if s := n.one("sendtimeout"); s.Value != "" {
		n.note(s.Place, "sendtimeout: each step of a delivery has a time of its own", "see command_timeout and data_timeout of an upstream")
	}
}
