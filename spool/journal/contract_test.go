package journal_test

import (
	"context"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// What the queue asks of a spool, repeated here because a package never
// imports upward, not even in its tests.
var _ interface {
	Create(ctx context.Context) (spool.Draft, error)
	Claim(upstream string, now time.Time, max int, next func(attempt int) time.Time) ([]*spool.Delivery, error)
	Take(id spool.ID, share int) (*spool.Delivery, error)
	DotSent(d *spool.Delivery) error
	Settle(d *spool.Delivery, s spool.Settlement) error
	NextDue(upstream string) (time.Time, bool)
	OnWork(wake func(upstream string, due time.Time))
	Upstreams() map[string]int
	Content(id spool.ID) (spool.Content, error)
	Detail(id spool.ID) (*spool.Detail, error)
	Walk(visit func(spool.Summary) bool)
} = (*journal.Store)(nil)
