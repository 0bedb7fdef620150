package journal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"postern/spool"
	"postern/spool/disk"
)

// A segment begins with its header, twice, each in a sector of its own.
const (
	sector       = 512
	segmentStart = 2 * sector // offset of the first record
	segmentMagic = "PSTNSEG1"
)

// segment is one file of the journal.
type segment struct {
	num  uint32
	mark uint64
	file disk.File

	// Guarded by Store.mu.
	size      int64 // bytes on disk
	end       int64 // offset behind the last record; of the active segment see journal
	live      int   // messages whose record is here and who are still owed something
	keys      int   // that are recorded here and have not ended
	liveBytes int64
	indexed   bool // its index file is written, or was tried in vain
	suspect   bool // a sync of it failed: what lives in it is to be copied forward
	indexSize int64
	refs      int  // readers of file
	removed   bool // file is closed with the last reader
	keep      bool // holds something that could not be set aside: never removed
}

// segmentHead is the header of a segment.
type segmentHead struct {
	version uint32
	num     uint32
	mark    uint64
	// floor is at least as great as every ID given out before.
	floor spool.ID
	// prev is the segment that was written before this one, and prevEnd the
	// offset up to which it counts; what lies behind it was never accepted.
	// prev 0: there was none.
	prev    uint32
	prevEnd uint32
	// afterCrash: prevEnd was found at a start, so a torn write may lie
	// before it.
	afterCrash bool
}

func (h *segmentHead) encode() []byte {
	b := make([]byte, segmentStart)
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint32(b[8:], h.version)
	le.PutUint32(b[12:], h.num)
	le.PutUint64(b[16:], h.mark)
	le.PutUint64(b[24:], uint64(h.floor))
	le.PutUint32(b[32:], h.prev)
	le.PutUint32(b[36:], h.prevEnd)
	b[40] = putFlags(h.afterCrash)
	le.PutUint32(b[sector-4:], checksum(b[:sector-4]))
	copy(b[sector:], b[:sector])
	return b
}

func decodeSegmentHead(b []byte, num uint32) (segmentHead, bool) {
	if len(b) < sector || string(b[:8]) != segmentMagic {
		return segmentHead{}, false
	}
	le := binary.LittleEndian
	h := segmentHead{
		version: le.Uint32(b[8:]), num: le.Uint32(b[12:]), mark: le.Uint64(b[16:]), floor: spool.ID(le.Uint64(b[24:])),
		prev: le.Uint32(b[32:]), prevEnd: le.Uint32(b[36:]),
		afterCrash: b[40]&1 != 0,
	}
	ok := h.version > 0 && h.num == num && le.Uint32(b[sector-4:sector]) == checksum(b[:sector-4])
	return h, ok
}

// newMark is a random number other than 0. Nobody outside knows it, so
// nothing that a client or an upstream sends can pass for a record when a
// damaged segment is searched for the next whole one.
func newMark() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process before it does
	return binary.LittleEndian.Uint64(b[:]) | 1
}

const (
	segmentSuffix = ".seg"
	indexSuffix   = ".idx"
	bodySuffix    = ".eml"
	bigDir        = "big"
	badDir        = "bad"
	lockName      = "lock"
	formatName    = "format"
	formatText    = "postern spool 2\n"
	formatText1   = "postern spool 1\n" // is read, and written again as above
	formatVersion = 2                   // of segments too
)

func segmentName(num uint32) string { return fmt.Sprintf("%010d%s", num, segmentSuffix) }
func indexName(num uint32) string   { return fmt.Sprintf("%010d%s", num, indexSuffix) }
func bodyName(id spool.ID) string   { return bigDir + "/" + id.String() + bodySuffix }

// parseNumber reads the number in the name of a segment or of its index.
func parseNumber(name, suffix string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0 && segmentName(uint32(n)) == digits+segmentSuffix
}

// acquire takes a reference on the file of a segment. Store.mu is held.
func (g *segment) acquire() *segment {
	g.refs++
	return g
}

// release gives a reference back.
func (s *Store) release(g *segment) {
	s.mu.Lock()
	g.refs--
	last := g.removed && g.refs == 0
	s.mu.Unlock()
	if last {
		g.file.Close()
	}
}
