package main

import (
	"context"
	"io"
	"net/textproto"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/explanation"
	"postern/config"
	"postern/relay/route"
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
	if known := explanation.Listeners(cfg); q.Listener != "" && !slices.Contains(known, q.Listener) { // it would silently match no route
		return usage("there is no listener %q (known: %s)", q.Listener, strings.Join(known, ", "))
	}
	answer, err := explanation.Of(ctx, cfg, q, a.bookTokens(cfg.Spool.Shared(), cfg.StateDir))
	if err != nil {
		return badConfig(err)
	}
	if permission(answer.Cause) { // the relay may, so that what this user finds is not its answer
		return &failure{
			code: exitNoPerm, text: "this user cannot say what becomes of mail to " + quoted(q.To) + ": " + answer.Cause.Error(),
			hint: "root can, and the user of the relay; `postern book expand` asks the relay whom a name means.",
		}
	}
	if a.json {
		err = printJSON(a.stdout, answer.Document())
	} else {
		_, err = io.WriteString(a.stdout, answer.String())
	}
	switch {
	case err != nil:
		return err
	case answer.Refusal != nil && answer.Refusal.Temporary():
		return errReported{exitTempFail}
	case answer.Refusal != nil || answer.Refused:
		return errReported{exitData}
	}
	return nil
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
