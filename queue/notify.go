package queue

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"postern/spool"
)

// Action is what a delivery status notification reports (RFC 3464 §2.3.3).
type Action string

// The actions that we report. A relay never reports "delivered": that is for
// the host of the mailbox.
const (
	Failed  Action = "failed"
	Delayed Action = "delayed"
	Relayed Action = "relayed"
)

// wants says whether a notification of this kind is due for a recipient.
func wants(kind Action, env *spool.Envelope, r *spool.Recipient, o *spool.Outcome) bool {
	if env.From == "" || r.Notify&spool.NotifyNever != 0 {
		return false // RFC 5321 §4.5.5, RFC 3461 §4.1: never about a notification
	}
	switch kind {
	case Failed:
		return r.Notify == 0 || r.Notify&spool.NotifyFailure != 0
	case Delayed:
		if by := env.DeliverBy; by != nil && !by.Return {
			return true // RFC 2852 §4.1: by-mode N asks for it
		}
		// Nobody reads what answers a machine's message, and a delay is not
		// final: only where it is asked for.
		return r.Notify == 0 && !env.Auto || r.Notify&spool.NotifyDelay != 0
	}
	if by := env.DeliverBy; by != nil && (by.Trace || !by.Return && !o.ByRelayed) {
		return true // RFC 2852 §4.1: handed on without the deadline, or traced
	}
	// RFC 3461 §5.2.3: the next hop doesn't take over the duty to report.
	return r.Notify&spool.NotifySuccess != 0 && !o.DSNRelayed
}

// statusOf is the verdict that a notification of this kind reports.
func statusOf(kind Action) spool.Status {
	switch kind {
	case Failed:
		return spool.Bounced
	case Relayed:
		return spool.Delivered
	}
	return spool.Pending
}

// notify makes a notification about those outcomes of an attempt that are of
// this kind and wanted. It returns nil once it is durable, or where none is due.
func (q *Queue) notify(d *spool.Delivery, kind Action, outs []spool.Outcome, now time.Time) error {
	var about []subject
	for i := range outs {
		r := &d.Envelope.Recipients[d.Pending[i]]
		if outs[i].Verdict == statusOf(kind) && wants(kind, d.Envelope, r, &outs[i]) {
			about = append(about, subject{recipient: r, outcome: outs[i], last: now})
		}
	}
	return q.send(d, kind, about, now)
}

// notifyTaken is notify for shares of one message on which time or an operator
// decides: why is the outcome for all of them, what was last heard is added.
func (q *Queue) notifyTaken(taken []*spool.Delivery, kind Action, detail *spool.Detail, why *spool.Outcome, now time.Time) error {
	var about []subject
	env := taken[0].Envelope
	retry := &q.cfg.Load().Retry
	for _, d := range taken {
		for _, i := range d.Pending {
			s := subject{recipient: &env.Recipients[i]}
			if i < len(detail.Recipients) {
				if state := detail.Recipients[i]; state.Last != nil {
					s.outcome, s.last = *state.Last, state.LastAt
				}
			}
			if why != nil {
				s.reason, s.status = why.Text, why.Enhanced
			}
			if kind == Delayed && retry.Lifetime > 0 {
				s.until = env.Accepted.Add(retry.Lifetime)
			}
			if wants(kind, env, s.recipient, &s.outcome) {
				about = append(about, s)
			}
		}
	}
	return q.send(taken[0], kind, about, now)
}

// send writes a notification and makes it durable.
func (q *Queue) send(d *spool.Delivery, kind Action, about []subject, now time.Time) error {
	if len(about) == 0 {
		return nil
	}
	n, err := q.write(d, kind, about, now)
	if err != nil {
		q.events.NotNotified(d.ID, kind, err)
		return err
	}
	q.events.Notified(n)
	return nil
}

func (q *Queue) write(d *spool.Delivery, kind Action, about []subject, now time.Time) (Notification, error) {
	env := d.Envelope
	draft, err := q.store.Create(q.background())
	if err != nil {
		return Notification{}, err
	}
	n := Notification{ID: draft.ID(), Original: d.ID, To: env.From, Kind: kind, Recipients: len(about)}
	if q.route != nil {
		n.Upstreams = q.route("", env.From)
	}
	if len(n.Upstreams) == 0 {
		n.Upstreams = listOf(d)
	}
	returned, full := q.excerpt(d, kind)
	host := q.cfg.Load().Hostname
	r := &report{kind: kind, host: host, now: now, env: env, about: about, returned: returned, full: full,
		messageID: fmt.Sprintf("<%s.%x.dsn@%s>", n.ID, now.Unix(), host), boundary: boundary(returned)}
	text, has8Bit := r.bytes()
	if _, err := draft.Write(text); err != nil {
		draft.Discard()
		return n, err
	}
	notice := &spool.Envelope{Accepted: now, Auto: true, Listener: "internal", Helo: host, MessageID: r.messageID,
		// RFC 3461 §6.2 asks for NOTIFY=NEVER beside the null reverse-path.
		Recipients: []spool.Recipient{{Address: env.From, Upstreams: n.Upstreams, Notify: spool.NotifyNever}}}
	if has8Bit { // only where the address itself is not ASCII
		notice.SMTPUTF8, notice.Has8Bit, notice.Body = true, true, spool.Body8BitMIME
	}
	return n, draft.Commit(notice)
}

// boundary is one that the returned content does not hold.
func boundary(returned []byte) string {
	for {
		var b [15]byte
		rand.Read(b[:])
		if s := "=_" + hex.EncodeToString(b[:]); !contains(returned, s) {
			return s
		}
	}
}

const (
	// maxHeader bounds the header that a notification returns.
	maxHeader = 32 << 10
	// maxReturned bounds the content that a notification returns where RET=FULL
	// asks for it; of a longer one the header has to do (RFC 3461 §6.2).
	maxReturned = 64 << 10
)

// excerpt reads what a notification returns of its message: the content where
// a failure asks for it by RET=FULL and it is small and clean enough to be
// enclosed as it is, else the header. What can't be read is left out.
func (q *Queue) excerpt(d *spool.Delivery, kind Action) (text []byte, full bool) {
	c, err := q.store.Content(d.ID)
	if err != nil {
		q.events.StoreFailed("content", d.ID, err)
		return nil, false
	}
	defer c.Close()
	want := int64(maxHeader)
	// RFC 3461 §4.3: RET applies to failures alone. RFC 8689 §5: what was to
	// travel by TLS only is not sent back by whatever way a notification takes.
	ask := kind == Failed && d.Envelope.Return == "FULL" && !d.Envelope.RequireTLS && c.Size() <= maxReturned
	if ask {
		want = maxReturned
	}
	text = make([]byte, min(want, c.Size()))
	n, err := c.ReadAt(text, 0)
	if err != nil && err != io.EOF {
		q.events.StoreFailed("content", d.ID, err)
	}
	text = text[:n]
	if ask && int64(n) == c.Size() && isPlain(text) {
		return text, true
	}
	return header(text), false
}
