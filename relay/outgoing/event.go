package outgoing

import (
	"sync"

	"postern/relay/rewrite"
	"postern/spool"
)

// SignatureBroken tells that a signature of others does not hold any more after
// what a rule, or the conversion to 7 bits, changed. It is told once for each
// rule, upstream and signing domain.
type SignatureBroken struct {
	ID       spool.ID // of the first such message
	Upstream string
	Rule     string
	Domain   string // that signed, as the message says
	Field    string // that was changed; "body" for the body
}

// NotSigned tells that a message goes without the signature that it should
// have.
type NotSigned struct {
	ID       spool.ID
	Upstream string
	Domain   string
	Reason   string // a sentence
}

// NotConverted tells that a message stays as it is, though the upstream is to
// get it in 7 bits or with short lines.
type NotConverted struct {
	ID       spool.ID
	Upstream string
	Reason   string // a part of a sentence
}

// Event is what Forms tells: one of the above. The function that it is given to
// is called concurrently.
type Event interface{ event() }

func (SignatureBroken) event() {}
func (NotSigned) event()       {}
func (NotConverted) event()    {}

// maxTold bounds what is remembered of what was told. Strangers choose domains.
const maxTold = 1000

// told is what was told already.
type told struct {
	mu   sync.Mutex
	seen map[SignatureBroken]struct{} // without ID and Field
}

// first reports whether e was not told yet. Where too much was, nothing more
// is.
func (t *told) first(e SignatureBroken) bool {
	e.ID, e.Field = 0, ""
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[e]; ok || len(t.seen) >= maxTold {
		return false
	}
	if t.seen == nil {
		t.seen = map[SignatureBroken]struct{}{}
	}
	t.seen[e] = struct{}{}
	return true
}

func (m *message) tellBroken(rule string, broken []rewrite.Broken) {
	for _, b := range broken {
		e := SignatureBroken{ID: m.Delivery.ID, Upstream: m.Upstream.Name, Rule: rule, Domain: b.Domain, Field: b.Field}
		if m.forms.told.first(e) {
			m.tell(e)
		}
	}
}

func (m *message) tell(e Event) {
	if m.forms.events != nil {
		m.forms.events(e)
	}
}
