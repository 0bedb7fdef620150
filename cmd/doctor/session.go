package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/config"
	"postern/relay/upstream"
	"postern/spool"
)

// Session says what an examination of up showed, step by step, in the order of
// a session. largest is the size in bytes of the largest message that any
// listener takes, now the moment of the examination.
func Session(up *config.Upstream, r *upstream.Report, largest int64, now time.Time) []Finding {
	e := &examination{up: up, r: r, largest: largest}
	e.ways()
	e.lookup()
	e.addresses()
	e.connect()
	e.greeting()
	e.tls(now)
	e.extensions()
	e.signIn(now)
	return e.out
}

// examination is a report on its way to findings.
type examination struct {
	up      *config.Upstream
	r       *upstream.Report
	largest int64
	out     []Finding
}

func (e *examination) add(f Finding) {
	f.Subject = e.up.Name
	e.out = append(e.out, f)
}

// taken finds a step, the last one of its kind; nil: it did not come to it.
func (e *examination) taken(step upstream.Step) *upstream.Taken {
	for i := len(e.r.Steps) - 1; i >= 0; i-- {
		if t := &e.r.Steps[i]; t.Step == step {
			return t
		}
	}
	return nil
}

// fail is the finding of a step that went wrong.
func (e *examination) fail(id ID, t *upstream.Taken, remedy string) {
	f := refused(id, e.up.Name, &t.Fault.Outcome, remedy)
	f.Took = took(t.Took)
	e.add(f)
}

func (e *examination) skip(id ID, text string) { e.add(Finding{ID: id, Status: Skipped, Text: text}) }

// ways tells how port and TLS were found, where the configuration leaves that
// open.
func (e *examination) ways() {
	if e.up.TLS != config.TLSAuto {
		return
	}
	f := Finding{ID: UpstreamWay, Status: OK, Text: fmt.Sprintf("%s, %s", e.r.Target, modes[e.r.TLS]),
		Facts: map[string]any{"target": e.r.Target, "tls": e.r.TLS}}
	switch {
	case e.r.Target == "" && e.r.Fault != nil:
		f = refused(UpstreamWay, e.up.Name, &e.r.Fault.Outcome, "Set port, and tls = \"verify\" or \"implicit\": then nothing has to be found out.")
	case e.r.Target == "":
		return
	case e.r.Way.Fault != nil:
		f.Status, f.Text = Failed, "no way leads there; the one that came furthest is "+f.Text
		f.Remedy = "See below; or set port, and tls = \"verify\" or \"implicit\"."
	}
	e.add(f)
	for i := range e.r.Others {
		w := &e.r.Others[i]
		f := Finding{ID: UpstreamWay, Status: Warning, Text: fmt.Sprintf("%s, %s: no session", w.Target, modes[w.TLS])}
		if w.Fault != nil {
			f.Text = fmt.Sprintf("%s, %s: %s", w.Target, modes[w.TLS], said(&w.Fault.Outcome))
		}
		f.Remedy = fmt.Sprintf("Another way is taken. port = %d and tls = %q spare looking for it.", e.r.Port, e.r.TLS)
		if e.r.Way.Fault != nil {
			f.Status, f.Remedy = Failed, "See the way that came furthest."
		}
		e.add(f)
	}
}

func (e *examination) lookup() {
	l, host := &e.r.Lookup, e.r.Lookup.Host
	switch {
	case e.up.Provider == config.CaptureProvider:
		e.add(Finding{ID: UpstreamDNS, Status: OK, Text: "the capture server is a part of the daemon: there is nothing to look up"})
	case l.Literal:
		e.add(Finding{ID: UpstreamDNS, Status: OK, Text: e.up.Host + " is an address: there is nothing to look up"})
	case l.Skipped:
		e.skip(UpstreamDNS, "the examination ended before "+host+" was looked up")
	case l.Err != nil:
		e.add(Finding{ID: UpstreamDNS, Status: Failed, Took: took(l.Took), Text: lookupError(host, l.Err), Remedy: lookupRemedy(l.Err)})
	default:
		var list []string
		for _, a := range e.r.Addresses {
			list = append(list, a.Address.String())
		}
		e.add(Finding{ID: UpstreamDNS, Status: OK, Took: took(l.Took), Facts: map[string]any{"addresses": list},
			Text: fmt.Sprintf("%s has %s: %s", host, count(len(list), "address", "addresses"), strings.Join(list, ", "))})
	}
}

