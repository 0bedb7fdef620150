package daemon

import (
	"context"
	"strings"

	"postern/cmd/console"
	"postern/config"
	"postern/relay/submission"
	"postern/spool"
)

// handIn takes a message that somebody sends at the console, by the same rules as
// any other: routes, senders, rates, copies. The error is a *submission.Refusal.
func (d *daemon) handIn(ctx context.Context, h *console.Handed) (spool.ID, error) {
	limits := &d.state.Load().cfg.HTTP.Listener
	client := &submission.Client{
		Listener: config.ConsoleListener, Peer: h.Client.Peer, User: h.Operator, Connection: h.Client.Connection,
		Settings: &submission.Settings{MaxSize: limits.MaxMessageSize, MaxRecipients: limits.MaxRecipients},
	}
	e := submission.Envelope{From: h.From, Protocol: "HTTP", SMTPUTF8: h.UTF8, Key: h.Key, Remark: h.Remark}
	if h.Client.TLS {
		e.Protocol = "HTTPS"
	}
	var notify spool.Notify
	if len(h.DSN) > 0 {
		notify, _ = submission.ReadNotify(strings.Join(h.DSN, ",")) // which the message file was held to
	}
	m, err := d.agent.Begin(ctx, client, e)
	if err != nil {
		return 0, err
	}
	defer m.Discard()
	if m.Repeated() {
		return m.Commit(ctx)
	}
	for _, to := range h.To { // all of them, or none
		if err := m.Add(submission.Recipient{Address: to, Notify: notify}); err != nil {
			return 0, err
		}
	}
	if _, err := m.Write(h.Content); err != nil {
		return 0, err
	}
	return m.Commit(ctx)
}
