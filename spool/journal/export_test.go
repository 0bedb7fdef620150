package journal

import "postern/spool"

// CommitSettling commits a draft and ends a claim with one record.
func CommitSettling(d spool.Draft, env *spool.Envelope, claim *spool.Delivery, st spool.Settlement) error {
	return d.(*draft).commitSettling(env, claim, st)
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