func lookupError(host string, err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no host " + host
	case errors.As(err, &dns) && dns.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return "the name server did not answer in time when asked for " + host
	case errors.As(err, &dns):
		return "looking up " + host + " failed: " + dns.Err
	}
	return "looking up " + host + " failed: " + err.Error()
}

func lookupRemedy(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return "Correct host, or have the name made known."
	}
	return "Look at the resolver of this machine (/etc/resolv.conf, resolvectl) and at whether a firewall lets port 53 out."
}

// addresses tells of each of several. One that is dead costs every new
// session time, as long as another one lives.
func (e *examination) addresses() {
	alive := 0
	for _, a := range e.r.Addresses {
		if a.Tried && a.Err == "" {
			alive++
		}
	}
	for _, a := range e.r.Addresses {
		if !a.Tried {
			continue
		}
		f := Finding{ID: UpstreamAddress, Status: OK, Took: took(a.Took), Facts: map[string]any{"address": a.Address.String()},
			Text: fmt.Sprintf("%s takes connections on port %d", a.Address, e.r.Port)}
		if a.Err != "" {
			f.Status, f.Text = Failed, fmt.Sprintf("%s port %d: %s", a.Address, e.r.Port, a.Err)
			if alive > 0 { // else the remedy is that of the connection
				f.Status, f.Remedy = Warning, "Other addresses answer, so mail goes; each new session may lose time with this one."
			}
		}
		e.add(f)
	}
}

func connectRemedy(port int) string {
	remedy := fmt.Sprintf("Check host and port = %d, and whether a firewall lets connections out to it.", port)
	if port == 25 {
		remedy += " Many networks block port 25: submission is on 587 or 465."
	}
	return remedy
}

func (e *examination) connect() {
	t := e.taken(upstream.StepConnect)
	switch {
	case t == nil && e.r.Fault != nil && e.r.Fault.Outcome.Stage == spool.StageResolve:
		e.skip(UpstreamConnect, "nobody knows where to connect to")
	case t == nil:
		e.skip(UpstreamConnect, "it did not come to a connection")
	case t.Fault != nil && t.Fault.Outcome.Stage == spool.StageResolve:
		e.skip(UpstreamConnect, "there is no address to connect to")
	case t.Fault != nil:
		e.fail(UpstreamConnect, t, connectRemedy(e.r.Port))
	default:
		e.add(Finding{ID: UpstreamConnect, Status: OK, Took: took(t.Took), Text: "connected to " + e.r.Remote,
			Facts: map[string]any{"remote": e.r.Remote}})
	}
}

// greeting is the banner and the first EHLO; the second one belongs to TLS.
func (e *examination) greeting() {
	t := e.taken(upstream.StepBanner)
	if t == nil {
		if e.taken(upstream.StepHandshake) == nil {
			e.skip(UpstreamBanner, "there is no connection")
		}
		return
	}
	if t.Fault != nil {
		e.fail(UpstreamBanner, t, orOfTLS(e.bannerRemedy(t.Fault.Outcome.Code), t.Fault))
		return
	}
	e.add(Finding{ID: UpstreamBanner, Status: OK, Took: took(t.Took), Text: "220 " + e.r.Banner})
	for i := range e.r.Hellos {
		h := &e.r.Hellos[i]
		where := "in clear"
		if h.Encrypted {
			where = "over TLS"
		}
		e.add(Finding{ID: UpstreamEHLO, Status: OK, Text: "announced " + where + ": " + orNothing(h.Extensions),
			Facts: map[string]any{"encrypted": h.Encrypted, "extensions": h.Extensions}})
	}
	if t := e.taken(upstream.StepHello); t != nil && t.Fault != nil {
		e.fail(UpstreamEHLO, t, orOfTLS("Some servers refuse a hostname that they cannot look up: set hostname to the name of this machine in the DNS.", t.Fault))
	}
}

