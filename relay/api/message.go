package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/spool"
)

// Messages tells of messages that were accepted, and takes them back. The
// queue is behind it.
type Messages interface {
	// Detail is all that is known of a message. spool.ErrNotFound: it has
	// ended, or there was none.
	Detail(ctx context.Context, id spool.ID) (*spool.Detail, error)
	// Cancel removes a message of which nothing was sent. ErrSent: something
	// was, or is on its way at this moment; spool.ErrNotFound.
	Cancel(ctx context.Context, id spool.ID, by string) error
}

// ErrSent: a message can't be taken back any more.
var ErrSent = errors.New("something of the message was sent")

// emailStatus is the answer to GET /emails/ID.
type emailStatus struct {
	Object    string    `json:"object"`
	ID        string    `json:"id"`
	From      string    `json:"from"`
	To        []string  `json:"to"`
	CreatedAt time.Time `json:"created_at"`
	// ScheduledAt is when it is to be sent; nil: at once.
	ScheduledAt *time.Time        `json:"scheduled_at,omitempty"`
	LastEvent   string            `json:"last_event"`
	Recipients  []recipientStatus `json:"recipients"`
}

type recipientStatus struct {
	To        string `json:"to"`
	LastEvent string `json:"last_event"`
	Upstream  string `json:"upstream"`
	Attempts  int    `json:"attempts"`
	LastReply string `json:"last_reply,omitempty"`
}

// What has become of a message, in the words of Resend.
const (
	eventQueued    = "queued"
	eventScheduled = "scheduled"
	eventDelayed   = "delivery_delayed"
	eventSent      = "sent" // to some, while others wait
	eventDelivered = "delivered"
	eventBounced   = "bounced"
	eventCanceled  = "canceled"
)

// emailStatus is GET /emails/{id}.
func (r *request) emailStatus(w http.ResponseWriter) *failure {
	d, f := r.own()
	if f != nil {
		return f
	}
	write(w, http.StatusOK, statusOf(d))
	return nil
}

// cancel is POST /emails/{id}/cancel.
func (r *request) cancel(w http.ResponseWriter) *failure {
	d, f := r.own()
	if f != nil {
		return f
	}
	by := r.client.User
	if by == "" {
		by = r.client.UnixUser
	}
	switch err := r.server.messages.Cancel(r.Context(), d.ID, by); {
	case err == nil:
		write(w, http.StatusOK, map[string]string{"object": "email", "id": d.ID.String()})
		return nil
	case errors.Is(err, spool.ErrNotFound):
		return unknownMessage
	case errors.Is(err, ErrSent):
		return &failure{status: http.StatusConflict, name: nameNotCancellable, text: "something of the message was sent, or is on its way at this moment"}
	default:
		return unavailable
	}
}

var (
	unknownMessage = &failure{status: http.StatusNotFound, name: nameNotFound,
		text: "no message of yours with this ID waits, or has ended since the relay was started; the log of the relay tells"}
	unavailable = &failure{status: http.StatusServiceUnavailable, name: nameUnavailable, text: "the spool cannot be asked now, try again later", retry: retrySoon}
)

// own is a message that whoever asks has sent. Others are as unknown as those
// that never were.
func (r *request) own() (*spool.Detail, *failure) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, unknownMessage
	}
	d, err := r.server.messages.Detail(r.Context(), id)
	switch {
	case errors.Is(err, spool.ErrNotFound):
		return nil, unknownMessage
	case err != nil:
		return nil, unavailable
	case !r.sent(d.Envelope):
		return nil, unknownMessage
	}
	return d, nil
}

// sent tells whether the message came from whoever makes the request.
func (r *request) sent(e *spool.Envelope) bool {
	if e.Listener != config.HTTPListener && e.Listener != config.SubmitListener || e.User != r.client.User {
		return false
	}
	return e.User != "" || e.UnixUser != "" && e.UnixUser == r.client.UnixUser
}

func statusOf(d *spool.Detail) *emailStatus {
	e := &emailStatus{Object: "email", ID: d.ID.String(), From: d.Envelope.From, CreatedAt: d.Envelope.Accepted}
	if d.Envelope.NotBefore.After(d.Envelope.Accepted) {
		e.ScheduledAt = &d.Envelope.NotBefore
	}
	count := map[string]int{}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		if d.Envelope.Recipients[i].Copy {
			continue // not for the sender to know
		}
		to := d.Envelope.Recipients[i].Address
		e.To = append(e.To, to)
		one := recipientStatus{To: to, LastEvent: eventOf(r, d.Envelope), Upstream: r.Upstream, Attempts: r.Attempts, LastReply: replyOf(r.Last)}
		e.Recipients = append(e.Recipients, one)
		count[one.LastEvent]++
	}
	waiting := count[eventQueued] + count[eventDelayed] + count[eventScheduled]
	switch {
	case count[eventBounced] > 0:
		e.LastEvent = eventBounced
	case count[eventDelivered] > 0 && waiting > 0:
		e.LastEvent = eventSent
	case count[eventDelivered] > 0:
		e.LastEvent = eventDelivered
	case count[eventDelayed] > 0:
		e.LastEvent = eventDelayed
	case count[eventQueued] > 0:
		e.LastEvent = eventQueued
	case waiting > 0:
		e.LastEvent = eventScheduled
	default:
		e.LastEvent = eventCanceled
	}
	return e
}

func eventOf(r *spool.RecipientState, e *spool.Envelope) string {
	switch r.Status {
	case spool.Delivered:
		return eventDelivered
	case spool.Bounced:
		return eventBounced
	case spool.Removed:
		return eventCanceled
	}
	if r.Attempts > 0 && r.Last != nil {
		return eventDelayed
	}
	if e.NotBefore.After(time.Now()) {
		return eventScheduled
	}
	return eventQueued
}

// replyOf is the answer of an upstream, or why there was none.
func replyOf(o *spool.Outcome) string {
	if o == nil {
		return ""
	}
	var parts []string
	if o.Code > 0 {
		parts = append(parts, strconv.Itoa(o.Code))
	}
	for _, s := range []string{o.Enhanced, o.Text, o.Cause} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return wire.Text(strings.Join(parts, " "), 1000)
}
