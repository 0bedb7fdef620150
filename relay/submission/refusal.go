package submission

import (
	"errors"
	"fmt"

	"postern/spool"
)

// Refusal is why a message, or one recipient of it, is not taken. It is the
// only error that this package returns. It is never changed once it was
// returned, and may be shared.
type Refusal struct {
	// Code is that of RFC 5321 §4.2.1: 4xx is temporary, 5xx is permanent.
	Code     int
	Enhanced [3]int // status code of RFC 3463, such as 5.7.1
	Sentence string // for the client, who may read it
	// Recipient is the address that was refused; empty: the message as a whole.
	Recipient string
	// Cause is what the client is never told; nil: the sentence says it all.
	Cause error
}

// Temporary reports whether the same may be taken later.
func (r *Refusal) Temporary() bool { return r.Code/100 == 4 }

// Status is the enhanced status code as text, "5.7.1".
func (r *Refusal) Status() string {
	return fmt.Sprintf("%d.%d.%d", r.Enhanced[0], r.Enhanced[1], r.Enhanced[2])
}

// Error is what may be shown to the client.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s %s", r.Code, r.Status(), r.Sentence) }

func (r *Refusal) Unwrap() error { return r.Cause }

// of is r for one recipient.
func (r *Refusal) of(recipient string) *Refusal {
	one := *r
	one.Recipient = recipient
	return &one
}

// AsRefusal is err as a refusal. What is none is temporary, and its text is
// the cause.
func AsRefusal(err error) *Refusal {
	if r, ok := err.(*Refusal); ok {
		return r // nearly always, and errors.As would allocate
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return trouble(err)
}

// refuse makes a refusal. The enhanced status code begins as the code does.
func refuse(code, subject, detail int, sentence string) *Refusal {
	return &Refusal{Code: code, Enhanced: [3]int{code / 100, subject, detail}, Sentence: sentence}
}

// forbid refuses by the rules of the administrator.
func forbid(sentence string) *Refusal { return refuse(550, 7, 1, sentence) }

// trouble is the refusal for an error of our own or of the store.
func trouble(cause error) *Refusal {
	r := refuse(451, 3, 0, "cannot take mail now, try again later")
	switch {
	case errors.Is(cause, spool.ErrFull):
		r = refuse(452, 3, 1, "insufficient storage, try again later")
	case errors.Is(cause, spool.ErrManyKeys):
		r = refuse(452, 3, 1, "too many idempotency keys are remembered, try again later")
	}
	r.Cause = cause
	return r
}
