package submission

import (
	"math"
	"strconv"
	"time"

	"postern/relay/origin"
	"postern/spool"
)

// What a rate counts.
const (
	messages   = false
	recipients = true
)

// overRate counts one message, or one recipient, and refuses where the client
// has sent as many as it may. Who has signed in is counted as that user,
// wherever from.
func (a *Agent) overRate(c *Client, what bool) *Refusal {
	if len(c.Settings.Rates) == 0 {
		return nil
	}
	from := c.Origin()
	for _, r := range c.Settings.Rates {
		if r.Recipients != what {
			continue
		}
		if _, ok := a.rates.Take(from, c.Listener+" "+r.String(), 1, r.Count, r.Per, time.Now()); !ok {
			return refuse(450, 7, 1, "more mail than this server takes from you ("+r.String()+"), try again later")
		}
	}
	return nil
}

const (
	// freeMemory is how many bytes each message may hold in any case, so that
	// ordinary mail is not counted at all.
	freeMemory = 16 << 10
	// memoryStep is how many bytes more are asked for at a time.
	memoryStep = 32 << 10
	// draftMemory is how many bytes of one message the spool keeps in memory;
	// more goes to a file (journal.Options.BigBody).
	draftMemory = 256 << 10
	// perRecipient is what a recipient takes up beside its addresses.
	perRecipient = 320
)

var noMemory = refuse(452, 3, 1, "too much mail is on its way here, try again later")

// holding is the memory of one message: an account with the budget that all
// messages share.
type holding struct {
	used    int64 // bytes
	granted int64 // of them and beyond, by the budget
}

// hold counts n bytes more, and tells whether they may be had.
func (h *holding) hold(b *origin.Budget, from func() origin.Key, n int64) bool {
	if h.used += n; h.used <= freeMemory+h.granted {
		return true
	}
	more := h.used - freeMemory - h.granted
	more += memoryStep - more%memoryStep
	if !b.Take(from(), more) {
		h.used -= n
		return false
	}
	h.granted += more
	return true
}

// end gives everything back.
func (h *holding) end(b *origin.Budget, from func() origin.Key) {
	if h.granted > 0 {
		b.Give(from(), h.granted)
	}
	*h = holding{}
}

// hold counts n bytes more for the message, and tells whether they may be had.
func (m *Message) hold(n int) bool {
	return m.holding.hold(m.agent.memory, m.client.connection, int64(n))
}

// weight is about how many bytes a recipient takes up.
func weight(r *spool.Recipient) int { return perRecipient + 2*len(r.Address) + len(r.ORcpt) }

// TooLarge refuses a message of size bytes, 0 where that is not known, that is
// larger than max (RFC 1870 §6.1). It tells both in one unit.
func TooLarge(size, max int64) *Refusal {
	name, unit := unitOf(max)
	limit := "is larger than the limit of " + strconv.FormatInt(max/unit, 10) + " " + name
	if size <= max {
		return refuse(552, 3, 4, "message "+limit)
	}
	return refuse(552, 3, 4, "your message of "+above(size, unit)+" "+name+" "+limit)
}

// units are those of configurations, in the order in which they are preferred.
var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
}

// unitOf is the largest unit of which max is a multiple.
func unitOf(max int64) (name string, size int64) {
	for _, u := range units {
		if max > 0 && max%u.size == 0 {
			return u.name, u.size
		}
	}
	return "bytes", 1
}

// above writes size in a unit, rounded up, so that it is never the limit: with
// two decimals below 10, with one below 100.
func above(size, unit int64) string {
	if unit == 1 {
		return strconv.FormatInt(size, 10)
	}
	n := float64(size) / float64(unit)
	digits := 0.0
	for limit := 100.0; digits < 2 && n < limit; limit /= 10 {
		digits++
	}
	scale := math.Pow(10, digits)
	return strconv.FormatFloat(math.Ceil(n*scale)/scale, 'f', -1, 64)
}
