package storm

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"postern/config"
	"postern/spool"
)

// Digest is a message that tells how many messages of a storm are on hold.
type Digest struct {
	Storm
	Host string            // name of this relay
	To   []spool.Recipient // who gets it
	Now  time.Time
}

// Envelope is that of the digest. It comes from <> and asks for no notice: nobody
// answers it, and where it cannot be delivered it is kept as a bounce is.
func (d *Digest) Envelope(messageID string) *spool.Envelope {
	env := &spool.Envelope{Accepted: d.Now, Auto: true, Listener: config.InternalListener, Helo: d.Host, MessageID: messageID}
	for _, r := range d.To {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: r.Address, Upstreams: r.Upstreams, Notify: spool.NotifyNever, Redirected: r.Redirected})
		for i := range len(r.Address) {
			env.SMTPUTF8 = env.SMTPUTF8 || r.Address[i] >= 0x80
		}
	}
	return env
}

// Recipients are those of a message, without copies for an administrator.
func Recipients(env *spool.Envelope) (to []spool.Recipient) {
	for _, r := range env.Recipients {
		if !r.Copy {
			to = append(to, r)
		}
	}
	return to
}

// Bytes writes the digest, all in ASCII, and the Message-ID that it has.
func (d *Digest) Bytes() (text []byte, messageID string) {
	messageID = fmt.Sprintf("<%s.storm@%s>", rand.Text(), d.Host)
	to := "undisclosed-recipients:;"
	if len(d.To) == 1 && isASCII(d.To[0].Address) {
		to = "<" + d.To[0].Address + ">"
	}
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", "Mail Delivery System <MAILER-DAEMON@" + d.Host + ">"}, {"To", to},
		{"Subject", mime.QEncoding.Encode("utf-8", d.title())}, {"Date", d.Now.Format(time.RFC1123Z)}, {"Message-ID", messageID},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		// RFC 2047 §2: encoded words are folded where more than one follow.
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], strings.ReplaceAll(field[1], "?= =?", "?=\r\n =?"))
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(d.text(), "\n", "\r\n")))
	_ = w.Close()
	return b.Bytes(), messageID
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

func (d *Digest) title() string {
	return fmt.Sprintf("%s like %q %s held back", messages(d.Held), d.Subject, are(d.Held))
}

func (d *Digest) text() string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	add("Too many messages that are alike have come for you. The mail relay %s has\nsent on the first ones, and holds %s back since %s.\nNone is lost.\n\n", d.Host, messages(d.Held), moment(d.Began))
	add("  from      <%s>\n  subject   %s\n  to        <%s>", d.From, d.Subject, d.Storm.To)
	if d.Recipients > 1 {
		add(" and %d more", d.Recipients-1)
	}
	add("\n  last one  %s\n\n", moment(d.Latest))
	if d.Over() {
		add("No more such messages come, and this is the only mail about them.\n")
	} else {
		add("More of them come. You will be told again in a day, and when they end.\n")
	}
	add("The program that sends them repeats itself, and should be looked at.\n\n")
	add("For the administrator of the relay:\n\n")
	for _, line := range Commands(d.ID) {
		add("  %s\n", line)
	}
	return b.String()
}

// Commands are what an administrator types to look at what is held of a storm,
// to let it go and to remove it.
func Commands(storm spool.ID) []string {
	name := storm.String()
	return []string{"postern queue list --storm " + name, "postern queue release --storm " + name, "postern queue remove --storm " + name}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
