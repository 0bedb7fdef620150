package journal

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/spool"
)

// metaVersion is the version of the meta parts that are written. Those of
// version 1 have no area for extensions.
const metaVersion = 2

// Limits of what is read, in bytes.
const (
	maxBody   = 1<<46 - 1
	maxPrefix = 64 << 10
)

// share is what the index needs to know of one share of a message.
type share struct {
	upstreams  []string
	recipients int
}

// brief is what the index needs to know of a message.
type brief struct {
	accepted int64 // Unix time in nanoseconds
	size     int64 // bytes of the body
	prefix   int   // bytes that stand before the body when it is read
	deadline int64 // noTime: none
	// notBefore is when it is due first; noTime: when it is accepted.
	notBefore int64
	sender    uint32 // see turnOf
	priority  int8
	hold      bool
	shares    []share
}

// turnOf is a number for whoever takes turns with others at an upstream: the
// user who signed in, else the user of this machine, else the address or the
// IPv6 network of 64 bits that the message came from together with its
// reverse-path, as one address stands for all programs of a machine. Of those
// that are known by no name there are 4,096 numbers only, as anybody can make
// up more, and none of a user.
func turnOf(env *spool.Envelope) uint32 {
	const known = 1 << 31
	switch {
	case env.User != "":
		return known | mix(1, env.User)
	case env.UnixUser != "":
		return known | mix(2, env.UnixUser)
	}
	from, _ := netip.ParseAddrPort(env.Peer)
	a := from.Addr().WithZone("").As16()
	if !from.Addr().Is4() && !from.Addr().IsLoopback() {
		clear(a[8:])
	}
	return mix(mix(3, string(a[:])), env.From) & 4095
}

// mix adds s to a hash (FNV-1a).
func mix(h uint32, s string) uint32 {
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// split groups recipients with the same upstreams, in order of first
// appearance, and returns the number of the share of each recipient.
func split(recipients []spool.Recipient) (shares []share, of []int) {
	of = make([]int, len(recipients))
	for i := range recipients {
		ups := recipients[i].Upstreams
		n := slices.IndexFunc(shares, func(s share) bool { return slices.Equal(s.upstreams, ups) })
		if n < 0 {
			n = len(shares)
			shares = append(shares, share{upstreams: ups})
		}
		shares[n].recipients++
		of[i] = n
	}
	return shares, of
}

// check says whether env can be kept.
func check(env *spool.Envelope, shares []share) error {
	switch {
	case len(env.Recipients) == 0:
		return fmt.Errorf("%w: no recipient", spool.ErrInvalid)
	case len(shares) > 65535:
		return fmt.Errorf("%w: %d shares", spool.ErrInvalid, len(shares))
	case len(env.Prefix) > maxPrefix:
		return fmt.Errorf("%w: a prefix of %d bytes", spool.ErrInvalid, len(env.Prefix))
	case !wholeLines(env.Prefix):
		return fmt.Errorf("%w: a prefix that isn't lines of a header", spool.ErrInvalid)
	case env.Key != nil && env.Key.Name == spool.KeyName{}:
		return fmt.Errorf("%w: a key without name", spool.ErrInvalid)
	}
	for _, s := range shares {
		if n := len(s.upstreams); n == 0 || n > 255 {
			return fmt.Errorf("%w: a recipient with %d upstreams", spool.ErrInvalid, n)
		}
	}
	return nil
}

// wholeLines reports whether b consists of lines that end with CRLF, without
// an empty one, which would end the header.
func wholeLines(b []byte) bool {
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n')
		if n < 2 || b[n-1] != '\r' || bytes.IndexByte(b[:n-1], '\r') >= 0 {
			return false
		}
		b = b[n+1:]
	}
	return true
}

// appendEnvelope writes env, the meta part of a message, with what else its
// record says.
func appendEnvelope(b []byte, env *spool.Envelope, size int64, shares []share, of []int, with besides) []byte {
	b = append(b, metaVersion, putFlags(env.Hold, env.SMTPUTF8, env.RequireTLS, env.Has8Bit, env.Auto,
		env.DeliverBy != nil, env.DeliverBy != nil && env.DeliverBy.Return, env.DeliverBy != nil && env.DeliverBy.Trace),
		byte(int8(env.Priority)))
	b = putInt64(putInt64(b, toNano(env.Accepted)), size)
	deadline := int64(noTime)
	if env.DeliverBy != nil {
		deadline = toNano(env.DeliverBy.Deadline)
	}
	b = putInt64(b, deadline)
	b = putUint(b, uint64(len(shares)))
	for _, s := range shares {
		b = putUint(b, uint64(s.recipients))
		b = putUint(b, uint64(len(s.upstreams)))
		for _, u := range s.upstreams {
			b = putString(b, u)
		}
	}
	for _, s := range []string{env.From, string(env.Body), env.Return, env.EnvelopeID, env.MessageID,
		env.Listener, env.Peer, env.User, env.UnixUser, env.Helo} {
		b = putString(b, s)
	}
	b = putUint(b, uint64(len(env.Recipients)))
	for i := range env.Recipients {
		r := &env.Recipients[i]
		b = putString(b, r.Address)
		b = append(putUint(b, uint64(of[i])), notifyByte(r))
		b = putString(b, r.ORcpt)
	}
	return appendFields(b, env, with)
}

