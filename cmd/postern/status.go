package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/queue/budget"
	"postern/relay/oauth"
)

func (a *app) statusCommand() *cobra.Command {
	var health bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the running daemon is",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.status(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case a.json:
				err = printJSON(a.stdout, st)
			case health:
				err = a.printHealth(st)
			default:
				err = a.printStatus(st)
			}
			if err == nil && health && !st.Healthy {
				return errReported{exitUnavailable}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&health, "health", false, "print only whether it is healthy; exit code 69 where it is not")
	return a.withJSON(cmd)
}

func (a *app) printHealth(st *control.Status) error {
	for _, line := range control.HealthLines(st.Problems, st.Degraded) {
		if _, err := fmt.Fprintln(a.stdout, safe(line)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printStatus(st *control.Status) error {
	now := time.Now()
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s%s\n", name, safe(fmt.Sprintf(format, args...)))
	}
	config := st.Config
	if config == "" {
		config = "embedded default"
	}
	line("postern", "%s, process %d, up %s", st.Version, st.PID, ago(now.Sub(st.Started)))
	line("config", "%s, read %s ago", config, ago(now.Sub(st.Loaded)))
	for _, p := range control.HealthLines(st.Problems, st.Degraded) {
		line("health", "%s", p)
	}
	sp := &st.Spool
	if s := sp.Standin; s != nil && (s.Accepting || s.Messages > 0) {
		what := "wait to be moved into the database"
		if s.Accepting {
			what = "accepted while the database is away, to go out when it is back"
		}
		line("local", "%s %s", plural(s.Messages, "message", "messages"), what)
	}
	switch {
	case sp.Shared && sp.Relays == nil:
		line("spool", "database: it does not answer")
	case sp.Relays == nil:
		line("spool", "%s: %s, %s on disk (%s live), %s free", sp.Dir,
			plural(sp.Messages, "message", "messages"), size(sp.Disk), size(sp.Live), size(sp.Free))
	default:
		line("spool", "database: %s, %s on disk (%s live)", plural(sp.Messages, "message", "messages"), size(sp.Disk), size(sp.Live))
		for i := range sp.Relays {
			line("relay", "%s", relayState(&sp.Relays[i], now))
		}
	}
	if sp.Full {
		if sp.MaxMessages > 0 && sp.Messages >= sp.MaxMessages {
			line("", "it holds spool.max_messages = %d: new mail is answered 452 until some are gone", sp.MaxMessages)
		} else {
			line("", "full: new mail is answered 452 until there is room")
		}
	}
	q := &st.Queue
	line("queue", "%s: %d active, %d due, %d deferred, %d held", plural(q.Deliveries, "delivery", "deliveries"),
		q.Active, q.Due, q.Deferred, q.Held)
	if q.Scheduled > 0 {
		line("", "besides, %d not to go out yet: `postern queue list --scheduled`", q.Scheduled)
	}
	if q.Kept > 0 {
		line("", "of those held, %d failed and came from <>: `postern queue list --held`", q.Kept)
	}
	if q.OldestDue != nil {
		line("", "the oldest has been due for %s", ago(now.Sub(*q.OldestDue)))
	}
	for i := range st.Expected {
		line("expect", "%s", expectState(&st.Expected[i], now))
	}
	for i := range st.Storms {
		line("storm", "%s", stormState(&st.Storms[i], now))
	}
	for i := range st.Lanes {
		l := &st.Lanes[i]
		for _, r := range l.Rates {
			line("rate", "%s: %s", l.Upstream, rateState(&r, now))
		}
		if l.Token != nil {
			line("token", "%s: %s", l.Upstream, tokenState(l.Token, now))
		}
	}
	b.WriteString("\n")
	if _, err := io.WriteString(a.stdout, b.String()); err != nil {
		return err
	}
	t := newTable(a.stdout, "LISTENER", "ADDRESS", "TLS", "CONNECTIONS")
	for _, l := range st.Listeners {
		t.row(l.Name, l.Address, l.TLS, fmt.Sprint(l.Connections))
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	return a.printLanes(st.Lanes)
}

// expectState says in a line whether a route takes the mail that is expected.
func expectState(e *control.Expected, now time.Time) string {
	last := "no message seen yet"
	if e.Last != nil {
		last = "the last message " + ago(now.Sub(*e.Last)) + " ago"
	}
	s := fmt.Sprintf("%s: %s, expected within %s", e.Route, last, ago(time.Duration(e.Within*float64(time.Second))))
	if e.Silent {
		s += ": SILENT"
	}
	return s
}

// stormState says in a line what is held of messages that are alike.
func stormState(s *control.Storm, now time.Time) string {
	until := "goes on"
	if s.Ended != nil {
		until = "ended " + ago(now.Sub(*s.Ended)) + " ago"
	}
	return fmt.Sprintf("%s: %d held since %s ago, %d still, %s; from %s to %s, %q", s.ID, s.Held, ago(now.Sub(s.Began)), s.Waiting, until, path(s.From), path(s.To), s.Subject)
}

// relayState says in a line what a relay that shares the queue does.
func relayState(r *control.Peer, now time.Time) string {
	s := r.Name
	if r.Self {
		s += " (this one)"
	}
	if !r.Lives {
		return s + ": gone"
	}
	s += ": " + r.Version + ", up " + ago(now.Sub(r.Started)) + ", in charge of "
	if len(r.Lanes) == 0 {
		return s + "nothing"
	}
	var lanes []string
	for _, l := range r.Lanes {
		lanes = append(lanes, fmt.Sprintf("%s for %s", l.Upstream, ago(now.Sub(l.Since))))
	}
	return s + strings.Join(lanes, ", ")
}

// rateState says in a line what is left of a rate.
func rateState(r *budget.Left, now time.Time) string {
	s := fmt.Sprintf("%d of %s left", r.Left, r.Rate)
	if !r.Next.IsZero() {
		s += ", the next " + until(&r.Next, now)
	}
	return s
}

// laneReason says in a few words why a lane is not at full speed.
func laneReason(l *control.Lane, now time.Time) string {
	var words []string
	if l.Reason != "" {
		words = append(words, l.Reason)
	}
	if l.PausedBy != "" && l.Since != nil {
		words = append(words, "by "+l.PausedBy+", "+ago(now.Sub(*l.Since))+" ago")
	}
	if l.Holder != "" {
		words = append(words, "(delivered by the relay "+l.Holder+")")
	}
	if l.Pace > 0 {
		words = append(words, fmt.Sprintf("(%.3g messages a minute)", l.Pace))
	}
	if l.WaitsSince != nil {
		words = append(words, "mail waits for its rate")
	}
	for _, r := range l.Refusals {
		words = append(words, fmt.Sprintf("refuses <%s> for %s, %s (%s)", r.Sender, ago(now.Sub(r.Since)), plural(r.Waiting, "delivery waits", "deliveries wait"), r.Reason))
	}
	if l.NextProbe != nil {
		words = append(words, "(next probe "+until(l.NextProbe, now)+")")
	}
	return strings.Join(words, " ")
}

// tokenState says in a line how it stands with an access token.
func tokenState(t *oauth.Status, now time.Time) string {
	s := "none"
	switch {
	case t.Present && t.Expires.IsZero():
		s = "good until the upstream refuses it"
	case t.Present && t.Expires.After(now):
		s = "good for " + ago(t.Expires.Sub(now))
	case t.Present:
		s = "ended"
	}
	if t.Problem == "" && t.Renewable {
		s += ", renewed by itself"
	}
	if t.Problem != "" {
		s += "; " + t.Problem
	}
	switch left := t.SecretEnds.Sub(now); {
	case t.SecretEnds.IsZero():
	case left <= 0:
		s += "; the client secret ended on " + t.SecretEnds.Format(time.DateOnly)
	default:
		s += "; the client secret ends on " + t.SecretEnds.Format(time.DateOnly) + ", in " + ago(left)
	}
	return s
}

// tlsState says in a few words how connections are protected, and since when
// what is remembered: that STARTTLS was offered, that the certificate was
// valid, and by which kind of TLS the address is reached.
func tlsState(l *control.Lane) string {
	m := l.Memory
	if m == nil {
		return cmp.Or(l.TLS, "-")
	}
	s := l.TLS
	if m.Offered != nil {
		s += ", offered " + m.Offered.Local().Format(time.DateOnly)
	}
	if m.Valid != nil {
		s += ", valid " + m.Valid.Local().Format(time.DateOnly)
	}
	if m.Found != nil {
		how := "STARTTLS"
		if m.Implicit {
			how = "implicit"
		}
		s += ", " + how + " found " + m.Found.Local().Format(time.DateOnly)
	}
	if m.Problem != "" {
		s += "; " + m.Problem
	}
	return s
}

func (a *app) printLanes(lanes []control.Lane) error {
	now := time.Now()
	t := newTable(a.stdout, "UPSTREAM", "ADDRESS", "TLS", "STATE", "QUEUED", "SESSIONS", "OLDEST DUE", "REASON")
	for i := range lanes {
		l := &lanes[i]
		oldest := "-"
		if l.OldestDue != nil && l.OldestDue.Before(now) {
			oldest = ago(now.Sub(*l.OldestDue))
		}
		sessions := fmt.Sprint(l.Sessions)
		if l.MaxConnections > 0 {
			sessions = fmt.Sprintf("%d/%d", l.Sessions, l.MaxConnections)
		}
		t.row(l.Upstream, l.Address, tlsState(l), string(l.State), fmt.Sprint(l.Queued), sessions, oldest, laneReason(l, now))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return a.printAdvice(lanes)
}

// printAdvice says below the table what can be done for those that are not up.
func (a *app) printAdvice(lanes []control.Lane) error {
	for i := range lanes {
		advice := lanes[i].Advice
		if advice == nil {
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "\n%s: %s\n  %s\n", safe(lanes[i].Upstream), safe(advice.Meaning), safe(advice.Remedy)); err != nil {
			return err
		}
	}
	return nil
}
