// Package explanation says what would become of a message: by which route it
// would go, with every route that was tried, whom names in it stand for, what its
// upstreams change, and who gets a copy.
//
// It faces administrators, at the command line and in the console. It asks address
// books where a name needs that, and opens nothing else: what an upstream would
// say, nobody knows before it is asked.
package explanation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/naming"
	"postern/relay/route"
	"postern/relay/storm"
	"postern/relay/submission"
	"postern/relay/webclient"
)

// Question is what is known of a message.
type Question = route.Query

// Answer is what becomes of a message.
type Answer struct {
	// Refusal is what the client is answered before any route is asked; nil: they
	// are asked. Cause is what a client is not told of it, and may be nil.
	Refusal *submission.Refusal
	Cause   error
	// Names are the steps from the names in the question to addresses.
	Names []NameStep
	// Recipients has one for each address; empty where there is a Refusal.
	Recipients []Recipient
	// Refused tells that a client is answered 550 for one of the recipients.
	Refused bool

	text string
}

// Listeners are the names that a question may have for one.
func Listeners(cfg *config.Config) (known []string) {
	for _, l := range cfg.AllListeners() {
		known = append(known, l.Name)
	}
	known = append(known, config.PickupListener)
	if cfg.Console.Listener.Address != "" {
		known = append(known, config.ConsoleListener)
	}
	return append(known, config.InternalListener)
}

// Of is what becomes of the message of q, which may have names in the place of
// addresses and, without a listener, is one of the first. The address books that
// sign in by OAuth get their tokens from tokens; nil: they count as away. An error
// is one of the configuration.
func Of(ctx context.Context, cfg *config.Config, q Question, tokens webclient.Tokens) (*Answer, error) {
	if q.Listener == "" {
		q.Listener = cfg.Listeners[0].Name
	}
	routes, err := route.New(cfg.Routes)
	if err != nil {
		return nil, err
	}
	named, err := naming.New(cfg)
	if err != nil {
		return nil, err
	}
	defer named.Books().Close()
	named.Books().UseTokens(tokens)
	called := callNames(ctx, named, &q, mayAsk(&q))
	if called.refused != nil {
		return refusal(called.refused, called.why), nil
	}
	rules := cfg.SenderRules()
	if t := cfg.HTTP.Tokens[q.User]; t != nil && q.Listener == config.HTTPListener {
		rules = slices.Concat(rules, t.Senders())
	}
	senders, err := route.NewSenders(rules)
	if err != nil {
		return nil, err
	}
	a := &Answer{Names: called.steps, text: called.String()}
	for _, to := range called.to {
		q.To = to
		e := routes.Explain(q)
		if e.Senders = senders.Explain(q); e.Forbidden() {
			e.Decision, e.Tried = route.Decision{}, []route.Trial{}
		}
		rewrites, err := rewriteOf(cfg, q, e.Decision.Upstreams)
		if err != nil {
			return nil, err
		}
		copies := copiesOf(ctx, cfg, routes, named, q, &e.Decision)
		a.Recipients = append(a.Recipients, Recipient{e, effectOf(cfg, e.Decision.Upstreams, rewrites), copies})
		a.text += e.String() + consequence(cfg, &e, rewrites) + copyLines(cfg, copies, e.Decision.Matched)
		a.Refused = a.Refused || refused(&e)
	}
	return a, nil
}

// String is the answer for people, in lines that are harmless on a terminal.
func (a *Answer) String() string { return wire.EachLine(a.text) }

// Document is the answer for programs.
func (a *Answer) Document() any {
	switch {
	case a.Refusal != nil:
		out := struct {
			Refused string `json:"refused"`
			Cause   string `json:"cause,omitempty"`
		}{Refused: a.Refusal.Error()}
		if a.Cause != nil {
			out.Cause = a.Cause.Error()
		}
		return out
	case len(a.Names) == 0:
		return a.Recipients[0]
	}
	return withNames{Names: a.Names, Recipients: a.Recipients}
}

// refusal tells what a client is answered before routes count, and why where a
// client is not told.
func refusal(r *submission.Refusal, why error) *Answer {
	if r.Cause == nil {
		why = nil // the reply says it
	}
	a := &Answer{Refusal: r, Cause: why, text: "no route is asked: the client is answered " + r.Error() + "\n"}
	if why != nil {
		a.text += "   " + wire.Line(why.Error()) + "\n"
	}
	return a
}

// mayAsk tells which books are asked for the client of a question: one with a
// token, or else a user of this machine.
func mayAsk(q *route.Query) func(*config.Book) bool {
	user, unixUser := "", q.UnixUser
	if q.Listener == config.HTTPListener {
		user = q.User
	}
	return func(b *config.Book) bool { return b.Allows(user, unixUser) }
}

// refused reports whether no route can match, whatever is not yet known.
func refused(e *route.Explanation) bool {
	if e.Forbidden() || e.Decision.Reject != "" {
		return true
	}
	if e.Decision.Matched || e.Decision.NeedsHeader {
		return false
	}
	for _, t := range e.Tried {
		if t.Result != route.Fails {
			return false
		}
	}
	return true
}

// consequence says what the decision means on the wire.
func consequence(cfg *config.Config, e *route.Explanation, rewrites map[string]*Rewritten) string {
	if refused(e) {
		return "   the client is answered 550 5.7.1\n"
	}
	var b strings.Builder
	for _, name := range e.Decision.Upstreams {
		up := cfg.Upstreams[name]
		if up == nil {
			continue
		}
		where := fmt.Sprintf("%s port %d, tls %s", up.Host, up.Port, up.TLS)
		if up.TLS == config.TLSAuto {
			where = up.Host + ", port and TLS as DNS says or as it answers"
		}
		if up.Provider != "" {
			where = up.Provider + ", " + where
		}
		line := fmt.Sprintf("%s: %s, auth %s", name, where, up.Auth)
		if up.Provider == config.CaptureProvider {
			line = fmt.Sprintf("%s: kept on this machine, in %s", name, cfg.CaptureDir())
		}
		if up.Username != "" {
			line += " as " + up.Username
		}
		b.WriteString("   " + wire.Line(line) + "\n")
		for _, more := range inWords(up) {
			b.WriteString("     " + wire.Line(more) + "\n")
		}
		for _, more := range rewrites[name].lines(lineOf) {
			b.WriteString("     " + wire.Line(more) + "\n")
		}
	}
	if e.Decision.Watched {
		b.WriteString("   watched: an alert tells when the route takes no mail for " + config.RoughDuration(expectOf(cfg, e.Decision.Route)) + "\n")
	}
	if p := e.Decision.Priority; p != nil {
		fmt.Fprintf(&b, "   priority %d\n", *p)
	}
	if p, err := storm.NewPolicy(cfg.Storm); err == nil && p.Watches(e.From) {
		fmt.Fprintf(&b, "   storm guard: of messages that are alike, %d go on within %s, and more are held\n", p.Messages, config.RoughDuration(p.Per))
	}
	return b.String()
}

// lineOf says where in the configuration file something stands, if it is known.
func lineOf(file string, line int) string {
	switch {
	case line == 0:
		return ""
	case file != "":
		return fmt.Sprintf(" (line %d of %s)", line, wire.Line(file))
	}
	return fmt.Sprintf(" (line %d)", line)
}

// expectOf is the expect of the route of a name.
func expectOf(cfg *config.Config, name string) time.Duration {
	i := slices.IndexFunc(cfg.Routes, func(r config.Route) bool { return r.Name == name })
	return cfg.Routes[max(i, 0)].Expect
}