// isCopy stands beside the events of NOTIFY. A build that does not know it sees
// a recipient with NOTIFY=NEVER.
const isCopy = 1 << 7

func notifyByte(r *spool.Recipient) byte {
	if r.Copy {
		return byte(r.Notify) | isCopy
	}
	return byte(r.Notify)
}

func setNotify(r *spool.Recipient, b byte) { r.Notify, r.Copy = spool.Notify(b&^isCopy), b&isCopy != 0 }

// message is what the meta part of a message record holds.
type message struct {
	env     *spool.Envelope
	brief   brief // sender isn't set
	of      []int // share of each recipient
	fields  int   // where the area for extensions begins, in the envelope
	settles *settles
	snap    *snapshot // nil: it was neither copied forward nor adopted
}

// readBrief reads the beginning of an envelope. flags are its flag bits.
func readBrief(c *cursor) (br brief, version, flags byte) {
	version, flags = c.version(), c.byte()
	br.hold = flags&1 != 0
	br.priority = int8(c.byte())
	br.accepted, br.size, br.deadline, br.notBefore = c.int64(), c.int64(), c.int64(), noTime
	br.shares = make([]share, c.count())
	for i := range br.shares {
		s := &br.shares[i]
		s.recipients = int(c.upTo(1 << 24))
		s.upstreams = make([]string, c.count())
		for k := range s.upstreams {
			s.upstreams[k] = c.string()
		}
		if len(s.upstreams) == 0 || len(s.upstreams) > 255 || s.recipients == 0 {
			c.fail()
		}
	}
	if len(br.shares) == 0 || len(br.shares) > 65535 || br.size < 0 || br.size > maxBody {
		c.fail()
	}
	return br, version, flags
}

// readEnvelope reads a whole envelope.
func readEnvelope(c *cursor) (m message) {
	whole := len(c.rest)
	br, version, flags := readBrief(c)
	on := func(bit int) bool { return flags&(1<<bit) != 0 }
	env := &spool.Envelope{
		Accepted: toTime(br.accepted), Priority: int(br.priority),
		Hold: on(0), SMTPUTF8: on(1), RequireTLS: on(2), Has8Bit: on(3), Auto: on(4),
	}
	if on(5) {
		env.DeliverBy = &spool.DeliverBy{Deadline: toTime(br.deadline), Return: on(6), Trace: on(7)}
	}
	env.From, env.Body, env.Return = c.string(), spool.BodyType(c.string()), c.string()
	env.EnvelopeID, env.MessageID = c.string(), c.string()
	env.Listener, env.Peer, env.User, env.UnixUser, env.Helo = c.string(), c.string(), c.string(), c.string(), c.string()
	n := c.count()
	env.Recipients = make([]spool.Recipient, n)
	of := make([]int, n)
	counts := make([]int, len(br.shares))
	for i := range env.Recipients {
		r := &env.Recipients[i]
		r.Address = c.string()
		of[i] = int(c.upTo(uint64(max(len(br.shares), 1) - 1)))
		setNotify(r, c.byte())
		r.ORcpt = c.string()
		if c.bad {
			break
		}
		r.Upstreams = br.shares[of[i]].upstreams
		counts[of[i]]++
	}
	for i := range counts {
		if counts[i] != br.shares[i].recipients {
			c.fail()
		}
	}
	m = message{env: env, brief: br, of: of, fields: whole - len(c.rest)}
	if version > 1 {
		m.readFields(c)
	}
	return m
}

// readFields reads the area of an envelope.
func (m *message) readFields(c *cursor) {
	c.area(func(kind uint64, value string) bool {
		switch kind {
		case fieldPrefix:
			m.env.Prefix, m.brief.prefix = []byte(value), len(value)
			if len(value) == 0 || len(value) > maxPrefix {
				c.fail()
			}
		case fieldKey:
			m.env.Key = readKey(c, value)
		case fieldInstead:
			readInstead(c, value, m.env.Recipients)
		case fieldNotBefore:
			m.brief.notBefore = readInt64(c, value)
			m.env.NotBefore = toTime(m.brief.notBefore)
			if m.brief.notBefore <= m.brief.accepted {
				c.fail()
			}
		case fieldStorm:
			if m.env.Storm = spool.ID(readInt64(c, value)); m.env.Storm == 0 {
				c.fail()
			}
		case fieldSettles:
			set, err := readSettles(value)
			if err != nil {
				c.fail()
			}
			if newer, ok := err.(newerError); ok {
				c.newer = newer
			}
			m.settles = &set
		case fieldStood:
			in := cursor{rest: value}
			snap := readSnapshot(&in)
			if !in.done() {
				c.fail()
			}
			if in.newer != nil {
				c.newer = in.newer
			}
			m.snap = &snap
		default:
			return false
		}
		return true
	})
}

// listKey is a list of upstreams as one string, different for different lists.
func listKey(upstreams []string) string {
	if len(upstreams) == 1 && !strings.HasPrefix(upstreams[0], "\x00") {
		return upstreams[0]
	}
	b := []byte{0}
	for _, u := range upstreams {
		b = putString(b, u)
	}
	return string(b)
}
