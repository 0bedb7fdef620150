package doctor

import (
	"fmt"
	"strings"

	"postern/config"
	"postern/queue/verdict"
	"postern/relay/route"
	"postern/relay/upstream"
	"postern/spool"
)

// maxEnvelopes bounds how many senders are tried with an upstream: some end a
// session after so many that they refuse.
const maxEnvelopes = 20

// Envelope is one that is to be tried with an upstream.
type Envelope struct {
	upstream.Rehearsal
	// Pattern is what the address was made up for, "*@example.com"; empty: it
	// is the configured one.
	Pattern string
}

// Envelopes are those that the routes send by the upstream: each sender that a
// route names, and one made up for each pattern. from stands for "*" where it
// is not empty, and is tried in any case; to is the recipient, or the sender
// itself where it is empty. more is how many were left out.
func Envelopes(cfg *config.Config, routes *route.Table, name, from, to string) (list []Envelope, more int) {
	anybody := from
	if anybody == "" {
		anybody = "postmaster@" + cfg.Hostname
	}
	seen := map[string]bool{}
	add := func(sender, pattern string) {
		if seen[sender] {
			return
		}
		seen[sender] = true
		rcpt := to
		if rcpt == "" {
			rcpt = sender
		}
		if rcpt == "" {
			rcpt = anybody
		}
		list = append(list, Envelope{upstream.Rehearsal{From: sender, To: rcpt}, pattern})
	}
	if from != "" {
		add(from, "")
	}
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		if !leadsTo(r, name) {
			continue
		}
		for _, text := range patterns(r) {
			sender, pattern := senderFor(text, cfg.Hostname, anybody)
			if !shadowed(cfg, routes, r, sender) {
				add(sender, pattern)
			}
		}
	}
	if len(list) > maxEnvelopes {
		return list[:maxEnvelopes], len(list) - maxEnvelopes
	}
	return list, 0
}

func leadsTo(r *config.Route, name string) bool {
	for _, u := range r.Upstream {
		if u == name {
			return true
		}
	}
	return false
}

func patterns(r *config.Route) []string {
	if len(r.From) == 0 {
		return []string{"*"}
	}
	return r.From
}

// senderFor is an address that a pattern matches; pattern is empty where the
// pattern is that address.
func senderFor(text, hostname, anybody string) (sender, pattern string) {
	p, err := config.ParsePattern(text)
	switch {
	case err != nil || p.Kind == config.PatternAddress:
		return text, ""
	case p.Kind == config.PatternNull:
		return "", ""
	case p.Kind == config.PatternDomain:
		return "postmaster@" + p.Domain, text
	case p.Kind == config.PatternSubdomains:
		return "postmaster@mail." + p.Domain, text
	case p.Kind == config.PatternLocal:
		return strings.TrimSuffix(text, "*") + hostname, text
	}
	return anybody, text
}

// shadowed tells whether mail of sender that r asks nothing else of takes an
// earlier route.
func shadowed(cfg *config.Config, routes *route.Table, r *config.Route, sender string) bool {
	if len(r.To)+len(r.User)+len(r.UnixUser)+len(r.Listener)+len(r.Header) > 0 {
		return false
	}
	q := route.Query{From: sender, To: sender}
	if len(cfg.Listeners) > 0 {
		q.Listener = cfg.Listeners[0].Name
	}
	d := routes.Recipient(q)
	return d.Matched && d.Route != r.Name
}

// Senders says what became of the envelopes, of which the last more were left
// out.
func Senders(up *config.Upstream, tried []Envelope, more int, r *upstream.Report) []Finding {
	var out []Finding
	for i, e := range tried {
		if i < len(r.Rehearsed) {
			out = append(out, sender(up, e, &r.Rehearsed[i]))
			continue
		}
		why := "the session ended before its turn"
		if r.Fault != nil {
			why = "there is no session"
		}
		out = append(out, Finding{ID: UpstreamSender, Status: Skipped, Subject: up.Name, Text: path(e.From) + ": " + why})
	}
	if more > 0 {
		out = append(out, Finding{ID: UpstreamSender, Status: Skipped, Subject: up.Name,
			Text: fmt.Sprintf("%s more were not tried: no more than %d at a time", count(more, "sender", "senders"), maxEnvelopes), Remedy: "Try one with --from."})
	}
	return out
}

func path(address string) string { return "<" + address + ">" }

func sender(up *config.Upstream, e Envelope, r *upstream.Rehearsed) Finding {
	f := Finding{ID: UpstreamSender, Status: OK, Subject: up.Name, Took: took(r.Took),
		Facts: map[string]any{"from": e.From, "to": e.To}}
	who := path(e.From)
	if e.Pattern != "" {
		who += " (made up for " + e.Pattern + ")"
	}
	if r.Refusal == nil {
		f.Text = fmt.Sprintf("%s may send, here to %s", who, path(e.To))
		return f
	}
	o := r.Refusal
	meaning, remedy := advice(up.Name, o)
	command := "MAIL"
	if o.Stage > spool.StageMail {
		command = "RCPT"
	}
	f.Text = fmt.Sprintf("%s to %s, at %s: %s", who, path(e.To), command, explained(o, meaning))
	f.Facts["code"], f.Facts["enhanced"] = o.Code, o.Enhanced
	f.Status, f.Remedy = blamed(e, o)
	if remedy != "" {
		f.Remedy = remedy
	}
	return f
}

// blamed judges a refusal as delivery does.
func blamed(e Envelope, o *spool.Outcome) (Status, string) {
	v := verdict.Of(o, false)
	switch {
	case !answeredBy(o) && !o.Unsupported:
		return Failed, "The session broke off: look at the log of the upstream."
	case o.Unsupported:
		return Warning, "The upstream lacks what this address needs; send it by another one."
	case o.Code < 500:
		return Warning, "The upstream says that this is for now only: try again later."
	case v.Blame == verdict.Recipient:
		return Warning, "This is about the recipient, whom the upstream does not know or does not want: name one that exists with --to."
	case v.Blame == verdict.Sender && e.Pattern != "":
		return Warning, "This sender was made up: name one that exists with --from. If that one is refused too, the account lacks the right to send for this domain."
	case v.Blame == verdict.Sender:
		return Failed, "Give the account of this upstream the right to send as this address, or send it by another upstream."
	case v.Blame == verdict.Access:
		return Failed, "The upstream wants a sign-in, or another one: look at auth and username."
	}
	return Failed, "The upstream does not take this mail: ask whoever runs it, or look at its log."
}
