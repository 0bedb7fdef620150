package importer

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// listeners reads where Postfix takes mail by SMTP.
func (p *postfix) listeners() {
	if len(p.services) == 0 {
		p.services = []service{{Place: Place{}, name: "smtp", kind: "inet", command: "smtpd", params: p.main}}
	}
	for _, s := range p.services {
		if s.command == "smtpd" && s.kind == "inet" {
			p.listener(s)
		}
	}
	for i := range p.Listeners {
		p.Listeners[i].MaxSize = p.messageSize()
	}
}

// messageSize is message_size_limit, within what a listener takes; 0: not set.
func (p *postfix) messageSize() int64 {
	s, ok := p.main.raw("message_size_limit")
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(p.main.get("message_size_limit").Value, 10, 64)
	if err != nil || n <= 0 {
		p.note(s.Place, "message_size_limit: there is no listener without a limit", "set max_message_size")
		return 0
	}
	return min(max(n, 1<<10), 10<<30)
}

// listener makes those of one smtpd: one for each address.
func (p *postfix) listener(s service) {
	host, port := "", s.name
	if h, service, err := net.SplitHostPort(s.name); err == nil {
		host, port = h, service
	}
	n, ok := portNumber(port)
	if !ok {
		p.note(s.Place, "master.cf listens at "+shown(s.name)+", which is no port that is known", "add a [[listener]]")
		return
	}
	if n == 465 || s.params.is("smtpd_tls_wrappermode") {
		p.note(s.Place, "port "+strconv.Itoa(n)+" took mail over TLS, from users who signed in", `add a [[listener]] with tls = "implicit", cert_file, key_file and users (made by postern passwd), where it is still needed`)
		return
	}
	if s.params.is("smtpd_sasl_auth_enable") && s.name != "smtp" && s.name != "25" {
		p.note(s.Place, "port "+strconv.Itoa(n)+" took mail from users who signed in", `add a [[listener]] with tls = "starttls", cert_file, key_file, require_auth = true and users (made by postern passwd), where it is still needed`)
		return
	}
	if sasl, ok := s.params.raw("smtpd_sasl_auth_enable"); ok && s.params.is("smtpd_sasl_auth_enable") {
		p.note(sasl.Place, "clients could sign in (smtpd_sasl_auth_enable)", "add users to the [[listener]], made by postern passwd")
	}
	allow := p.networks(s.params)
	for _, address := range p.interfaces(s, host) {
		p.listen(s, address, n, allow)
	}
}

// listen adds one at an address.
func (p *postfix) listen(s service, address string, port int, allow []string) {
	before := len(p.Listeners)
	p.Found.listen(s.Place, address, strconv.Itoa(port), allow)
	if len(p.Listeners) == before {
		return
	}
	l := &p.Listeners[before]
	if mode := s.params.get("smtpd_tls_security_level"); mode.Value != "" && mode.Value != "none" {
		l.Notes = append(l.Notes, Note{mode.Place, "STARTTLS was offered to clients", `set tls = "starttls", cert_file and key_file where they need it`})
	}
	if _, ok := s.params.raw("smtpd_recipient_limit"); ok {
		if n, err := strconv.Atoi(s.params.get("smtpd_recipient_limit").Value); err == nil && n > 0 {
			l.MaxRcpt = min(n, 100_000)
		}
	}
}

// interfaces are the addresses that a service listens at; "" is all.
func (p *postfix) interfaces(s service, host string) (addresses []string) {
	value := s.params.get("inet_interfaces")
	if host != "" {
		value = Setting{s.Place, host}
	}
	protocols := s.params.get("inet_protocols").Value
	for _, w := range words(value.Value) {
		w = strings.Trim(w, "[]")
		switch ip, err := netip.ParseAddr(w); {
		case w == "all" || w == "*":
			switch protocols {
			case "ipv4":
				addresses = append(addresses, "0.0.0.0")
			case "ipv6":
				addresses = append(addresses, "::")
			default:
				addresses = append(addresses, "")
			}
		case w == "loopback-only" || w == "localhost":
			if protocols != "ipv6" {
				addresses = append(addresses, "127.0.0.1")
			}
			if protocols == "ipv6" || strings.Contains(protocols, "ipv6") {
				addresses = append(addresses, "::1")
			}
		case err == nil && ip.Zone() == "":
			addresses = append(addresses, ip.String())
		default:
			p.note(value.Place, "inet_interfaces: "+shown(w)+" is a name, and a listener has an address", "add a [[listener]] with the address, where it is needed")
		}
	}
	return addresses
}

// networks is mynetworks: who may send to anybody.
func (p *postfix) networks(of *params) (allow []string) {
	s, ok := of.raw("mynetworks")
	if !ok {
		if style := of.get("mynetworks_style"); style.Value != "host" {
			p.note(style.Place, "mynetworks_style: which networks this machine is in is not looked up", "set allow of the [[listener]] where other machines send by this one")
		}
		return nil
	}
	elements := words(of.get("mynetworks").Value)
	for i := 0; i < len(elements) && i < maxEntries; i++ {
		e := elements[i]
		if strings.HasPrefix(e, "/") {
			if f := p.open(s.Place, "mynetworks", e); f != nil {
				for _, line := range logical(f) {
					if !strings.HasPrefix(line.Value, "/") {
						elements = append(elements, words(line.Value)...)
					}
				}
			}
			continue
		}
		if rest, ok := strings.CutPrefix(e, "!"); ok {
			p.note(s.Place, "mynetworks: "+shown(rest)+" was left out of a network, and allow leaves out nothing", "write allow of the [[listener]] without it")
			continue
		}
		n, ok := network(e)
		if !ok {
			p.note(s.Place, "mynetworks: "+shown(e)+" is no network that can be carried over", "see to allow of the [[listener]]")
			continue
		}
		if !slices.Contains(allow, n) {
			allow = append(allow, n)
		}
	}
	return allow
}

// limits reads how long is tried, and how often.
func (p *postfix) limits() {
	if _, ok := p.main.raw("maximal_queue_lifetime"); ok {
		s := p.main.get("maximal_queue_lifetime")
		if d, ok := postfixTime(s.Value, 'd'); ok && d > 0 {
			p.Lifetime = d
		} else {
			p.note(s.Place, "maximal_queue_lifetime: every message is tried for a while", "set retry.lifetime")
		}
	}
	if _, ok := p.main.raw("delay_warning_time"); ok {
		if d, ok := postfixTime(p.main.get("delay_warning_time").Value, 'h'); ok && d > 0 {
			p.WarnAfter = d
		}
	}
	least, ok := postfixTime(p.main.get("minimal_backoff_time").Value, 's')
	if !ok || least <= 0 {
		return
	}
	most, ok := postfixTime(p.main.get("maximal_backoff_time").Value, 's')
	if !ok || most <= 0 {
		most = 4000e9 // the default of Postfix
	}
	p.backoff(least, most)
}
