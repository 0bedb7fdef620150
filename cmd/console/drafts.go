package console

import (
	"context"
	"time"

	"postern/cmd/definition"
)

// Bounds of drafts.
const (
	maxDrafts = 20               // of all users; the oldest goes
	draftAge  = 15 * time.Minute // a typed password is forgotten then
)

// draft is a definition that was tried and not kept yet, or the test of an
// upstream, without one. Its secrets stand here
// alone: no page has them.
type draft struct {
	store  *definition.Store
	seen   string
	order  int // definition.Change.Order
	def    definition.Definition
	result *definition.Result
	walk   *walk              // nil: there is no way to walk
	login  *login             // nil: it is none
	cancel context.CancelFunc // of login
	test   string             // the upstream that is tested, or logged in to; empty: it is a definition
}

func newDrafts() *expiring[draft] { return newExpiring(maxDrafts, draftAge, (*draft).end) }

// end gives up what goes on for the draft.
func (d *draft) end() {
	if d.walk != nil {
		d.walk.cancel()
	}
	if d.cancel != nil {
		d.cancel()
	}
}

// defines tells whether it is a definition, of which a session has one at a time.
func (d *draft) defines() bool { return d.test == "" }
