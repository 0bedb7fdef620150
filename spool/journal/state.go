package journal

import "postern/spool"

// state is how a share stands: what a record about it leaves behind.
type state struct {
	attempts uint16
	failover uint8
	held     bool
	warned   bool
	inDoubt  bool
	kept     bool  // held because it failed
	due      int64 // Unix time in nanoseconds
}

func appendState(b []byte, s state) []byte {
	b = append(b, putFlags(s.held, s.warned, s.inDoubt, s.kept), s.failover)
	return putInt64(putUint(b, uint64(s.attempts)), s.due)
}

func readState(c *cursor) (s state) {
	f := c.byte()
	s.held, s.warned, s.inDoubt, s.kept = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	s.failover = c.byte()
	s.attempts = uint16(c.upTo(65535))
	s.due = c.int64()
	return s
}

// result is what is recorded about one recipient by one settlement.
type result struct {
	recipient int // index into Envelope.Recipients
	status    spool.Status
	tried     bool // outcome, at, attempt and failover are set
	attempt   uint16
	failover  uint8
	at        int64
	outcome   spool.Outcome
}

func appendResult(b []byte, f *result) []byte {
	o := &f.outcome
	b = putUint(b, uint64(f.recipient))
	b = append(b, byte(f.status), putFlags(f.tried, o.Unsupported, o.DSNRelayed, o.ByRelayed))
	if !f.tried {
		return b
	}
	b = append(putUint(b, uint64(f.attempt)), f.failover, byte(o.Stage), byte(o.Verdict))
	b = putUint(putInt64(b, f.at), uint64(o.Code))
	for _, s := range []string{o.Enhanced, o.Text, o.Cause, o.Remote} {
		b = putString(b, s)
	}
	return b
}

func readResult(c *cursor) (f result) {
	f.recipient = int(c.upTo(1 << 24))
	f.status = spool.Status(c.byte())
	bits := c.byte()
	f.tried = bits&1 != 0
	if !f.tried {
		return f
	}
	f.attempt, f.failover = uint16(c.upTo(65535)), c.byte()
	o := &f.outcome
	o.Stage, o.Verdict = spool.Stage(c.byte()), spool.Status(c.byte())
	o.Unsupported, o.DSNRelayed, o.ByRelayed = bits&2 != 0, bits&4 != 0, bits&8 != 0
	f.at, o.Code = c.int64(), int(c.upTo(1<<31-1))
	o.Enhanced, o.Text, o.Cause, o.Remote = c.string(), c.string(), c.string(), c.string()
	return f
}

// change is the meta part of an attempt, dot or settle record: what it says
// about one share.
type change struct {
	share   int
	state   state
	prev    place // the settle record before this one, for recSettle
	results []result
}

func appendChange(b []byte, kind byte, ch *change) []byte {
	b = append(b, metaVersion)
	b = putUint(b, uint64(ch.share))
	b = appendState(b, ch.state)
	if kind != recSettle {
		return append(b, 0)
	}
	b = putUint(putUint(b, uint64(ch.prev.segment)), uint64(ch.prev.offset))
	b = putUint(b, uint64(len(ch.results)))
	for i := range ch.results {
		b = appendResult(b, &ch.results[i])
	}
	return append(b, 0) // no extensions
}

func readChange(c *cursor, kind byte) (ch change) {
	version := c.version()
	ch.share = int(c.upTo(65535))
	ch.state = readState(c)
	if kind == recSettle {
		ch.prev = place{uint32(c.upTo(1<<32 - 1)), uint32(c.upTo(1<<32 - 1))}
		ch.results = make([]result, c.count())
		for i := range ch.results {
			ch.results[i] = readResult(c)
		}
	}
	if version > 1 {
		c.area(nil)
	}
	return ch
}

// snapshot is how a whole message stood when it was copied forward.
type snapshot struct {
	shares  []state
	results []result // of every recipient about which something is recorded
}

func appendSnapshot(b []byte, s *snapshot) []byte {
	b = append(b, metaVersion)
	b = putUint(b, uint64(len(s.shares)))
	for _, st := range s.shares {
		b = appendState(b, st)
	}
	b = putUint(b, uint64(len(s.results)))
	for i := range s.results {
		b = appendResult(b, &s.results[i])
	}
	return append(b, 0) // no extensions
}

func readSnapshot(c *cursor) (s snapshot) {
	version := c.version()
	s.shares = make([]state, c.count())
	for i := range s.shares {
		s.shares[i] = readState(c)
	}
	s.results = make([]result, c.count())
	for i := range s.results {
		s.results[i] = readResult(c)
	}
	if version > 1 {
		c.area(nil)
	}
	return s
}

// A moved record's meta part is the length of the envelope in 4 bytes, the
// envelope, and the snapshot.
func appendMoved(b, envelope []byte, s *snapshot) []byte {
	n := len(envelope)
	b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return appendSnapshot(append(b, envelope...), s)
}

// cutMoved parts a moved record's meta into envelope and snapshot.
func cutMoved(meta string) (envelope, snap string, ok bool) {
	if len(meta) < 4 {
		return "", "", false
	}
	n := int(meta[0]) | int(meta[1])<<8 | int(meta[2])<<16 | int(meta[3])<<24
	if meta = meta[4:]; n < 0 || n > len(meta) {
		return "", "", false
	}
	return meta[:n], meta[n:], true
}
