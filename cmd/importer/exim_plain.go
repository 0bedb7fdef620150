package importer

import (
	"strings"

	"postern/config"
)

// eximBlock is a router, a transport or an authenticator: its options.
type eximBlock struct {
	Place
	section, name string
	options       map[string]Setting
}

// plain reads a configuration of one file, as far as it expands nothing.
func (e *exim) plain(f *file) {
	blocks, options := eximBlocks(f)
	for i, line := range f.lines {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ".ifdef"), strings.HasPrefix(line, ".ifndef"):
			e.note(f.at(i+1), "conditions of macros are not computed: what stands behind them is taken", "look at what is meant, or import what `exim -bP config` prints")
		case strings.HasPrefix(line, ".include"):
			e.note(f.at(i+1), "files that are included are not read", "import what `exim -bP config` prints")
		}
	}
	if h := options["primary_hostname"]; h.Value != "" {
		e.mailName(h.Place, "primary_hostname", h.Value)
	}
	if d := options["qualify_domain"]; d.Value != "" {
		e.domain(d, "qualify_domain")
	} else if h := options["primary_hostname"]; h.Value != "" {
		e.domain(h, "primary_hostname")
	}
	for _, name := range []string{"acl_smtp_rcpt", "acl_smtp_data", "system_filter", "tls_certificate", "local_interfaces", "daemon_smtp_ports", "message_size_limit", "av_scanner", "spamd_address"} {
		if s := options[name]; s.Value != "" {
			e.note(s.Place, name+" is not carried over", "see what it means for the [[listener]]")
		}
	}
	var authenticators []eximBlock
	transports := map[string]eximBlock{}
	for _, b := range blocks {
		switch b.section {
		case "transports":
			transports[b.name] = b
		case "authenticators":
			authenticators = append(authenticators, b)
		case "rewrite":
			e.note(b.Place, "the rewriting of addresses is not carried over", "add a [[rewrite]] for what is meant")
		}
	}
	for _, b := range blocks {
		if b.section == "routers" {
			e.router(b, transports, authenticators)
		}
	}
	if len(e.Upstreams) == 0 {
		e.noUpstream(f.at(0))
	}
}

// macro is a name that stands for a text in the lines behind it.
type macro struct{ name, value string }

// eximBlocks parts a file: the options before the first "begin", and blocks.
func eximBlocks(f *file) (blocks []eximBlock, options map[string]Setting) {
	options = map[string]Setting{}
	var macros []macro
	section := ""
	into := options
	line, at := "", 0
	for i, l := range f.lines {
		l = strings.TrimSpace(l)
		if l == "" && line == "" || strings.HasPrefix(l, "#") || line == "" && strings.HasPrefix(l, ".") {
			continue
		}
		if line == "" {
			at = i + 1
		}
		if rest, more := strings.CutSuffix(l, `\`); more && len(line) < maxLine {
			line += rest
			continue
		}
		l, line = line+l, ""
		for _, m := range macros {
			if n := strings.Count(l, m.name); len(l)+n*len(m.value) < maxLine {
				l = strings.ReplaceAll(l, m.name, m.value)
			}
		}
		name, value, assigned := strings.Cut(l, "=")
		name = strings.TrimSpace(name)
		switch {
		case strings.HasPrefix(l, "begin "):
			section = strings.TrimSpace(l[6:])
			into = map[string]Setting{}
		case section == "" && assigned && len(name) > 2 && name == strings.ToUpper(name) && len(macros) < 100 && !strings.Contains(value, name):
			macros = append(macros, macro{name, strings.TrimSpace(value)})
		case section == "rewrite":
			blocks = append(blocks, eximBlock{Place: f.at(at), section: section})
		case section != "" && !assigned && strings.HasSuffix(l, ":") && !strings.ContainsAny(l, " \t"):
			into = map[string]Setting{}
			blocks = append(blocks, eximBlock{f.at(at), section, strings.TrimSuffix(l, ":"), into})
		default:
			into[strings.TrimPrefix(name, "hide ")] = Setting{f.at(at), strings.Trim(strings.TrimSpace(value), `"`)}
		}
	}
	return blocks, options
}

