package journal

import (
	"fmt"
	"math/bits"

	"postern/spool"
)

// An envelope, a change and a snapshot of version 2 end with an area for
// extensions: its length in bytes, then fields in ascending order of their
// types, each with its type, its length in bytes, and its value. Where there
// are none it takes one byte.
//
// A field of an even type may be ignored; that of an envelope is carried along
// where the message is copied forward. A field of an odd type has to be known:
// a record with an unknown one is set aside.
const (
	fieldPrefix    = 1 // of a message: what stands before its body when it is read
	fieldKey       = 2 // of a message: its key
	fieldSettles   = 3 // of a message: what it says about a share of another one
	fieldInstead   = 4 // of a message: which of its recipients stand in place of others
	fieldNotBefore = 5 // of a message: when it is due first
	fieldStood     = 7 // of a message: how it stood in the store that it was adopted from
	fieldStorm     = 8 // of a message: with which others it was put on hold
)

// knownFields has a bit for each odd type that this version knows.
const knownFields = 1<<fieldPrefix | 1<<fieldSettles | 1<<fieldNotBefore | 1<<fieldStood

// newerError says that a newer version wrote a record. It is the type of the
// field that has to be known, or 0 where the version itself is newer.
type newerError uint64

func (e newerError) Error() string {
	if e == 0 {
		return "a newer version wrote it"
	}
	return fmt.Sprintf("a newer version wrote it: it has a field of type %d, which has to be known", uint64(e))
}

// Is makes it a case of damage: the record is set aside.
func (e newerError) Is(target error) bool { return target == spool.ErrDamaged }

// version reads the version of a meta part.
func (c *cursor) version() byte {
	v := c.byte()
	if v > metaVersion && c.newer == nil {
		c.newer = newerError(0)
	}
	if v == 0 || v > metaVersion {
		c.fail()
	}
	return v
}

// area reads an area for extensions. take is called for each field and returns
// whether it is known; nil: none is.
func (c *cursor) area(take func(kind uint64, value string) bool) {
	a := cursor{rest: c.string()}
	for last := uint64(0); a.rest != ""; {
		kind, value := a.uint(), a.string()
		if kind <= last {
			a.fail()
		}
		last = kind
		if !a.bad && (take == nil || !take(kind, value)) && kind%2 != 0 {
			c.newer = newerError(kind)
			a.fail()
		}
	}
	if a.bad {
		c.fail()
	}
}

// fault is what is wrong with a part of which everything should have been read.
func (c *cursor) fault(what string) error {
	switch {
	case c.newer != nil:
		return c.newer
	case !c.done():
		return damaged(what)
	}
	return nil
}

// settles is what the record of a notice says about shares of the message that
// the notice is about, as settle records would.
type settles struct {
	id      spool.ID
	changes []change // at least one
	over    bool     // nothing of the message is owed any more; not on disk
}

func readSettles(value string) (s settles, err error) {
	c := cursor{rest: value}
	s.id = spool.ID(c.int64())
	for again := true; again; again = c.rest != "" {
		s.changes = append(s.changes, readChange(&c, recSettle))
	}
	if s.id == 0 {
		c.fail()
	}
	return s, c.fault("state")
}

// events is what the index needs to know of them.
func (s *settles) events() []eventDone {
	all := make([]eventDone, len(s.changes))
	for i := range s.changes {
		all[i] = s.changes[i].event()
	}
	return all
}

// besides is what the record of a message says beside its envelope. The zero
// value is nothing.
type besides struct {
	settles *settles  // about another message
	stood   *snapshot // how it stood in the store that it was adopted from
}

