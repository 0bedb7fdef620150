// Package importer faces the settings of other relays: it reads what Postfix,
// msmtp, nullmailer, sSMTP, dma, Exim or the SMTP service of IIS were told, and
// writes a configuration of Postern that does the same, with a comment for
// whatever it could not carry over.
//
// It owns what it takes from there (Found) and how that is written. Whatever it
// reads is foreign: it runs no command, opens no file but those that the
// settings name, within bounds, and lets no text of theirs become a key. A
// password is written to a file of its own and shown nowhere.
package importer

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"postern/config"
	"postern/config/wire"
)

// Found is what the settings of another relay say, in the words of Postern.
type Found struct {
	Hostname     Setting
	Domain       Setting // completes names that have none
	AliasFile    Setting // aliases(5)
	Aliases      []Alias
	LocalDomains []string  // whose recipients go through the aliases
	Archive      []Setting // who gets a copy of everything
	Listeners    []Listener
	Upstreams    []*Upstream
	Routes       []Route
	Rewrites     []Rewrite
	Lifetime     time.Duration // 0: not said
	WarnAfter    time.Duration // 0: not said
	Backoff      []time.Duration
	Notes        []Note // what could not be carried over

	kept  *kept                // nil: nothing
	src   *source              // what it was read from
	names map[string]bool      // of upstreams
	ways  map[string]*Upstream // by Upstream.way
}

// Place is where something was found.
type Place struct {
	File string
	Line int // from 1; 0: the file as a whole
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Setting is a value and where it was found.
type Setting struct {
	Place
	Value string
}

// Note tells of something that is not carried over, or not as it was.
type Note struct {
	Place
	What string // the setting, and what it means here
	Do   string // what to do; empty: nothing
}

// Alias is a local name and who gets its mail.
type Alias struct {
	Place
	Name string // "*": everybody else
	To   []string
}

// Listener is where clients connect.
type Listener struct {
	Place
	Address string
	Allow   []string // networks
	MaxSize int64    // bytes; 0: not said
	MaxRcpt int      // 0: not said
	MaxConn int      // 0: not said
	Notes   []Note
}

// Upstream is a server that mail goes to.
type Upstream struct {
	Place
	Name         string // set by Found.upstream
	Host         string
	Port         int
	TLS          config.UpstreamTLS
	MinTLS       config.TLSVersion
	ServerName   string
	CAFile       string
	CertFile     string
	KeyFile      string
	Fingerprints []string
	Auth         string // empty: auto
	Username     string
	Domain       string // of Windows
	Password     string
	PasswordAt   Place  // where the password stands
	Command      string // prints the password
	Connect      time.Duration
	MaxConn      int
	Rate         string // empty: none
	Sender       string // what it accepts as a sender; empty: what comes
	Notes        []Note
}

// Route leads mail to upstreams, which are tried in order, or refuses it.
type Route struct {
	Place
	From, To []string
	Upstream []string
	Reject   string
	Archive  []string // who gets a copy
}

// Rewrite replaces senders.
type Rewrite struct {
	Place
	From     []string // patterns
	Envelope string
	Header   string // empty: kept
}

// note adds to what could not be carried over.
func (f *Found) note(at Place, what, do string) {
	f.Notes = append(f.Notes, Note{at, what, do})
}

// note adds to what could not be carried over of an upstream.
func (u *Upstream) note(at Place, what, do string) {
	u.Notes = append(u.Notes, Note{at, what, do})
}

// upstream adds one under a name of its own, which is like hint.
func (f *Found) upstream(hint string, u *Upstream) *Upstream {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(wire.Text(hint, 60))), "-.")
	name = strings.ReplaceAll(name, ".", "-")
	if name == "" {
		name = "upstream"
	}
	u.Name = name
	for i := 2; f.names[u.Name] || len(u.Name) > 90; i++ {
		u.Name = fmt.Sprintf("%.80s-%d", name, i)
	}
	if f.names == nil {
		f.names, f.ways = map[string]bool{}, map[string]*Upstream{}
	}
	f.names[u.Name], f.ways[u.way()] = true, u
	f.Upstreams = append(f.Upstreams, u)
	return u
}

// way is how an upstream is reached and signed in to, and as whom it sends.
func (u *Upstream) way() string {
	return fmt.Sprintf("%q", []string{u.Host, strconv.Itoa(u.Port), string(u.TLS), string(u.MinTLS), u.ServerName, u.CAFile, u.CertFile, u.KeyFile,
		strings.Join(u.Fingerprints, " "), u.Auth, u.Username, u.Domain, u.Password, u.Command, u.Rate, strconv.Itoa(u.MaxConn), u.Sender})
}

// like is an upstream of the same way; nil: there is none yet.
func (f *Found) like(u *Upstream) *Upstream { return f.ways[u.way()] }

