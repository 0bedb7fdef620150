package notice

import (
	"fmt"
	"strings"

	"postern/config/wire"
	"postern/queue/verdict"
	"postern/spool"
)

// explain is the part of a notification that people read.
func (n *Notice) explain() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("This is the mail relay at %s.", n.Host)
	line("")
	whose := "Your"
	if n.Postmaster == "" {
		n.introduce(line)
	} else {
		whose = "The"
		line("A message without a sender, most often a bounce, could not be delivered to")
		line("the recipients below. There is nobody to be told but you, the postmaster.")
		line("It is kept until %s.", date(n.KeptUntil))
		line("`postern queue show %s` says more of it, `queue cat` prints it,", n.KeptID)
		line("`queue retry` tries it again, `queue remove` ends it.")
	}
	for i := range n.About {
		line("")
		n.explainOne(line, &n.About[i])
	}
	line("")
	line("%s message was accepted here on %s.", whose, date(n.Envelope.Accepted))
	if n.Envelope.MessageID != "" {
		line("Its Message-ID is %s", Plain(n.Envelope.MessageID, 300))
	}
	return b.String()
}

// introduce tells a sender what has become of the message.
func (n *Notice) introduce(line func(string, ...any)) {
	switch n.Action {
	case Failed:
		line("Your message could not be delivered to the recipients below.")
		line("It will not be tried again.")
	case Delayed:
		line("Your message has not been delivered yet to the recipients below.")
		line("You need not send it again: it is kept, and it is being retried.")
	case Relayed:
		line("Your message was handed on to the next mail server for the recipients")
		if n.unconfirmed() {
			line("below. That server accepted it, and does not report when it arrives.")
		} else {
			line("below. That server accepted it, and sends the reports that you asked for.")
		}
	}
}

func (n *Notice) explainOne(line func(string, ...any), s *Recipient) {
	line("  <%s>", Plain(s.Address, 400))
	if s.Reason != "" {
		line("    Why: %s.", s.Reason)
	}
	o := &s.Outcome
	host := Plain(o.Remote, 255)
	if host == "" {
		host = "the upstream"
	}
	switch {
	case n.Action == Relayed:
		line("    Accepted by %s", host)
	case o.Unsupported:
		line("    This relay could not hand it to %s:", host)
		wrap(line, "      ", Plain(o.Text, 1000))
	case o.Code != 0:
		line("    %s answered %s:", host, stageNames[o.Stage])
		wrap(line, "      ", Plain(replyText(o), 1000))
	case o.Cause != "" || o.Text != "":
		line("    The last attempt, with %s, ended %s:", host, stageNames[o.Stage])
		wrap(line, "      ", Plain(causeText(o), 1000))
	case s.Reason == "":
		line("    It has not been possible to try it yet.")
	}
	if o.Stage == spool.StageDot && o.Code == 0 && o.Cause != "" && n.Action == Failed {
		line("    It may have arrived nevertheless: the connection was lost after it was sent.")
	}
	if n.Action == Delayed && !s.Until.IsZero() {
		line("    It will be tried until %s.", date(s.Until))
	}
	if n.Action == Failed && n.Postmaster == "" {
		line("    What you can do: %s", advice(s))
	}
}

var stageNames = map[spool.Stage]string{
	spool.StageLocal: "before it began", spool.StageResolve: "at the look-up of its address",
	spool.StageConnect: "at the connection", spool.StageTLS: "at the start of TLS", spool.StageGreet: "at the greeting",
	spool.StageSignIn: "at the sign-in", spool.StageMail: "at MAIL (the sender)", spool.StageRcpt: "at RCPT (this recipient)",
	spool.StageData: "at DATA", spool.StageBody: "during the content", spool.StageDot: "after the content",
}

// advice is one sentence on what the sender can do about a failure.
func advice(s *Recipient) string {
	e := verdict.EnhancedOf(&s.Outcome)
	switch {
	case s.Status == "4.4.7":
		return "send it again later, or ask the administrator of this relay."
	case s.Status == "5.4.7", s.Outcome.Unsupported && e.Is(5, 4, 7):
		return "send it again with more time, if it is still of use."
	case s.Reason != "":
		return "ask the administrator of this relay."
	case s.Outcome.Unsupported:
		return "send it in a simpler form, or ask the administrator of this relay."
	case e.Is(5, 2, 2):
		return "tell the recipient by another way that the mailbox is full."
	case e.Is(5, 3, 4), e.Is(5, 2, 3), s.Outcome.Code == 552:
		return "send a smaller message."
	case e.Subject == 1, s.Outcome.Stage == spool.StageRcpt && e.Subject != 7:
		return "check the address for typing errors."
	case e.Subject == 7:
		return "ask the recipient, or their administrator, to let it in."
	}
	return "read the answer above; the recipient's administrator can explain it."
}

// wrap writes words of text on lines of at most 76 characters.
func wrap(line func(string, ...any), indent, text string) {
	out := ""
	for _, word := range strings.Fields(text) {
		if out != "" && len(indent)+len(out)+1+len(word) > 76 {
			line("%s%s", indent, out)
			out = ""
		}
		if out != "" {
			out += " "
		}
		out += word
	}
	if out != "" {
		line("%s%s", indent, out)
	}
}

// Plain makes foreign text fit to be shown on one line of at most limit bytes,
// and says by an ellipsis behind them where it was cut.
func Plain(s string, limit int) string { return wire.Abridged(s, limit, "...") }

// typed writes an address for a field of RFC 3464; one with characters beyond
// ASCII as the utf-8-addr-xtext of RFC 6533 §3.
func typed(s string) string {
	if !wire.IsASCII(s) {
		s = wire.EncodeUTF8Xtext(wire.Text(s, 1000))
	}
	return wire.FieldText(s)
}