// orOfTLS is remedy, or the one of what TLS 1.3 tells only behind the handshake.
func orOfTLS(remedy string, fault *spool.Fault) string {
	if trouble := (*upstream.Trouble)(nil); errors.As(fault, &trouble) {
		return trouble.Remedy
	}
	return remedy
}

func (e *examination) bannerRemedy(code int) string {
	switch {
	case code != 0:
		return "The upstream does not want this machine, or is not an SMTP server: look at host and port, and at its own log."
	case e.r.Port == 465 && e.r.TLS != config.TLSImplicit:
		return `Port 465 wants tls = "implicit".`
	}
	return "The upstream is overloaded, or is not an SMTP server, or a firewall in between swallows what it says."
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// lacking is what a message can need of an upstream, and what becomes of it
// where that is missing (docs/upstreams.md).
var lacking = []struct {
	keyword, without string
	common           bool // nearly every upstream has it
}{
	{"PIPELINING", "each message costs four round trips instead of one", true},
	{"8BITMIME", "messages of 8 bits go encoded, and those that cannot be fail with 5.6.3", true},
	{"SIZE", "a message that is too large is refused only after all of it was sent", true},
	{"SMTPUTF8", "addresses beyond ASCII fail with 5.6.7, names and subjects go encoded", false},
	{"DSN", "Postern itself reports success where a sender asks for it", false},
	{"BINARYMIME", "messages in BINARYMIME fail with 5.6.3", false},
	{"REQUIRETLS", "messages that require TLS on the whole way fail with 5.7.30", false},
	{"DELIVERBY", "messages that have to be returned past a deadline fail with 5.3.3", false},
	{"MT-PRIORITY", "priorities are not handed on", false},
}

// extensions compares what was announced last with what messages can need.
func (e *examination) extensions() {
	if e.taken(upstream.StepSignIn) == nil {
		return // what was announced until then does not count
	}
	if len(e.r.Hellos) == 0 {
		e.add(Finding{ID: UpstreamExtension, Status: Warning, Text: "the upstream knows HELO only, and no extension",
			Remedy: "That is how a firewall that takes SMTP apart looks from inside (\"fixup\", \"inspect esmtp\"): turn that off."})
		return
	}
	h := &e.r.Hellos[len(e.r.Hellos)-1]
	f := Finding{ID: UpstreamExtension, Status: OK}
	var missing, rare []string
	for _, l := range lacking {
		switch {
		case h.Announces(l.keyword):
		case l.common:
			f.Status = Warning
			missing = append(missing, l.keyword+" ("+l.without+")")
		default:
			rare = append(rare, l.keyword+" ("+l.without+")")
		}
	}
	missing = append(missing, rare...)
	f.Text = "everything that messages can need is there"
	if len(missing) > 0 {
		f.Text = "not there: " + strings.Join(missing, "; ")
	}
	if f.Status == Warning {
		f.Remedy = "Ask whoever runs the upstream, or whatever inspects SMTP on the way, why it is not announced."
	}
	e.add(f)
	e.size(h.MaxSize)
}

// size compares the limits on messages: announced, configured, and of the
// listeners.
func (e *examination) size(announced int64) {
	size := Finding{ID: UpstreamSize, Status: OK, Text: "no limit on the size of a message is known"}
	limit, by := announced, "the upstream announces it"
	if own := e.up.MaxMessageSize; own > 0 && (limit == 0 || own < limit) {
		limit, by = own, "by max_message_size"
	}
	if limit > 0 {
		size.Text = "messages of up to " + config.FormatSize(limit) + " go, " + by
		size.Facts = map[string]any{"bytes": limit}
	}
	if limit > 0 && limit < e.largest {
		size.Text += ", and a listener takes up to " + config.FormatSize(e.largest) + ": what is between the two is accepted and bounces"
		size.Remedy = "Set max_message_size of the listeners to what the upstreams take."
	}
	e.add(size)
}

// count is "1 address", "2 addresses".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
