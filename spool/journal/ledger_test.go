package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"regexp"
	"slices"
	"time"

	"postern/spool"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// ledger is what a workload was promised about each message, as of some
// moment. Events of the workload carry it forward.
type ledger map[spool.ID]*promise

type promise struct {
	sum        uint32 // of the body
	size       int
	recipients int
	acked      bool         // Commit returned nil
	refused    bool         // Commit returned an error
	ending     map[int]bool // recipients about whom an end was being recorded
	ended      map[int]bool // about whom it was, before a later commit was synced: it is durable
	before     []evSettled  // what was settled when this message was put
	settles    []evEnd      // what is settled by the same record
	refusedEnd map[int]bool // recipients whose end was refused together with a message
	key        *spool.Key
	notBefore  time.Time
}

// The events of a workload.
type (
	evPut struct {
		id               spool.ID
		sum              uint32
		size, recipients int
		settles          []evEnd
		key              *spool.Key
		over             []int // recipients that had ended where it was adopted from
		notBefore        time.Time
		also             []evPut // what counts together with it, or not at all
	}
	evAck    struct{ id spool.ID }
	evRefuse struct{ id spool.ID }
	evEnd    struct {
		id        spool.ID
		recipient int
	}
	evSettled evEnd // Settle returned nil
)

func (l ledger) apply(ev any) {
	switch ev := ev.(type) {
	case evPut:
		for _, e := range ev.settles {
			l.begun(e)
		}
		for _, p := range append([]evPut{ev}, ev.also...) {
			l[p.id] = &promise{sum: p.sum, size: p.size, recipients: p.recipients, ending: map[int]bool{}, ended: map[int]bool{}, before: l.settledSoFar(),
				key: p.key, notBefore: p.notBefore, settles: slices.Clone(ev.settles), refusedEnd: map[int]bool{}}
			for _, r := range p.over {
				l[p.id].ending[r], l[p.id].ended[r] = true, true
			}
		}
		for _, e := range ev.settles {
			l[e.id].ending[e.recipient] = true
		}
	case evAck:
		l[ev.id].acked = true
		for _, e := range l[ev.id].before {
			l[e.id].ended[e.recipient] = true
		}
		for _, e := range l[ev.id].settles {
			l[e.id].ended[e.recipient] = true
		}
	case evRefuse:
		l[ev.id].refused = true
		for _, e := range l[ev.id].settles {
			delete(l[e.id].ending, e.recipient)
			l[e.id].refusedEnd[e.recipient] = true
		}
	case evEnd:
		l[ev.id].ending[ev.recipient] = true
		l.begun(ev)
	case evSettled:
		so := append(l.settledSoFar(), ev)
		l[0].before = so
	}
}

// begun notes that an end is being recorded: an earlier message that was to
// tell of it, and that a cut has undone, no longer does.
func (l ledger) begun(end evEnd) {
	for _, p := range l {
		p.settles = slices.DeleteFunc(p.settles, func(e evEnd) bool { return e == end })
	}
}

// settledSoFar is what is settled at this moment. It is kept with ID 0.
func (l ledger) settledSoFar() []evSettled {
	if l[0] == nil {
		l[0] = &promise{}
	}
	return slices.Clip(l[0].before)
}

func (l ledger) clone() ledger {
	c := ledger{}
	for id, p := range l {
		q := *p
		q.settles = slices.Clone(p.settles)
		q.ending, q.ended, q.refusedEnd = maps.Clone(p.ending), maps.Clone(p.ended), maps.Clone(p.refusedEnd)
		c[id] = &q
	}
	return c
}

