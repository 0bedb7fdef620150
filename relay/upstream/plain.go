package upstream

import (
	"regexp"
	"sync"
	"time"
)

// plainLifetime is how long an upstream that stalled on pipelined commands, or
// refused them, is sent one command after the other.
const plainLifetime = time.Hour

// isPlain says whether an upstream gets one command after the other although
// it announces PIPELINING.
func (d *Dialer) isPlain(upstream string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.plain[upstream])
}

func (d *Dialer) makePlain(upstream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plain == nil {
		d.plain = make(map[string]time.Time)
	}
	d.plain[upstream] = time.Now().Add(plainLifetime)
}

// rushed tells whether a refusal is about commands that were sent ahead, and
// not about what they ask for: it says so, or it calls a command out of place
// that is in its place.
func (s *session) rushed(tx *transaction, step step, r *reply) bool {
	if !s.ext.pipelining || r.code < 400 || s.notes != nil {
		return false
	}
	if pipeliningWords().Match(r.text) {
		return true
	}
	return r.code == 503 && (step == stepRcpt && !tx.refused || step == stepData && tx.accepted > 0)
}

// pipeliningWords are those by which upstreams refuse commands that were sent
// ahead: "improper use of SMTP command pipelining", "synchronization error".
var pipeliningWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\bpipelin(ed|ing)\b|\bsynchroni[sz]ation\b`)
})

// goPlain remembers that the upstream is to be sent one command after the
// other, because of b.
func (s *session) goPlain(b *broken) {
	s.dialer.makePlain(s.up.Name)
	s.dialer.tell(&Stalled{Upstream: s.up.Name, Remote: s.remote, For: plainLifetime, Outcome: b.outcome})
}
