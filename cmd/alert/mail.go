package alert

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"postern/config"
	"postern/spool"
)

// Mail is people who get mail by upstreams of their own. It is given to the
// queue while one of these takes mail: what is wrong otherwise is told in the
// other ways, and by this one as it is by then.
type Mail struct {
	config.AlertMail
	// Create begins a message (spool.Store).
	Create func(context.Context) (spool.Draft, error)
	// Obstacle says why mail cannot go by these upstreams at present; "": it can.
	Obstacle func(upstreams []string) string
}

// priority is the highest that there is: this mail goes before what waits.
const priority = 9

// Send implements Receiver. Nobody is told where the mail fails, so that alerts
// about alerts cannot go round: it is from an address and not from <>, and no
// notice of it is wanted.
func (m *Mail) Send(ctx context.Context, from string, due []Open) error {
	if why := m.Obstacle(m.Upstream); why != "" {
		return fmt.Errorf("no mail can go: %s", why)
	}
	now := time.Now()
	draft, err := m.Create(ctx)
	if err != nil {
		return fmt.Errorf("no mail can be queued: %w", err)
	}
	sender := m.From
	if sender == "" {
		sender = m.To[0]
	}
	id := fmt.Sprintf("<%s.alert@%s>", rand.Text(), from)
	if _, err := draft.Write(m.compose(from, sender, id, due, now)); err != nil {
		draft.Discard()
		return fmt.Errorf("no mail can be queued: %w", err)
	}
	env := &spool.Envelope{From: sender, Accepted: now, Auto: true, Priority: priority, Listener: config.InternalListener, Helo: from, MessageID: id}
	for _, to := range m.To {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: to, Upstreams: m.Upstream, Notify: spool.NotifyNever})
	}
	if err := draft.Commit(ctx, env); err != nil {
		return fmt.Errorf("no mail can be queued: %w", err)
	}
	return nil
}

// compose writes the message, all in ASCII.
func (m *Mail) compose(from, sender, id string, due []Open, now time.Time) []byte {
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", "Postern <" + sender + ">"}, {"To", strings.Join(m.To, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", Title(from, due))}, {"Date", now.Format(time.RFC1123Z)}, {"Message-ID", id},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		// RFC 2047 §2: encoded words are folded where more than one follow.
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], strings.ReplaceAll(field[1], "?= =?", "?=\r\n =?"))
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(Text(from, due, now), "\n", "\r\n")))
	_ = w.Close()
	return b.Bytes()
}
