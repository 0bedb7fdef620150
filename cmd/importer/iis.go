package importer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"postern/config"
)

// Bounds of MetaBase.xml, which is a flat list of elements with attributes.
const (
	maxXMLDepth    = 20
	maxXMLElements = 200_000
)

// iis reads the metabase of IIS 6, which its SMTP service keeps to this day.
type iis struct {
	*Found
	file string
}

// readIIS reads MetaBase.xml, or the folder with it.
func readIIS(path string) (*Found, error) {
	if isFolder(path) {
		path = filepath.Join(path, "MetaBase.xml")
	}
	src := newSource(filepath.Dir(path), "/inetsrv")
	raw, err := src.bytes(path)
	if err != nil {
		return nil, &Unreadable{path, err}
	}
	text, _, err := transform.Bytes(unicode.BOMOverride(unicode.UTF8.NewDecoder()), raw)
	if err != nil {
		return nil, &Unreadable{path, err}
	}
	i := &iis{Found: &Found{src: src}, file: path}
	if err := i.read(text); err != nil {
		return nil, &Unreadable{path, err}
	}
	if len(i.Upstreams) == 0 {
		i.noUpstream(Place{File: path})
	}
	return i.Found, nil
}

// read visits the elements of SMTP servers and their domains. No entity but the
// five of XML is known, no definition of a type is read, nothing is fetched.
func (i *iis) read(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // it is UTF-8 by now
	depth, servers := 0, 0
	for n := 0; ; n++ {
		line, _ := d.InputPos()
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && servers == 0:
			return errors.New("has no IIsSmtpServer: it is not the metabase of an SMTP service")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("is not XML: %w", err)
		case n > maxXMLElements:
			return fmt.Errorf("has more than %d elements", maxXMLElements)
		}
		switch t := token.(type) {
		case xml.EndElement:
			depth--
		case xml.StartElement:
			if depth++; depth > maxXMLDepth {
				return fmt.Errorf("has elements in each other, more than %d deep", maxXMLDepth)
			}
			e := element{Place: Place{i.file, line}, attributes: map[string]string{}}
			for _, a := range t.Attr {
				e.attributes[a.Name.Local] = strings.TrimSpace(a.Value)
			}
			switch t.Name.Local {
			case "IIsSmtpServer":
				servers++
				i.server(e, servers)
			case "IIsSmtpDomain":
				i.domainOf(e)
			}
		}
	}
}

// element is one of the metabase.
type element struct {
	Place
	attributes map[string]string
}

func (e element) get(name string) string { return e.attributes[name] }

