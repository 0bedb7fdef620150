package journal

import (
	"context"
	"fmt"
	"slices"

	"postern/spool"
)

// Adopt implements spool.Store. The record is that of a message, with how it
// stood in a field of its own, so that its key is on record with it.
func (s *Store) Adopt(ctx context.Context, d spool.Draft, m *spool.Detail) error {
	own, ok := d.(*draft)
	if !ok || own.store != s || m.Envelope == nil || len(m.Recipients) != len(m.Envelope.Recipients) {
		d.Discard()
		return fmt.Errorf("%w: a draft of another store, or half a message", spool.ErrInvalid)
	}
	stood := stoodAs(m)
	if !slices.ContainsFunc(m.Recipients, func(r spool.RecipientState) bool { return r.Status == spool.Pending }) {
		d.Discard()
		return fmt.Errorf("%w: nothing of the message is owed", spool.ErrInvalid)
	}
	return own.end(ctx, m.Envelope, nil, besides{stood: stood})
}

// stoodAs is how a message of another store stands in the terms of this one.
func stoodAs(m *spool.Detail) *snapshot {
	shares, of := split(m.Envelope.Recipients)
	snap := &snapshot{shares: make([]state, len(shares))}
	begun := make([]bool, len(shares))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		failover := uint8(max(slices.Index(shares[of[i]].upstreams, r.Upstream), 0))
		if r.Status != spool.Pending || r.Last != nil {
			snap.results = append(snap.results, resultAs(i, failover, r))
		}
		if r.Status != spool.Pending {
			continue
		}
		st, due := &snap.shares[of[i]], toNano(r.Due)
		if !begun[of[i]] || due < st.due {
			st.due, st.failover = due, failover
		}
		begun[of[i]] = true
		st.attempts = max(st.attempts, uint16(min(max(r.Attempts, 0), 65535)))
		st.held, st.kept = st.held || r.Held, st.kept || r.Kept
		st.inDoubt, st.warned = st.inDoubt || r.InDoubt, st.warned || r.Warned
	}
	return snap
}

// resultAs is what is known of recipient i.
func resultAs(i int, failover uint8, r *spool.RecipientState) result {
	f := result{recipient: i, status: r.Status}
	if r.Last != nil {
		f.tried, f.attempt, f.failover = true, uint16(min(max(r.Attempts, 0), 65535)), failover
		f.at, f.outcome = toNano(r.LastAt), *r.Last
	}
	return f
}
