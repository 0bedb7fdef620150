package journal

import (
	"encoding/binary"
	"hash/crc32"

	"postern/spool"
)

// A record is a header of headerSize bytes, a meta part and a body. Header,
// meta and body each have a checksum of their own, so that a damaged body
// costs one message and a damaged header costs one record. All numbers are
// little-endian. docs/spool-format.md has the bytes.
const headerSize = 48

// maxMeta bounds what a meta part may claim to be, in bytes.
const maxMeta = 64 << 20

// The types of records.
const (
	recMessage byte = 1 + iota // a message as it was accepted: envelope, body
	recMoved                   // a message copied forward: envelope, state, body
	recAttempt                 // an attempt begins
	recDot                     // the final dot is about to go out
	recSettle                  // an attempt ended, or a share changed
	recDone                    // nothing of the message is owed any more
	recKeys                    // keys of messages, carried over from an older segment
	recEnd                     // one beyond the last type
)

// flagBig: the body lies in big/ID.eml.
const flagBig byte = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// header is the head of a record.
type header struct {
	mark    uint64 // the segment's random mark: foreign bytes can't look like a record
	segment uint32
	kind    byte
	flags   byte
	metaLen uint32 // bytes
	bodyLen uint32 // bytes that follow the meta part; 0 where flagBig
	id      spool.ID
	metaCRC uint32
	bodyCRC uint32 // of the body, wherever it lies
	// durable is the offset up to which the segment was known to be synced
	// when the record was written: damage before it can't be a torn write.
	durable uint32
}

// size is the length of the whole record in bytes.
func (h *header) size() int64 { return headerSize + int64(h.metaLen) + int64(h.bodyLen) }

func (h *header) encode(b []byte) {
	_ = b[headerSize-1]
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.mark)
	le.PutUint32(b[8:], h.segment)
	b[12], b[13], b[14], b[15] = h.kind, h.flags, 0, 0
	le.PutUint32(b[16:], h.metaLen)
	le.PutUint32(b[20:], h.bodyLen)
	le.PutUint64(b[24:], uint64(h.id))
	le.PutUint32(b[32:], h.metaCRC)
	le.PutUint32(b[36:], h.bodyCRC)
	le.PutUint32(b[40:], h.durable)
	le.PutUint32(b[44:], checksum(b[:44]))
}

// decodeHeader reads a header that has to belong to the segment; false: b
// doesn't hold one.
func decodeHeader(b []byte, segment uint32, mark uint64) (header, bool) {
	if len(b) < headerSize {
		return header{}, false
	}
	le := binary.LittleEndian
	h := header{
		mark:    le.Uint64(b[0:]),
		segment: le.Uint32(b[8:]),
		kind:    b[12],
		flags:   b[13],
		metaLen: le.Uint32(b[16:]),
		bodyLen: le.Uint32(b[20:]),
		id:      spool.ID(le.Uint64(b[24:])),
		metaCRC: le.Uint32(b[32:]),
		bodyCRC: le.Uint32(b[36:]),
		durable: le.Uint32(b[40:]),
	}
	ok := h.mark == mark && h.segment == segment && h.metaLen <= maxMeta &&
		le.Uint32(b[44:]) == checksum(b[:44])
	return h, ok
}

// place is where a record lies. The zero place is none.
type place struct {
	segment uint32
	offset  uint32 // bytes
}

func (p place) none() bool { return p.segment == 0 }

func (p place) before(q place) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}
