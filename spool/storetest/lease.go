package storetest

import (
	"context"
	"time"

	"postern/spool"
)

// memLane says who has a lane.
type memLane struct {
	holder *Memory // nil: nobody
	epoch  uint64  // in which holder has it
	until  time.Time
}

// Lease implements spool.Store.
func (m *Memory) Lease(ctx context.Context, upstream string) (spool.Lease, error) {
	if err := ctx.Err(); err != nil {
		return spool.Lease{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lease(upstream)
}

// lease takes or renews a lane. mu is held.
func (m *Memory) lease(upstream string) (spool.Lease, error) {
	l, now := m.lanes[upstream], time.Now()
	if l == nil {
		l = &memLane{}
		m.lanes[upstream] = l
	}
	if l.holder != nil && l.holder != m && (m.term == 0 || now.Before(l.until)) {
		return spool.Lease{}, &spool.Leased{Holder: l.holder.name, Until: l.until}
	}
	if l.holder != m {
		m.release(upstream)
		m.epochs++
		l.holder, l.epoch = m, m.epochs
	}
	if m.term > 0 {
		l.until = now.Add(m.term)
	}
	return spool.Lease{Upstream: upstream, Epoch: l.epoch, Until: l.until}, nil
}

// Leave implements spool.Store.
func (m *Memory) Leave(ctx context.Context, l spool.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	left := m.holds(l)
	if left {
		m.release(l.Upstream)
		m.lanes[l.Upstream].holder = nil
	}
	m.mu.Unlock()
	for _, other := range m.relays {
		if left && other != m {
			m.mu.Lock()
			wake := other.wake
			m.mu.Unlock()
			wake(l.Upstream, time.Now())
		}
	}
	return nil
}

// holds tells whether the epoch of a lease lasts. mu is held.
func (m *Memory) holds(l spool.Lease) bool {
	lane := m.lanes[l.Upstream]
	return lane != nil && lane.holder == m && lane.epoch == l.Epoch
}

// release ends the claims of a lane. mu is held.
func (s *shared) release(upstream string) {
	for _, msg := range s.messages {
		for _, share := range msg.shares {
			if share.claimed.Claim != 0 && share.list[share.failover] == upstream {
				share.doubt = share.doubt || share.dotted
				share.claimed, share.dotted = spool.Token{}, false
			}
		}
	}
}

// Expire makes every lease end that isn't renewed from now on.
func (m *Memory) Expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lanes {
		l.until = time.Now()
	}
}

// Crash forgets the leases and claims of this relay and whom to wake, as the
// end of its process and the start of the next one do. Everything that was
// committed and settled stays.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = func(string, time.Time) {}
	for name, l := range m.lanes {
		if l.holder == m {
			m.release(name)
			l.holder = nil
		}
	}
}