// appendFields writes the area of an envelope.
func appendFields(b []byte, env *spool.Envelope, with besides) []byte {
	prefix, key, later := env.Prefix, env.Key, env.NotBefore.After(env.Accepted)
	set := with.settles
	instead := appendInstead(nil, env.Recipients)
	if len(prefix) == 0 && with == (besides{}) && key == nil && !later && instead == nil && env.Storm == 0 {
		return append(b, 0)
	}
	n := 0
	var value, stood []byte
	if len(prefix) > 0 {
		n += fieldSize(len(prefix))
	}
	if key != nil {
		n += fieldSize(fieldSizeKey)
	}
	if set != nil {
		value = putInt64(nil, int64(set.id))
		for i := range set.changes {
			value = appendChange(value, recSettle, &set.changes[i])
		}
		n += fieldSize(len(value))
	}
	if instead != nil {
		n += fieldSize(len(instead))
	}
	if later {
		n += fieldSize(fieldSizeNotBefore)
	}
	if env.Storm != 0 {
		n += fieldSize(fieldSizeStorm)
	}
	if with.stood != nil {
		stood = appendSnapshot(nil, with.stood)
		n += fieldSize(len(stood))
	}
	b = putUint(b, uint64(n))
	if len(prefix) > 0 {
		b = append(putUint(append(b, fieldPrefix), uint64(len(prefix))), prefix...)
	}
	if key != nil {
		b = appendKey(append(b, fieldKey, fieldSizeKey), key)
	}
	if set != nil {
		b = append(putUint(append(b, fieldSettles), uint64(len(value))), value...)
	}
	if instead != nil {
		b = append(putUint(append(b, fieldInstead), uint64(len(instead))), instead...)
	}
	if later {
		b = putInt64(append(b, fieldNotBefore, fieldSizeNotBefore), toNano(env.NotBefore))
	}
	if with.stood != nil {
		b = append(putUint(append(b, fieldStood), uint64(len(stood))), stood...)
	}
	if env.Storm != 0 {
		b = putInt64(append(b, fieldStorm, fieldSizeStorm), int64(env.Storm))
	}
	return b
}

// appendInstead writes the numbers of the recipients that are redirected to;
// nothing where there are none.
func appendInstead(b []byte, all []spool.Recipient) []byte {
	for i := range all {
		if all[i].Redirected {
			b = putUint(b, uint64(i))
		}
	}
	return b
}

// readInstead reads what appendInstead wrote.
func readInstead(c *cursor, value string, all []spool.Recipient) {
	v := cursor{rest: value}
	for last := -1; v.rest != "" && !c.bad; {
		i := v.uint()
		if v.bad || i >= uint64(len(all)) || int(i) <= last {
			c.fail()
			return
		}
		last = int(i)
		all[i].Redirected = true
	}
}

const (
	fieldSizeNotBefore = 8
	fieldSizeStorm     = 8
)

// readInt64 reads the value of a field that is one number.
func readInt64(c *cursor, value string) int64 {
	v := cursor{rest: value}
	at := v.int64()
	if !v.done() {
		c.fail()
	}
	return at
}

// fieldSize is how many bytes a field with a type of one byte takes.
func fieldSize(n int) int { return 1 + (bits.Len(uint(n)|1)+6)/7 + n }

// carried is an envelope as it goes into a copy forward: of this version, with
// all its fields, also those that aren't known, except what it settled. That
// is in the copy of the other message, or in the segments behind it. fields is
// where its area begins.
func carried(envelope string, fields int) []byte {
	b := append(make([]byte, 0, len(envelope)+1), metaVersion)
	b = append(b, envelope[1:fields]...)
	var kept []byte
	c := cursor{rest: envelope[fields:]}
	if c.rest != "" {
		c.area(func(kind uint64, value string) bool {
			if kind != fieldSettles && kind != fieldStood { // how it stands is told beside it
				kept = putString(putUint(kept, kind), value)
			}
			return true
		})
	}
	return append(putUint(b, uint64(len(kept))), kept...)
}

// settleIn is what a record says about a share of a message: a settle record,
// or that of a notice.
func settleIn(h *header, meta string, id spool.ID, share int) (*change, error) {
	switch {
	case h.kind == recSettle && h.id == id:
		c := cursor{rest: meta}
		ch := readChange(&c, recSettle)
		return &ch, c.fault("state")
	case h.kind == recMessage:
		m, err := decodeMeta(h.kind, meta)
		if err != nil || m.settles == nil || m.settles.id != id {
			break
		}
		for i := range m.settles.changes {
			if m.settles.changes[i].share == share {
				return &m.settles.changes[i], nil
			}
		}
	}
	return nil, spool.ErrNotFound
}