// number is an attribute that counts; 0 where it is none.
func (e element) number(name string) int {
	n, err := strconv.Atoi(e.get(name))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// server reads a virtual server. Of several, each has listeners and an upstream;
// the first upstream takes all mail.
func (i *iis) server(e element, n int) {
	if name := e.get("FullyQualifiedDomainName"); name != "" && i.Hostname.Value == "" {
		i.mailName(e.Place, "FullyQualifiedDomainName", name)
	}
	if name := e.get("DefaultDomain"); name != "" {
		i.Found.domain(Setting{e.Place, name}, "DefaultDomain")
	}
	relays, known := grantedNetworks(e.get("RelayIpList"))
	if e.get("RelayIpList") != "" && !known {
		i.note(e.Place, "RelayIpList: who may relay is kept in binary, and denies somebody, names domains or is not understood", "write these addresses into allow of the [[listener]]")
	}
	i.bindings(e, relays, known)
	if u := i.smartHost(e, e.get("SmartHost")); u != nil {
		if n == 1 || len(i.Routes) == 0 {
			i.route(Route{Place: e.Place, From: []string{"*"}, Upstream: []string{u.Name}})
		} else {
			u.note(e.Place, "it belongs to another virtual server than the first", "add a [[route]] with listener for it")
		}
		if e.get("SmartHostType") == "1" {
			u.note(e.Place, "SmartHostType: IIS tried the hosts of recipients itself first, and Postern never does", "")
		}
	}
	i.times(e)
	for _, a := range []struct{ name, what, do string }{
		{"MasqueradeDomain", "senders showed this domain", "add a [[rewrite]] where the upstream asks for it"},
		{"IPSecurity", "who may connect is kept in binary", "write these addresses into allow of the [[listener]]"},
		{"PickupDirectory", "files in this folder were sent", "have programs write into that of [pickup], as docs/sendmail.md says"},
		{"BadMailDirectory", "what cannot be delivered goes back to the sender, or is kept in the queue", ""},
		{"DropDirectory", "nothing is delivered on this machine", ""},
		{"SSLCertHash", "clients could use TLS, with a certificate of the machine's store", "export it in PEM and set tls, cert_file and key_file of the [[listener]]"},
		{"SendBadTo", "notices go to the sender, and those without one are kept for a person", ""},
		{"SendNdrTo", "notices go to the sender alone", ""},
		{"LogFileDirectory", "the log goes to standard error", ""},
	} {
		if e.get(a.name) != "" {
			i.note(e.Place, a.name+": "+a.what, a.do)
		}
	}
}

// bindings are the listeners: "ADDRESS:PORT:HOST", one a line. relays are who may
// send to anybody, if that is known.
func (i *iis) bindings(e element, relays []string, known bool) {
	for b := range strings.FieldsSeq(e.get("ServerBindings")) {
		parts := strings.Split(b, ":")
		if len(parts) < 2 {
			continue
		}
		n, ok := portNumber(parts[1])
		port := strconv.Itoa(n) // without zeros before it
		l := Listener{Place: e.Place, Address: "127.0.0.1:" + port}
		if !ok || parts[0] != "" && !isAddress(parts[0]) {
			i.note(e.Place, "ServerBindings: "+shown(b)+" is no address with a port", "add a [[listener]]")
			continue
		}
		switch {
		case slices.ContainsFunc(relays, func(s string) bool { return !loopbackNetwork(s) }):
			l.Address, l.Allow = net.JoinHostPort(parts[0], port), relays
			l.Notes = append(l.Notes, Note{e.Place, "whoever is in allow, which was RelayIpList, may send to anybody; who had signed in could do so, too", "compare allow with Relay Restrictions of the virtual server, and name users in users where somebody signed in"})
		case known:
			l.Notes = append(l.Notes, Note{e.Place, "IIS listened at other addresses too, and let nobody else send to anybody (RelayIpList)", ""})
		default:
			l.Notes = append(l.Notes, Note{e.Place, "IIS listened at other addresses too", `set address to ":` + port + `" and allow to the addresses of other machines that send by this one`})
		}
		l.MaxSize = int64(e.number("MaxMessageSize"))
		if l.MaxSize > 0 {
			l.MaxSize = min(max(l.MaxSize, 1<<10), 10<<30)
		}
		l.MaxRcpt = min(e.number("MaxRecipients"), 100_000)
		i.addListener(l)
	}
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// smartHost is an upstream; nil where there is none.
func (i *iis) smartHost(e element, host string) *Upstream {
	host = strings.Trim(host, "[]")
	if host == "" {
		return nil
	}
	u := &Upstream{Place: e.Place, Port: 25, TLS: config.TLSOff}
	if n := e.number("RemoteSmtpPort"); n > 0 && n < 65536 {
		u.Port = n
	}
	var ok bool
	if u.Host, ok = config.ParseHost(host); !ok {
		i.note(e.Place, "SmartHost: "+shown(host)+" is no host, or more than one", "add an [upstream] for each")
		return nil
	}
	if on := strings.ToLower(e.get("AlwaysUseSsl")); on == "true" || on == "1" {
		u.TLS = config.TLSVerify
		u.note(e.Place, "AlwaysUseSsl: the certificate is checked now", "where it is not valid for the host, set fingerprint or ca_file")
	} else {
		u.note(e.Place, "TLS was not asked for", `set tls = "verify", or "opportunistic" where the server may not do TLS`)
	}
	if user := e.get("RouteUserName"); user != "" {
		if !plain(user) {
			u.note(e.Place, "RouteUserName cannot be carried over", "set username and password_file")
		} else {
			u.Username = user
			u.shows(e.Place, "")
			u.note(e.Place, "RoutePassword is encrypted for the machine that wrote it", "put the password into password_file")
		}
	}
	if other := i.like(u); other != nil {
		return other
	}
	return i.upstream(u.Host, u)
}

// domainOf reads a remote domain, whose mail may go elsewhere.
func (i *iis) domainOf(e element) {
	location := e.get("Location")
	name := location[strings.LastIndexByte(location, '/')+1:]
	target := e.get("RouteActionString")
	if target == "" {
		if name != "" && !strings.EqualFold(name, "Domain") {
			i.local(name)
		}
		return
	}
	if u := i.smartHost(e, target); u != nil {
		r := Route{Place: e.Place, To: []string{"*@" + name}, Upstream: []string{u.Name}}
		before := len(i.Routes)
		i.route(r)
		if n := len(i.Routes); n > before && before > 0 { // it goes before the one for everybody
			i.Routes[before-1], i.Routes[before] = i.Routes[before], i.Routes[before-1]
		}
	}
}

// times reads how often, and how long, is tried, in minutes.
func (i *iis) times(e element) {
	if len(i.Backoff) > 0 || i.Lifetime > 0 {
		return
	}
	for s := range strings.FieldsFuncSeq(e.get("SmtpRemoteProgressiveRetry"), func(r rune) bool { return r == ',' || r == ' ' }) {
		if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 100_000 && len(i.Backoff) < 12 {
			i.Backoff = append(i.Backoff, time.Duration(n)*time.Minute)
		}
	}
	i.Lifetime = time.Duration(min(e.number("SmtpRemoteNDRExpireMinutes"), 100*24*60)) * time.Minute
	i.WarnAfter = time.Duration(min(e.number("SmtpRemoteDelayExpireMinutes"), 100*24*60)) * time.Minute
}
