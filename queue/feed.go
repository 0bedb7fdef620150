package queue

import (
	"context"

	"postern/spool"
)

// Feed is what one session of one lane is given to do. Its methods may be
// called by the session that it was made for, one at a time.
type Feed struct{}

// Next waits for the next delivery. It returns io.EOF when the session is to
// end, and the error of ctx when that is done first.
func (f *Feed) Next(ctx context.Context) (*spool.Delivery, error) { panic("contract") }

// TryNext returns a delivery that is due now, or nil.
func (f *Feed) TryNext() *spool.Delivery { panic("contract") }

// Content opens the content of d.
func (f *Feed) Content(d *spool.Delivery) (spool.Content, error) { panic("contract") }

// DotSent is called before the final dot of d goes out. After an error the
// dot must not be sent.
func (f *Feed) DotSent(d *spool.Delivery) error { panic("contract") }

// Settle ends d with one outcome for each of d.Pending, in that order.
func (f *Feed) Settle(d *spool.Delivery, outcomes []spool.Outcome) { panic("contract") }

// Release gives d back untried: nothing of it was sent.
func (f *Feed) Release(d *spool.Delivery) { panic("contract") }
