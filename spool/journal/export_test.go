package journal

import (
	"context"

	"postern/spool"
)

// CommitSettling commits a draft and ends a claim with one record.
func CommitSettling(d spool.Draft, env *spool.Envelope, claim *spool.Delivery, st spool.Settlement) error {
	_, err := d.(*draft).store.Notify(context.Background(), []spool.Notice{{Draft: d, Envelope: env}}, spool.Ending{Delivery: claim, Settlement: st})
	return err
}

// Settle is Store.Settle where only its error matters.
func Settle(s *Store, d *spool.Delivery, st spool.Settlement) error {
	_, err := s.Settle(context.Background(), d, st)
	return err
}

// Rewrite makes a copy of a segment's records with another meta part, as a
// newer version could have written them. change gets the type of each record
// and its meta part; nil: the record is left out.
func Rewrite(segment []byte, change func(kind byte, meta []byte) []byte) []byte {
	head, ok := decodeSegmentHead(segment, uint32(segment[12]))
	if !ok {
		panic("no segment")
	}
	out := append([]byte(nil), segment[:segmentStart]...)
	for rest := segment[segmentStart:]; ; {
		h, ok := decodeHeader(rest, head.num, head.mark)
		if !ok {
			return out
		}
		meta, body := rest[headerSize:headerSize+h.metaLen], rest[headerSize+h.metaLen:h.size()]
		rest = rest[h.size():]
		if meta = change(h.kind, meta); meta == nil {
			continue
		}
		h.metaLen, h.metaCRC, h.durable = uint32(len(meta)), checksum(meta), segmentStart
		var b [headerSize]byte
		h.encode(b[:])
		out = append(append(append(out, b[:]...), meta...), body...)
	}
}

// WithFields is a meta part with these fields, type and value, in place of none.
func WithFields(meta []byte, fields ...any) []byte { return withFields(meta, fields...) }

// BeginSettling is the first step of Notify, and undo takes it back.
func BeginSettling(s *Store, claim *spool.Delivery) (undo func(), err error) {
	ends := []spool.Ending{{Delivery: claim}}
	_, _, err = s.beginSettling(ends)
	return func() { s.notSettled(ends) }, err
}

// CanMove reports whether a message could be copied forward at this moment.
func CanMove(s *Store, id spool.ID) bool {
	s.mu.Lock()
	at := s.ix.entry(s.ix.byID[id]).at
	g := s.bySeg[at.segment]
	s.mu.Unlock()
	sub, err := s.moving(g, id, at)
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	return err == nil && sub != nil && sub.prepare(sub)
}
