package daemon

import (
	"context"
	"time"

	"postern/spool"
	"postern/spool/postgres"
)

// othersEvery is how often is looked for relays that share the queue and are gone.
const othersEvery = 10 * time.Second

// others is what is known of the storms of other relays. Each relay tells of its
// own; of those of one that is gone, the first of the living ones by name does.
type others struct {
	looked time.Time
	silent map[string]int               // in how many looks in a row a relay was gone
	theirs map[string]map[spool.ID]bool // storms that were taken over, by relay
}

// goneAfter is for how many looks a relay has to be gone: one that is restarted is
// not.
const goneAfter = 2

// recoverOwnStorms finds what this relay has put on hold since then and has no
// record of.
func (d *daemon) recoverOwnStorms(since time.Time) {
	if d.database == nil {
		d.recoverStorms(since, func(spool.ID) bool { return true }, d.storms.Recover)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	relays, _ := d.database.Relays(ctx) // the alert lacks what cannot be read
	for i := range relays {
		if relays[i].Self {
			d.recoverStorms(since, relays[i].Took, d.storms.Recover)
		}
	}
}

// lookAtOthers takes over the storms of relays that are gone, and leaves them to
// those that are back.
func (d *daemon) lookAtOthers(ctx context.Context) {
	o := &d.storms.others
	if o.silent == nil {
		o.silent, o.theirs = map[string]int{}, map[string]map[spool.ID]bool{}
	}
	asking, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	relays, err := d.database.Relays(asking)
	if err != nil {
		return // the next look may know
	}
	first := firstLiving(relays)
	for i := range relays {
		r := &relays[i]
		if r.Lives || r.Self {
			delete(o.silent, r.Name)
		} else {
			o.silent[r.Name]++
		}
		switch _, taken := o.theirs[r.Name]; {
		case taken && (r.Lives || !first):
			for id := range o.theirs[r.Name] {
				d.storms.Forget(id)
			}
			delete(o.theirs, r.Name)
		case !taken && first && o.silent[r.Name] >= goneAfter:
			o.theirs[r.Name] = d.recoverStorms(time.Time{}, r.Took, d.storms.Inherit)
		}
	}
}

// firstLiving tells whether this relay is the first by name of those that live.
func firstLiving(relays []postgres.Relay) bool {
	for i := range relays {
		if relays[i].Lives || relays[i].Self {
			return relays[i].Self
		}
	}
	return false
}