// router makes a route of one that leads to named hosts.
func (e *exim) router(b eximBlock, transports map[string]eximBlock, authenticators []eximBlock) {
	list := b.options["route_list"]
	if list.Value == "" {
		if data := b.options["route_data"]; data.Value != "" {
			list = Setting{data.Place, "* " + data.Value}
		}
	}
	switch b.options["driver"].Value {
	case "manualroute":
	case "dnslookup", "ipliteral":
		e.note(b.Place, "the router "+shown(b.name)+" delivers to the hosts of recipients itself, which Postern never does", "name a server that takes this mail in a [[route]]")
		return
	case "redirect":
		e.note(b.Place, "the router "+shown(b.name)+" replaces recipients", "see aliases of [submission] for local names")
		return
	default:
		e.note(b.Place, "the router "+shown(b.name)+" is not carried over", "nothing is delivered on this machine")
		return
	}
	if strings.Contains(list.Value, "$") || list.Value == "" {
		e.note(b.Place, "the router "+shown(b.name)+" computes where mail goes", "add a [[route]] for what is meant")
		return
	}
	for _, name := range []string{"senders", "condition", "local_parts", "address_data"} {
		if s := b.options[name]; s.Value != "" {
			e.note(s.Place, "the router "+shown(b.name)+" has a condition ("+name+")", "add it to the [[route]]")
		}
	}
	for part := range strings.SplitSeq(list.Value, ";") {
		words := unquoted(strings.TrimSpace(part))
		if len(words) < 2 {
			continue
		}
		r := Route{Place: list.Place}
		if words[0] == "*" || strings.HasPrefix(words[0], "!") {
			r.From = []string{"*"}
		} else {
			r.To = []string{"*@" + words[0]}
		}
		hosts := strings.ReplaceAll(words[1], "::", "\x00")
		for h := range strings.SplitSeq(hosts, ":") {
			h = strings.TrimSpace(strings.ReplaceAll(h, "\x00", "::"))
			if u := e.plainUpstream(Setting{list.Place, h}, transports[b.options["transport"].Value], authenticators); u != nil {
				r.Upstream = union(r.Upstream, []string{u.Name})
			}
		}
		e.route(r)
	}
}

// plainUpstream is a host of a router, as its transport reaches it.
func (e *exim) plainUpstream(s Setting, t eximBlock, authenticators []eximBlock) *Upstream {
	u := &Upstream{Place: s.Place, Port: 25, TLS: config.TLSOpportunistic}
	host, port, given := strings.Cut(s.Value, "::")
	if p := t.options["port"]; p.Value != "" && !given {
		port = p.Value
	}
	if n, ok := portNumber(port); ok {
		u.Port = n
	}
	var ok bool
	if u.Host, ok = config.ParseHost(strings.TrimSpace(host)); !ok {
		e.note(s.Place, shown(host)+" is no host", "add an [upstream] for it")
		return nil
	}
	require := t.options["hosts_require_tls"]
	switch {
	case t.options["protocol"].Value == "smtps" || u.Port == 465:
		u.TLS = config.TLSImplicit
	case t.options["tls_verify_hosts"].Value != "" && require.Value != "":
		u.TLS = config.TLSVerify
	case require.Value != "":
		u.TLS = config.TLSEncrypt
	case t.options["hosts_avoid_tls"].Value == "*":
		u.TLS = config.TLSOff
	}
	for _, a := range authenticators {
		e.authenticator(u, a)
	}
	if other := e.like(u); other != nil {
		return other
	}
	return e.upstream(u.Host, u)
}

// authenticator takes user and password of one that sends them as they stand.
func (e *exim) authenticator(u *Upstream, b eximBlock) {
	send := b.options["client_send"]
	name := b.options["client_name"]
	secret := b.options["client_secret"]
	var user, password string
	switch {
	case u.Username != "":
		return
	case name.Value != "" && secret.Value != "" && !strings.Contains(name.Value+secret.Value, "$"):
		user, password, send = name.Value, secret.Value, name
	case send.Value == "":
		return
	case strings.Contains(send.Value, "$"):
		u.note(send.Place, "the authenticator "+shown(b.name)+" computes user and password", "set username and password_file")
		return
	case strings.Contains(send.Value, "^"): // PLAIN: "^user^password"
		parts := strings.SplitN(strings.TrimSpace(strings.ReplaceAll(send.Value, "^^", "\x00")), "^", 3)
		if len(parts) != 3 {
			return
		}
		user, password = parts[1], strings.ReplaceAll(parts[2], "\x00", "^")
	default: // LOGIN: ": user : password"
		parts := strings.SplitN(strings.ReplaceAll(send.Value, "::", "\x00"), ":", 3)
		if len(parts) != 3 {
			return
		}
		user, password = strings.TrimSpace(parts[1]), strings.ReplaceAll(strings.TrimSpace(parts[2]), "\x00", ":")
	}
	if !plain(user) || user == "" {
		u.note(send.Place, "the user name cannot be carried over", "set username and password_file")
		return
	}
	u.Username = user
	u.shows(send.Place, "plain")
	u.password(send.Place, password)
}
