package queue

import (
	"fmt"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/queue/notice"
	"postern/spool"
)

// statusOf is the verdict that a notification of this kind reports.
func statusOf(kind notice.Action) spool.Status {
	switch kind {
	case notice.Failed:
		return spool.Bounced
	case notice.Relayed:
		return spool.Delivered
	}
	return spool.Pending
}

// written is a notification that is not durable yet; nil: none is due.
type written struct {
	Notified
	draft spool.Draft
	env   *spool.Envelope
}

// write writes a notification about those outcomes of an attempt that are of
// this kind and wanted.
func (q *Queue) write(d *spool.Delivery, kind notice.Action, outs []spool.Outcome, now time.Time) (*written, error) {
	var about []notice.Recipient
	for i := range outs {
		r := &d.Envelope.Recipients[d.Pending[i]]
		if outs[i].Verdict == statusOf(kind) && notice.Wanted(kind, d.Envelope, r, &outs[i]) {
			about = append(about, notice.Recipient{Recipient: r, Outcome: outs[i], Last: now})
		}
	}
	return q.compose(d, kind, about, now)
}

// writeTaken is write for shares of one message on which time or an operator
// decides: why is the outcome for all of them, what was last heard is added.
func (q *Queue) writeTaken(taken []*spool.Delivery, kind notice.Action, detail *spool.Detail, why *spool.Outcome, now time.Time) (*written, error) {
	var about []notice.Recipient
	env := taken[0].Envelope
	retry := &q.cfg.Load().Retry
	for _, d := range taken {
		for _, i := range d.Pending {
			s := notice.Recipient{Recipient: &env.Recipients[i]}
			if i < len(detail.Recipients) {
				if state := detail.Recipients[i]; state.Last != nil {
					s.Outcome, s.Last = *state.Last, state.LastAt
				}
			}
			if why != nil {
				s.Reason, s.Status = why.Text, why.Enhanced
			}
			if kind == notice.Delayed && retry.Lifetime > 0 {
				s.Until = env.Begins().Add(retry.Lifetime)
			}
			if notice.Wanted(kind, env, s.Recipient, &s.Outcome) {
				about = append(about, s)
			}
		}
	}
	return q.compose(taken[0], kind, about, now)
}

// compose writes a notification to the sender.
func (q *Queue) compose(d *spool.Delivery, kind notice.Action, about []notice.Recipient, now time.Time) (*written, error) {
	return q.address(d, d.Envelope.From, "dsn", &notice.Notice{Action: kind, Now: now, About: about})
}

// address completes dsn, about d, and writes it to somebody. mark is a part of
// its Message-ID.
func (q *Queue) address(d *spool.Delivery, somebody, mark string, dsn *notice.Notice) (*written, error) {
	if len(dsn.About) == 0 {
		return nil, nil
	}
	to := []spool.Recipient{{Address: somebody, Upstreams: listOf(d)}}
	if q.route != nil {
		if to = q.route(somebody, to[0].Upstreams); len(to) == 0 {
			return nil, nil // whoever decided so has told of it
		}
	}
	for i := range to {
		to[i].Notify = spool.NotifyNever // RFC 3461 §6.2, beside the null reverse-path
	}
	draft, err := q.store.Create(q.always)
	if err != nil {
		q.tell(&NotNotified{d.ID, dsn.Action, err})
		return nil, err
	}
	n := Notified{ID: draft.ID(), Original: d.ID, To: somebody, Kind: dsn.Action, Recipients: len(dsn.About), Upstreams: to[0].Upstreams}
	dsn.Host, dsn.Envelope = q.cfg.Load().Hostname, d.Envelope
	dsn.Returned, dsn.Full = q.excerpt(d, dsn.Action)
	dsn.MessageID = fmt.Sprintf("<%s.%x.%s@%s>", n.ID, dsn.Now.Unix(), mark, dsn.Host)
	dsn.Boundary = notice.Boundary(dsn.Returned)
	text, has8Bit := dsn.Bytes()
	if _, err := draft.Write(text); err != nil {
		draft.Discard()
		q.tell(&NotNotified{d.ID, dsn.Action, err})
		return nil, err
	}
	own := &spool.Envelope{Accepted: dsn.Now, Auto: true, Listener: config.InternalListener, Helo: dsn.Host, MessageID: dsn.MessageID,
		Recipients: to}
	for i := range to {
		own.SMTPUTF8 = own.SMTPUTF8 || !wire.IsASCII(to[i].Address)
	}
	if has8Bit { // only where the address itself is not ASCII
		own.SMTPUTF8, own.Has8Bit, own.Body = true, true, spool.Body8BitMIME
	}
	return &written{n, draft, own}, nil
}

// toPostmaster marks the Message-ID of what a postmaster is told.
const toPostmaster = "kept"

// tellPostmaster writes to the postmaster that a message from <> failed and is
// kept until then; nil: nobody is told, as no address is set, it was told
// before, or it is such a notice itself, so that there is no loop.
func (q *Queue) tellPostmaster(d *spool.Delivery, outs []spool.Outcome, now, until time.Time) *written {
	env, postmaster := d.Envelope, q.cfg.Load().Submission.Postmaster
	if postmaster == "" || env.From != "" || d.Warned ||
		env.Listener == config.InternalListener && strings.Contains(env.MessageID, "."+toPostmaster+"@") {
		return nil
	}
	dsn := &notice.Notice{Action: notice.Failed, Now: now, Postmaster: postmaster, KeptID: d.ID, KeptUntil: until}
	for i := range outs {
		if outs[i].Verdict == spool.Pending {
			dsn.About = append(dsn.About, notice.Recipient{Recipient: &env.Recipients[d.Pending[i]], Outcome: outs[i], Last: now})
		}
	}
	n, _ := q.address(d, postmaster, toPostmaster, dsn) // it is kept in any case
	return n
}

// putNotified makes notifications durable and with them settles claims of the
// message that they are about: a crash leaves all of it or nothing. Where that
// fails, each claim is settled by instead. done says that it has not failed,
// also where only the answer of the store was lost.
func (q *Queue) putNotified(notices []*written, ends []spool.Ending, instead func(i int) spool.Settlement) (over, done bool, err error) {
	list := make([]spool.Notice, len(notices))
	for i, n := range notices {
		list[i] = spool.Notice{Draft: n.draft, Envelope: n.env}
	}
	settled, err := q.store.Notify(q.always, list, ends...)
	over, done = settled.Over, err == nil
	if err != nil {
		done = true
		for i := range ends {
			settled, _ := q.settle(ends[i].Delivery, instead(i))
			over, done = over || settled.Over, done && settled.Before
		}
	}
	for _, n := range notices {
		if done {
			q.tell(&n.Notified)
		} else {
			q.tell(&NotNotified{n.Original, n.Kind, err})
		}
	}
	if !done {
		return over, false, err
	}
	for i := range ends {
		q.parts.forget(ends[i].Delivery)
	}
	return over, true, nil
}

// excerpt reads what a notice returns of its message.
func (q *Queue) excerpt(d *spool.Delivery, kind notice.Action) (text []byte, full bool) {
	c, err := q.store.Content(q.always, d.ID)
	if err != nil {
		q.tell(&StoreFailed{"content", d.ID, err})
		return nil, false
	}
	defer c.Close()
	text, full, err = notice.Excerpt(kind, d.Envelope, c, c.Size())
	if err != nil {
		q.tell(&StoreFailed{"content", d.ID, err})
	}
	return text, full
}