// check compares what a reopened spool holds with what was promised. lenient
// overlooks messages that were refused.
func (l ledger) check(s *journal.Store, lenient bool) error {
	if r := s.Recovery(); r.SetAside > 0 {
		return errors.New("a legal state was taken for damage")
	}
	if err := tallied(s, time.Now()); err != nil {
		return err
	}
	seen := map[spool.ID]bool{}
	var failed error
	s.Find(bg, spool.Query{}, func(sum spool.Summary) bool {
		if !seen[sum.ID] {
			seen[sum.ID] = true
			failed = l.checkMessage(s, sum.ID, lenient)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	for id, p := range l {
		if p.acked && !p.mayBeOver(lenient) && !seen[id] {
			return fmt.Errorf("%s: acknowledged, %d of %d recipients ended, and lost", id, len(p.ending), p.recipients)
		}
		if err := l.checkSettles(s, id, seen, lenient); err != nil {
			return err
		}
		if err := l.checkKey(s, id, seen[id], lenient); err != nil {
			return err
		}
	}
	return nil
}

// mayBeOver reports whether a message may be gone.
func (p *promise) mayBeOver(lenient bool) bool {
	n := len(p.ending)
	for r := range p.refusedEnd {
		if lenient && !p.ending[r] {
			n++
		}
	}
	return n >= p.recipients
}

// checkSettles wants a message and what its record settles, or neither.
func (l ledger) checkSettles(s *journal.Store, id spool.ID, seen map[spool.ID]bool, lenient bool) error {
	p := l[id]
	if p.refused {
		return nil
	}
	for _, e := range p.settles {
		if lenient && l[e.id].refusedEnd[e.recipient] {
			continue // an earlier notice was refused, and may be there
		}
		over := true
		if seen[e.id] {
			d, err := s.Detail(bg, e.id)
			if err != nil {
				return err
			}
			over = d.Recipients[e.recipient].Status != spool.Pending
		}
		switch {
		case seen[id] && !over:
			return fmt.Errorf("%s is there, and recipient %d of %s, which it settles, is pending", id, e.recipient, e.id)
		case over && !seen[id] && !p.mayBeOver(lenient):
			return fmt.Errorf("%s is lost, and recipient %d of %s, which it settles, has ended", id, e.recipient, e.id)
		}
	}
	return nil
}

// checkKey wants a message and its key, or neither. A message that was refused
// and is there after a restart may have been delivered since: it is over, and
// its key stays.
func (l ledger) checkKey(s *journal.Store, id spool.ID, there, lenient bool) error {
	p := l[id]
	if p.key == nil {
		return nil
	}
	var r *spool.Repeated
	errors.As(s.Known(bg, p.key), &r)
	known := r != nil && r.ID == id
	switch {
	case p.refused && !there && known && !p.mayBeOver(lenient):
		return fmt.Errorf("%s: refused, and its key is there", id)
	case !endsSoon(p.key) && (p.acked || there) && !known:
		return fmt.Errorf("%s: there: %t, and its key is not: %v", id, there, r)
	case known && !there && !p.mayBeOver(lenient):
		return fmt.Errorf("%s: lost, and its key is there", id)
	}
	return nil
}

// endsSoon tells whether a key may be over by now.
func endsSoon(k *spool.Key) bool { return k.Digest != 0 }

// alive is how many messages were acknowledged and not ended by others.
func (l ledger) alive() (n int) {
	for _, p := range l {
		if p.acked && len(p.ended) < p.recipients {
			n++
		}
	}
	return n
}

func (l ledger) checkMessage(s *journal.Store, id spool.ID, lenient bool) error {
	p := l[id]
	switch {
	case p == nil:
		return fmt.Errorf("%s: never put", id)
	case p.refused && !lenient:
		return fmt.Errorf("%s: refused, and there", id)
	}
	d, err := s.Detail(bg, id)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if len(d.Recipients) != p.recipients {
		return fmt.Errorf("%s: %d recipients instead of %d", id, len(d.Recipients), p.recipients)
	}
	if !d.Envelope.NotBefore.Equal(p.notBefore) {
		return fmt.Errorf("%s: to be sent at %v instead of %v", id, d.Envelope.NotBefore, p.notBefore)
	}
	for i, r := range d.Recipients {
		if r.Status == spool.Pending && r.Due.Before(p.notBefore) {
			return fmt.Errorf("%s: recipient %d is due at %v, before %v", id, i, r.Due, p.notBefore)
		}
		if r.Status == spool.Pending && p.ended[i] && !lenient {
			return fmt.Errorf("%s: recipient %d had ended durably, and is pending again", id, i)
		}
		if r.Status != spool.Pending && !p.ending[i] && !(lenient && p.refusedEnd[i]) {
			return fmt.Errorf("%s: recipient %d ended as %d by itself", id, i, r.Status)
		}
	}
	c, err := s.Content(bg, id)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	defer c.Close()
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", id, err)
	}
	if len(b) != p.size || crc32.ChecksumIEEE(b) != p.sum {
		return fmt.Errorf("%s: content differs: %d bytes %q", id, len(b), bytes.TrimSpace(b[:min(len(b), 20)]))
	}
	return nil
}

// inTheTable looks for what a start may not leave in the folder, by the table
// in docs/spool-format.md: a name that is not in it, a format that is not the
// one, a body that belongs to no message.
func inTheTable(d *simdisk.Disk, s *journal.Store) error {
	bodies := map[string]bool{}
	s.Find(bg, spool.Query{}, func(sum spool.Summary) bool { bodies["big/"+sum.ID.String()+".eml"] = true; return true })
	for _, name := range d.Files() {
		switch {
		case name == "format":
			if b := d.Read(name); string(b) != "postern spool 2\n" {
				return fmt.Errorf("format says %q", b)
			}
		case !tableName.MatchString(name) && !bodies[name]:
			return fmt.Errorf("%s is left, which is in no table", name)
		}
	}
	return nil
}

var tableName = regexp.MustCompile(`^(lock|reserve|[0-9]{10}\.(seg|idx))$`)
