package journal

import (
	"encoding/binary"
	"math"
	"time"
)

// cursor reads what the put functions wrote. After a read beyond the end, or
// of something impossible, bad is true and every further read returns zero.
type cursor struct {
	rest  string
	bad   bool
	newer error // nil, or why only a newer version can read it
}

func (c *cursor) fail() { c.bad, c.rest = true, "" }

func (c *cursor) byte() byte {
	if len(c.rest) < 1 {
		c.fail()
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

func (c *cursor) uint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := c.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if shift == 63 && b > 1 {
				break
			}
			return v
		}
	}
	c.fail()
	return 0
}

// count reads a number of things of which each takes at least one byte, so a
// damaged one can't ask for more memory than the input has bytes.
func (c *cursor) count() int {
	v := c.uint()
	if v > uint64(len(c.rest)) {
		c.fail()
		return 0
	}
	return int(v)
}

// upTo reads a number that is at most limit.
func (c *cursor) upTo(limit uint64) uint64 {
	v := c.uint()
	if v > limit {
		c.fail()
		return 0
	}
	return v
}

func (c *cursor) int64() int64 {
	if len(c.rest) < 8 {
		c.fail()
		return 0
	}
	var v uint64
	for i := range 8 {
		v |= uint64(c.rest[i]) << (8 * i)
	}
	c.rest = c.rest[8:]
	return int64(v)
}

func (c *cursor) string() string {
	n := c.count()
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

// done reports whether everything was read and nothing was bad.
func (c *cursor) done() bool { return !c.bad && c.rest == "" }

func putUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func putInt64(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }

func putString(b []byte, s string) []byte { return append(putUint(b, uint64(len(s))), s...) }

func putFlags(flags ...bool) byte {
	var v byte
	for i, f := range flags {
		if f {
			v |= 1 << i
		}
	}
	return v
}

// noTime stands for the zero time.Time, which has no Unix time in nanoseconds.
const noTime = math.MinInt64

func toNano(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.UnixNano()
}

func toTime(n int64) time.Time {
	if n == noTime {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
