package control

import (
	"fmt"
	"strings"
	"time"

	"postern/queue/verdict"
	"postern/spool"
)

// Message is all there is to know about one message.
type Message struct {
	ID         string      `json:"id"`
	Size       int64       `json:"size"`
	Accepted   time.Time   `json:"accepted"`
	NotBefore  *time.Time  `json:"not_before,omitempty"` // when its delivery begins, where that is not at its acceptance
	From       string      `json:"from"`
	MessageID  string      `json:"message_id,omitempty"`
	Listener   string      `json:"listener"`
	Peer       string      `json:"peer"`
	User       string      `json:"user,omitempty"`
	UnixUser   string      `json:"unix_user,omitempty"`
	Helo       string      `json:"helo,omitempty"`
	Body       string      `json:"body,omitempty"`
	SMTPUTF8   bool        `json:"smtputf8,omitempty"`
	RequireTLS bool        `json:"require_tls,omitempty"`
	EnvelopeID string      `json:"envelope_id,omitempty"`
	Priority   int         `json:"priority,omitempty"`
	Deadline   *time.Time  `json:"deadline,omitempty"` // of DELIVERBY
	Storm      string      `json:"storm,omitempty"`    // that it was put on hold for
	Recipients []Recipient `json:"recipients"`
}

// Recipient is what has become of one recipient.
type Recipient struct {
	Address    string          `json:"address"`
	Copy       bool            `json:"copy,omitempty"`       // for the administrator; its sender does not know
	Redirected bool            `json:"redirected,omitempty"` // it gets the message in place of others
	Status     string          `json:"status"`               // pending, held, delivered, bounced, removed
	Upstream   string          `json:"upstream"`
	Upstreams  []string        `json:"upstreams"`
	Attempts   int             `json:"attempts"`
	Next       *time.Time      `json:"next,omitempty"`
	KeptUntil  *time.Time      `json:"kept_until,omitempty"` // held because it failed, and no sender is told
	InDoubt    bool            `json:"in_doubt,omitempty"`
	Last       *Answer         `json:"last,omitempty"`
	Advice     *verdict.Advice `json:"advice,omitempty"` // about the last answer
	Why        string          `json:"why"`              // a sentence: why it is where it is
}

// NewMessage describes a message at now. why is asked for the reason that keeps
// an upstream's mail waiting, a sentence without a full stop; where why is nil,
// no daemon runs.
func NewMessage(d *spool.Detail, now time.Time, why func(upstream string) string) *Message {
	env := d.Envelope
	m := &Message{
		ID: d.ID.String(), Size: d.Size, Accepted: env.Accepted,
		From: env.From, MessageID: env.MessageID,
		Listener: env.Listener, Peer: env.Peer, User: env.User, UnixUser: env.UnixUser, Helo: env.Helo,
		Body: string(env.Body), SMTPUTF8: env.SMTPUTF8, RequireTLS: env.RequireTLS,
		EnvelopeID: env.EnvelopeID, Priority: env.Priority,
		Recipients: make([]Recipient, len(d.Recipients)),
	}
	if env.Storm != 0 {
		m.Storm = env.Storm.String()
	}
	if env.DeliverBy != nil {
		m.Deadline = moment(env.DeliverBy.Deadline)
	}
	if env.NotBefore.After(env.Accepted) {
		m.NotBefore = moment(env.NotBefore)
	}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		m.Recipients[i] = Recipient{
			Address:    env.Recipients[i].Address,
			Copy:       env.Recipients[i].Copy,
			Redirected: env.Recipients[i].Redirected,
			Status:     statusName(r),
			Upstream:   r.Upstream,
			Upstreams:  env.Recipients[i].Upstreams,
			Attempts:   r.Attempts,
			InDoubt:    r.InDoubt,
			Last:       newAnswer(r),
			Why:        reason(r, env, env.Recipients[i].Copy, now, why),
		}
		if r.Last != nil {
			m.Recipients[i].Advice = Advise(d.Envelope.From, r.Last)
		}
		if r.Status == spool.Pending && !r.Held {
			m.Recipients[i].Next = moment(r.Due)
		}
		if r.Kept {
			m.Recipients[i].KeptUntil = moment(r.Due)
		}
	}
	return m
}

func statusName(r *spool.RecipientState) string {
	switch r.Status {
	case spool.Pending:
		if r.Held {
			return "held"
		}
		return "pending"
	case spool.Delivered:
		return "delivered"
	case spool.Bounced:
		return "bounced"
	case spool.Removed:
		return "removed"
	}
	return "unknown"
}

// reason says in a sentence why a recipient is where it is.
func reason(r *spool.RecipientState, env *spool.Envelope, copied bool, now time.Time, why func(string) string) string {
	switch {
	case r.Status == spool.Delivered:
		return fmt.Sprintf("The upstream %q took it.", r.Upstream)
	case r.Status == spool.Bounced:
		if copied {
			return "The copy failed" + because(r.Last) + "."
		}
		return "It failed and was returned to its sender" + because(r.Last) + "."
	case r.Status == spool.Removed:
		return "An operator removed it."
	case r.Kept:
		return "It failed" + because(r.Last) + ", and no sender is told: it is kept for a while. `postern queue retry` tries it again, `postern queue remove` ends it."
	case r.Held && env.Storm != 0 && r.Attempts == 0:
		return "It is on hold as one of too many that are alike: `postern queue release` lets it go, also all of them (--storm " + env.Storm.String() + "), `postern queue remove` ends them."
	case r.Held:
		return "It is on hold until somebody runs `postern queue release`" + because(r.Last) + "."
	case env.NotBefore.After(now):
		return "Its sender wants it to go out at " + env.NotBefore.Local().Format(time.DateTime) + ", and not before."
	case why == nil:
		return "No daemon runs: it waits for `postern serve`" + because(r.Last) + "."
	}
	if w := why(r.Upstream); w != "" {
		return sentence(w) + "."
	}
	doubt := ""
	if r.InDoubt {
		doubt = " An earlier attempt ended between the final dot and its answer: this one may make a duplicate."
		if r.Attempts > 1 && r.Last != nil && r.Last.Stage == spool.StageDot && r.Last.Code == 0 {
			doubt += " Where that comes again and again, give the upstream a longer data_timeout, or set retry.after_dot = \"hold\"."
		}
	}
	switch {
	case r.Due.After(now) && r.Attempts == 0:
		return "It waits for its time." + doubt
	case r.Due.After(now):
		return "The last attempt did not succeed" + because(r.Last) + "; it is tried again." + doubt
	case r.Attempts == 0:
		return "It is due and waits for a free connection to its upstream." + doubt
	}
	return "It is due again, or an attempt is under way" + because(r.Last) + "." + doubt
}

// because gives the answer that led here, as a part of a sentence.
func because(o *spool.Outcome) string {
	if o == nil {
		return ""
	}
	text := strings.TrimSpace(strings.Join(notEmpty(code(o.Code), o.Enhanced, o.Text), " "))
	if o.Cause != "" {
		text = strings.Join(notEmpty(text, o.Cause), ": ")
	}
	text = strings.TrimSuffix(text, ".")
	if text == "" {
		return ""
	}
	if o.Remote != "" && o.Code != 0 {
		return fmt.Sprintf(" (%s answered: %s)", o.Remote, text)
	}
	return " (" + text + ")"
}

func code(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func notEmpty(parts ...string) []string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

func sentence(s string) string {
	return strings.ToUpper(s[:1]) + s[1:]
}
