package intake

import (
	"postern/relay/origin"
	"postern/spool"
)

const (
	// freeMemory is how many bytes each transaction may hold in any case, so
	// that ordinary mail is not counted at all.
	freeMemory = 16 << 10
	// memoryStep is how many bytes more are asked for at a time.
	memoryStep = 32 << 10
	// draftMemory is how many bytes of one message the spool keeps in memory;
	// more goes to a file (journal.Options.BigBody).
	draftMemory = 256 << 10
	// perRecipient is what a recipient takes up beside its addresses.
	perRecipient = 320
)

var replyMemory = say(452, 4, 3, 1, "too much mail is on its way here, try again later")

// holding is the memory of one transaction: an account with the budget that
// all transactions share.
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

// hold counts n bytes more for the transaction, and tells whether they may be had.
func (s *session) hold(n int) bool {
	return s.holding.hold(s.peer.settings.shared.memory, s.peer.origin, int64(n))
}

// weight is about how many bytes a recipient takes up.
func weight(r *spool.Recipient) int { return perRecipient + 2*len(r.Address) + len(r.ORcpt) }
