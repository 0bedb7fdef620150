package main

import (
	"context"
	"fmt"
	"io"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/config"
	"postern/config/wire"
	"postern/relay/naming"
	"postern/relay/route"
	"postern/relay/submission"
)

func (a *app) explainCommand() *cobra.Command {
	var (
		q       route.Query
		headers []string
	)
	cmd := &cobra.Command{
		Use:   "explain --from ADDRESS [--to ADDRESS]",
		Short: "Say which route a message would take, and why",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("from") {
				return usage("--from is missing: the sender's address, or \"<>\" for the null sender")
			}
			q.From, q.To = bare(q.From), bare(q.To)
			var err error
			if q.Header, err = headerOf(headers); err != nil {
				return err
			}
			return a.explain(cmd.Context(), q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.From, "from", "", "reverse-path, an `ADDRESS`; \"<>\" is the null sender")
	f.StringVar(&q.To, "to", "", "forward-path, an `ADDRESS`")
	f.StringVar(&q.User, "user", "", "`NAME` that the client signed in with")
	f.StringVar(&q.UnixUser, "unix-user", "", "`NAME` of the user at the other end of a unix socket")
	f.StringVar(&q.Listener, "listener", "", "`NAME` of the listener (default: the first one)")
	f.StringArrayVar(&headers, "header", nil, "a field of the message, `'Name: value'`; may be repeated")
	return a.withJSON(cmd)
}

func (a *app) explain(ctx context.Context, q route.Query) error {
	cfg, err := config.Find(a.config)
	if err != nil {
		return badConfig(err)
	}
	if q.Listener == "" {
		q.Listener = cfg.Listeners[0].Name
	}
	if err := checkListener(cfg, q.Listener); err != nil {
		return err
	}
	routes, err := route.New(cfg.Routes)
	if err != nil {
		return badConfig(err)
	}
	named, err := naming.New(cfg)
	if err != nil {
		return badConfig(err)
	}
	called := callNames(ctx, named, &q, mayAsk(&q))
	if called.refused != nil {
		return a.noRouteAsked(called.refused, called.why)
	}
	rules := cfg.SenderRules()
	if t := cfg.HTTP.Tokens[q.User]; t != nil && q.Listener == config.HTTPListener {
		rules = slices.Concat(rules, t.Senders())
	}
	senders, err := route.NewSenders(rules)
	if err != nil {
		return badConfig(err)
	}
	out := explainedNames{Names: called.steps}
	text, none := called.String(), false
	for _, to := range called.to {
		q.To = to
		e := routes.Explain(q)
		if e.Senders = senders.Explain(q); e.Forbidden() {
			e.Decision, e.Tried = route.Decision{}, []route.Trial{}
		}
		rewrites, err := rewriteOf(cfg, q, e.Decision.Upstreams)
		if err != nil {
			return err
		}
		copies := copiesOf(ctx, cfg, routes, named, q, &e.Decision)
		out.Recipients = append(out.Recipients, explained{e, effectOf(cfg, e.Decision.Upstreams, rewrites), copies})
		text += e.String() + a.consequence(cfg, &e, rewrites) + copyLines(cfg, copies, e.Decision.Matched)
		none = none || refused(&e)
	}
	switch {
	case !a.json:
		_, err = io.WriteString(a.stdout, wire.EachLine(text))
	case len(called.steps) == 0:
		err = printJSON(a.stdout, out.Recipients[0])
	default:
		err = printJSON(a.stdout, out)
	}
	if err == nil && none {
		return errReported{exitData}
	}
	return err
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

// noRouteAsked tells what a client is answered before routes count, and why
// where a client is not told.
func (a *app) noRouteAsked(r *submission.Refusal, why error) (err error) {
	if r.Cause == nil {
		why = nil // the reply says it
	}
	if a.json {
		out := struct {
			Refused string `json:"refused"`
			Cause   string `json:"cause,omitempty"`
		}{Refused: r.Error()}
		if why != nil {
			out.Cause = why.Error()
		}
		err = printJSON(a.stdout, out)
	} else {
		text := "no route is asked: the client is answered " + wire.EachLine(r.Error()) + "\n"
		if why != nil {
			text += "   " + safe(why.Error()) + "\n"
		}
		_, err = io.WriteString(a.stdout, text)
	}
	if err == nil && r.Temporary() {
		return errReported{exitTempFail}
	}
	if err == nil {
		err = errReported{exitData}
	}
	return err
}

// checkListener refuses a name that would silently match no route.
func checkListener(cfg *config.Config, name string) error {
	var known []string
	for _, l := range cfg.AllListeners() {
		known = append(known, l.Name)
	}
	known = append(known, config.PickupListener, config.InternalListener)
	if slices.Contains(known, name) {
		return nil
	}
	return usage("there is no listener %q (known: %s)", name, strings.Join(known, ", "))
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
func (a *app) consequence(cfg *config.Config, e *route.Explanation, rewrites map[string]*rewritten) string {
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
		b.WriteString("   " + safe(line) + "\n")
		for _, more := range inWords(up) {
			b.WriteString("     " + safe(more) + "\n")
		}
		for _, more := range rewrites[name].lines(lineOf) {
			b.WriteString("     " + safe(more) + "\n")
		}
	}
	if e.Decision.Watched {
		b.WriteString("   watched: an alert tells when the route takes no mail for " + ago(expectOf(cfg, e.Decision.Route)) + "\n")
	}
	if p := e.Decision.Priority; p != nil {
		fmt.Fprintf(&b, "   priority %d\n", *p)
	}
	return b.String()
}

// lineOf says where in the configuration file something stands, if it is known.
func lineOf(file string, line int) string {
	switch {
	case line == 0:
		return ""
	case file != "":
		return fmt.Sprintf(" (line %d of %s)", line, safe(file))
	}
	return fmt.Sprintf(" (line %d)", line)
}

// bare takes an address out of its angle brackets.
func bare(address string) string {
	if strings.HasPrefix(address, "<") && strings.HasSuffix(address, ">") {
		return address[1 : len(address)-1]
	}
	return address
}

// headerOf reads fields of the form "Name: value"; nil where there are none,
// which means that the header is not known.
func headerOf(fields []string) (textproto.MIMEHeader, error) {
	var h textproto.MIMEHeader
	for _, f := range fields {
		name, value, ok := strings.Cut(f, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, usage("--header %q is not of the form 'Name: value'", f)
		}
		if h == nil {
			h = textproto.MIMEHeader{}
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return h, nil
}

// expectOf is the expect of the route of a name.
func expectOf(cfg *config.Config, name string) time.Duration {
	i := slices.IndexFunc(cfg.Routes, func(r config.Route) bool { return r.Name == name })
	return cfg.Routes[max(i, 0)].Expect
}