// route adds to the routes; one that leads where the last one does, by the same
// condition, becomes part of it. Patterns that Postern does not know are told.
func (f *Found) route(r Route) {
	from, to := f.patterns(r.Place, r.From), f.patterns(r.Place, r.To)
	if len(from) < len(r.From) && len(from) == 0 || len(to) < len(r.To) && len(to) == 0 || len(r.Upstream) == 0 && r.Reject == "" {
		return
	}
	r.From, r.To = from, to
	if n := len(f.Routes); n > 0 {
		last := &f.Routes[n-1]
		same := slices.Equal(last.Upstream, r.Upstream) && last.Reject == r.Reject && slices.Equal(last.Archive, r.Archive)
		switch {
		case same && len(last.To)+len(r.To) == 0 && len(last.From) > 0 && len(r.From) > 0:
			last.From = union(last.From, r.From)
			return
		case same && len(last.From)+len(r.From) == 0 && len(last.To) > 0 && len(r.To) > 0:
			last.To = union(last.To, r.To)
			return
		}
	}
	f.Routes = append(f.Routes, r)
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// patterns are those of list that Postern knows, as it writes them.
func (f *Found) patterns(at Place, list []string) (known []string) {
	for _, s := range list {
		p, err := config.ParsePattern(s)
		if err != nil {
			f.note(at, fmt.Sprintf("the pattern %s %s", shown(s), err), "write a [[route]] for what is meant")
			continue
		}
		known = append(known, p.String())
	}
	return known
}

// shown is a foreign word for a comment.
func shown(s string) string { return `"` + wire.Abridged(s, 100, "…") + `"` }

// setting is the name of a strange setting for a comment. What is no name is not
// shown: where a line has a slip in it, it may be a password.
func setting(name string) string {
	if len(name) <= 60 && settingName().MatchString(name) {
		return name
	}
	return "what stands here"
}

var settingName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
})

// plain tells whether s can stand in the file: text that a reader sees.
func plain(s string) bool {
	return utf8.ValidString(s) && len(s) <= 1000 && !strings.ContainsFunc(s, func(r rune) bool { return !wire.Visible(r) })
}

// address is an e-mail address as the configuration takes it.
func address(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		s = s[1 : len(s)-1]
	}
	return config.ParseAddress(s)
}

// mailName takes a host name for EHLO; it tells of one that cannot be used.
func (f *Found) mailName(at Place, setting, name string) {
	canonical, ok := wire.CanonicalHost(strings.TrimSuffix(name, "."))
	if !ok {
		f.note(at, fmt.Sprintf("%s: %s is no host name", setting, shown(name)), "set hostname where the machine's own name is not good enough")
		return
	}
	f.Hostname = Setting{at, canonical}
}

// local adds names of this machine, whose recipients go through the aliases.
func (f *Found) local(names ...string) {
	for _, name := range names {
		if c, ok := wire.CanonicalHost(strings.TrimSuffix(name, ".")); ok && c[0] != '[' {
			f.LocalDomains = union(f.LocalDomains, []string{c})
		}
	}
}

// addListener adds one, unless there is one at its address already.
func (f *Found) addListener(l Listener) {
	if slices.ContainsFunc(f.Listeners, func(o Listener) bool { return o.Address == l.Address }) {
		return
	}
	if _, port, err := net.SplitHostPort(l.Address); err == nil {
		if n, _ := portNumber(port); n < 1024 {
			l.Notes = append(l.Notes, Note{l.Place, "the unit gives no right to port " + port, "use postern.socket, or CapabilityBoundingSet=CAP_NET_BIND_SERVICE and the same for AmbientCapabilities="})
		}
	}
	f.Listeners = append(f.Listeners, l)
}

// listen adds a listener at an address; "" is all. One that only this machine
// may use is on loopback.
func (f *Found) listen(at Place, address, port string, allow []string) {
	n, ok := portNumber(port)
	ip, err := netip.ParseAddr(address)
	if !ok || address != "" && (err != nil || ip.Zone() != "") {
		f.note(at, shown(address)+" is no address to listen at", "add a [[listener]]")
		return
	}
	l := Listener{Place: at, Address: net.JoinHostPort(address, strconv.Itoa(n))}
	if address == "" || !ip.IsLoopback() {
		if slices.ContainsFunc(allow, func(s string) bool { return !loopbackNetwork(s) }) {
			l.Allow = allow
			l.Notes = append(l.Notes, Note{at, "whoever is in allow may send to anybody", ""})
		} else {
			l.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(n))
			l.Notes = append(l.Notes, Note{at, "it listened at other addresses too, and took mail for anybody from this machine alone", ""})
		}
	}
	f.addListener(l)
}

func loopbackNetwork(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.IsLoopback()
	}
	prefix, err := netip.ParsePrefix(s)
	return err == nil && prefix.Addr().IsLoopback()
}

// backoff waits from least to most, and twice as long each time.
func (f *Found) backoff(least, most time.Duration) {
	for d := least; d < most && len(f.Backoff) < 12; d *= 2 {
		f.Backoff = append(f.Backoff, d)
	}
	f.Backoff = append(f.Backoff, most)
}

// network is a network or an address as allow has it; bits behind the length of
// a network are cut off, as others do.
func network(s string) (string, bool) {
	s = strings.NewReplacer("[", "", "]", "").Replace(s)
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return ip.Unmap().String(), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return "", false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return "", false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked().String(), true
}
