package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/spool"
)

// sample is an envelope, a snapshot and a settlement of another message.
func sample() (*spool.Envelope, *snapshot, *settles) {
	env := &spool.Envelope{From: "a@b", Accepted: time.Unix(1, 2), DeliverBy: &spool.DeliverBy{Deadline: time.Unix(3, 4)},
		Recipients: []spool.Recipient{{Address: "c@d", Upstreams: []string{"x", "y"}}, {Address: "e@f", Upstreams: []string{"z"}}, {Address: "g@h", Upstreams: []string{"z"}}}}
	results := []result{{recipient: 1, status: spool.Bounced, tried: true, outcome: spool.Outcome{Text: "t"}}}
	snap := &snapshot{shares: []state{{attempts: 1}, {held: true}}, results: results}
	return env, snap, &settles{id: 5, changes: []change{{share: 1, prev: place{1, 2}, results: results}, {share: 2}}}
}

// sampleRecord is a record of each type, with fields and without.
type sampleRecord struct {
	kind byte
	meta []byte
}

func sampleRecords() []sampleRecord {
	env, snap, set := sample()
	shares, of := split(env.Recipients)
	meta := appendEnvelope(nil, env, 10, shares, of, besides{})
	signed := *env
	signed.Prefix = []byte("Signature: x\r\n")
	signed.Key = &spool.Key{Name: spool.KeyName{1}, Digest: 2, Until: time.Unix(3, 4), Share: 5}
	signed.NotBefore, signed.Storm = time.Unix(9, 9), 1<<63+9
	signed.Recipients = slices.Clone(env.Recipients)
	signed.Recipients[0].Redirected, signed.Recipients[2].Redirected = true, true
	fields := appendEnvelope(nil, &signed, 10, shares, of, besides{settles: set})
	keys := appendRecordedKeys([]byte{metaVersion}, []recordedKey{{spool.KeyName{1}, keyEntry{id: 2, digest: 3, until: 4, share: 5}}, {spool.KeyName{6}, keyEntry{id: 7}}})
	list := []sampleRecord{
		{recMessage, meta}, {recMessage, fields}, {recMessage, withFields(meta, 12, "ignored", 64, "")},
		{recMessage, appendEnvelope(nil, env, 10, shares, of, besides{stood: snap})},
		{recMoved, appendMoved(nil, meta, snap)}, {recMoved, appendMoved(nil, carried(string(fields), len(meta)-1), snap)},
		{recSettle, appendChange(nil, recSettle, &set.changes[0])},
		{recAttempt, appendChange(nil, recAttempt, &change{state: state{attempts: 3, due: 5}})},
		{recDot, appendChange(nil, recDot, &change{state: state{attempts: 3, due: 5, inDoubt: true}})},
		{recDone, []byte{}}, {recKeys, append(keys, 0)},
	}
	for _, r := range list {
		switch {
		case r.kind == recMessage && len(r.meta) > len(meta):
		case r.kind == recMoved:
			old := version1(appendMoved(nil, version1(meta), snap))
			old[0] = byte(len(meta) - 1)
			old[4+len(meta)-1] = 1
			list = append(list, sampleRecord{recMoved, old})
		case r.kind != recDone:
			list = append(list, sampleRecord{r.kind, version1(r.meta)})
		}
	}
	return list
}

// version1 is a meta part without fields as version 1 wrote it.
func version1(meta []byte) []byte {
	old := slices.Clone(meta[:len(meta)-1])
	old[0] = 1
	return old
}

// withFields is a meta part with these fields, type and value, in place of none.
func withFields(meta []byte, fields ...any) []byte {
	var area []byte
	for i := 0; i < len(fields); i += 2 {
		area = putString(putUint(area, uint64(fields[i].(int))), fields[i+1].(string))
	}
	return append(putUint(slices.Clone(meta[:len(meta)-1]), uint64(len(area))), area...)
}

// FuzzRecord decodes foreign bytes as each kind of record, as an index, and
// as a whole segment: nothing may panic, and what decodes has to be the same
// after it was encoded again, or copied forward.
func FuzzRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		h := header{kind: r.kind, id: 7, metaLen: uint32(len(r.meta)), flags: flagBig}
		if _, err := toEvent(&h, place{1, segmentStart}, string(r.meta)); err != nil {
			f.Fatalf("type %d, %q: %v", r.kind, r.meta, err)
		}
		f.Add(r.kind, r.meta)
	}
	f.Fuzz(func(t *testing.T, kind byte, meta []byte) {
		h := header{kind: kind, id: 7, metaLen: uint32(len(meta)), flags: flagBig}
		if ev, err := toEvent(&h, place{1, segmentStart}, string(meta)); err == nil {
			indexed(t, ev)
		}
		if m, err := decodeMeta(kind, string(meta)); err == nil {
			again(t, kind, string(meta), &m)
		}
		scanned(t, meta)
	})
}

// again encodes a message once more, and copies it forward.
func again(t *testing.T, kind byte, meta string, m *message) {
	if kind == recMoved {
		meta, _, _ = cutMoved(meta)
	}
	stood := m.snap
	if kind == recMoved {
		stood = nil
	}
	for written, set := range map[string]*settles{
		string(appendEnvelope(nil, m.env, m.brief.size, m.brief.shares, m.of, besides{m.settles, stood})): m.settles,
		string(carried(meta, m.fields)): nil,
	} {
		got, err := decodeMeta(recMessage, written)
		if m.env.DeliverBy == nil {
			got.brief.deadline = m.brief.deadline // it says nothing without its flag
		}
		if err != nil || !reflect.DeepEqual(got.env, m.env) || !reflect.DeepEqual(got.settles, set) ||
			!reflect.DeepEqual(got.brief, m.brief) || !slices.Equal(got.of, m.of) {
			t.Fatalf("%v\n%+v\n%+v", err, got, m)
		}
	}
	if before, after := ignored(meta, m.fields), ignored(string(carried(meta, m.fields)), m.fields); before != after {
		t.Fatalf("of the fields %q are left %q", before, after)
	}
}

// ignored lists the unknown fields of an envelope.
func ignored(envelope string, fields int) (list string) {
	if fields == len(envelope) {
		return "" // version 1
	}
	c := cursor{rest: envelope[fields:]}
	c.area(func(kind uint64, value string) bool {
		if kind%2 == 0 {
			list += fmt.Sprintf("%d=%q ", kind, value)
		}
		return true
	})
	return list
}

// TestFieldsOfANewerVersion: a field of an even type may be unknown, one of an
// odd type may not, and nor may a version.
func TestFieldsOfANewerVersion(t *testing.T) {
	env, snap, set := sample()
	shares, of := split(env.Recipients)
	meta := appendEnvelope(nil, env, 10, shares, of, besides{})
	settle := appendChange(nil, recSettle, &set.changes[0])
	newer := func(meta []byte) []byte { return append([]byte{3}, meta[1:]...) }
	for _, c := range []struct {
		kind byte
		meta []byte
		want string // part of the error; empty: none
	}{
		{recMessage, withFields(meta, 6, "x"), ""},
		{recMessage, withFields(meta, 9, "x"), "field of type 9"},
		{recMessage, withFields(meta, 12, "x", 1<<20+1, ""), "field of type 1048577"},
		{recMessage, withFields(meta, 6, "x", 2, "x"), "not known to this version"}, // not in order
		{recMessage, withFields(meta, 2, "x", 2, "x"), "not known to this version"}, // twice
		{recMessage, withFields(meta, 0, "x"), "not known to this version"},
		{recMessage, withFields(meta, fieldPrefix, ""), "not known to this version"},
		{recMessage, withFields(meta, fieldKey, strings.Repeat("x", fieldSizeKey)), ""},
		{recMessage, withFields(meta, fieldKey, strings.Repeat("x", fieldSizeKey-1)), "not known to this version"},
		{recMessage, withFields(meta, fieldKey, strings.Repeat("x", fieldSizeKey+1)), "not known to this version"},
		{recMessage, withFields(meta, fieldKey, strings.Repeat("\x00", fieldSizeKey)), "not known to this version"},
		{recMessage, withFields(meta, fieldSettles, "\x01\x00\x00\x00\x00\x00\x00\x00"+string(withFields(settle, 9, ""))), "field of type 9"},
		{recMessage, withFields(meta, fieldInstead, "\x00\x02"), ""},
		{recMessage, withFields(meta, fieldInstead, "\x02\x00"), "not known to this version"},
		{recMessage, withFields(meta, fieldInstead, "\x01\x01"), "not known to this version"},
		{recMessage, withFields(meta, fieldInstead, "\x03"), "not known to this version"},
		{recMessage, withFields(meta, fieldInstead, "\x80"), "not known to this version"},
		{recMessage, withFields(meta, fieldInstead, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "not known to this version"},
		{recMessage, withFields(meta, fieldNotBefore, string(putInt64(nil, 2e9))), ""},
		{recMessage, withFields(meta, fieldNotBefore, "x"), "not known to this version"},
		{recMessage, withFields(meta, fieldNotBefore, string(putInt64(nil, 2e9))+"x"), "not known to this version"},
		{recMessage, withFields(meta, fieldNotBefore, string(putInt64(nil, 1e9+2))), "not known to this version"}, // no later than it was accepted
		{recMessage, withFields(meta, fieldStorm, string(putInt64(nil, 7))), ""},
		{recMessage, withFields(meta, fieldStorm, string(putInt64(nil, 0))), "not known to this version"},
		{recMessage, withFields(meta, fieldStorm, "x"), "not known to this version"},
		{recMessage, newer(meta), "a newer version wrote it"},
		{recMoved, appendMoved(nil, withFields(meta, 9, "x"), snap), "field of type 9"},
		{recMoved, withFields(appendMoved(nil, meta, snap), 9, "x"), "field of type 9"},
		{recMoved, withFields(appendMoved(nil, meta, snap), 6, "x"), ""},
		{recSettle, withFields(settle, 9, "x"), "field of type 9"},
		{recSettle, withFields(settle, 6, "x"), ""},
		{recSettle, newer(settle), "a newer version wrote it"},
		{recEnd, nil, "not known to this version"},
	} {
		h := header{kind: c.kind, id: 7, metaLen: uint32(len(c.meta)), flags: flagBig}
		_, err := toEvent(&h, place{1, segmentStart}, string(c.meta))
		if err == nil && c.want != "" || err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("type %d, %q: %v", c.kind, c.meta, err)
		}
		if _, err := decodeMeta(c.kind, string(c.meta)); err != nil && !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("type %d, %q: %v", c.kind, c.meta, err)
		}
	}
}

// indexed writes an event to an index and reads it back.
func indexed(t *testing.T, ev *event) {
	g := &segment{num: 1, mark: 3}
	w := newIndexWriter()
	w.add(ev)
	n := 0
	end, ok := readIndex(w.finish(g, 99), g, func(got *event) {
		n++
		if got.kind != ev.kind || got.id != ev.id || got.at != ev.at || got.metaLen != ev.metaLen || len(got.shares) != len(ev.shares) ||
			got.brief.size != ev.brief.size || got.brief.prefix != ev.brief.prefix || got.other != ev.other || got.brief.sender != ev.brief.sender || len(got.brief.shares) != len(ev.brief.shares) {
			t.Fatalf("%+v became %+v", ev, got)
		}
		for i := range got.shares {
			if got.shares[i].state != ev.shares[i].state || len(got.shares[i].ended) != len(ev.shares[i].ended) {
				t.Fatalf("%+v became %+v", ev, got)
			}
		}
	})
	if !ok || end != 99 || n != 1 {
		t.Fatalf("index of %+v: %v %d %d", ev, ok, end, n)
	}
}

// scanned reads bytes as the records of a segment.
func scanned(t *testing.T, b []byte) {
	g := &segment{num: 1, mark: 0x0101010101010101, file: memory(append(make([]byte, segmentStart), b...))}
	sc := newScan(g, segmentStart+int64(len(b)))
	if err := sc.run(true, func(*event) {}); err != nil {
		t.Fatal(err)
	}
	readIndex(b, g, func(*event) {})
	decodeSegmentHead(b, 1)
}

// TestHeaderRoundTrip flips every bit of a header.
func TestHeaderRoundTrip(t *testing.T) {
	h := header{mark: 1, segment: 2, kind: recMessage, flags: flagBig, metaLen: 3, bodyLen: 4, id: 5, metaCRC: 6, bodyCRC: 7, durable: 8}
	var b [headerSize]byte
	h.encode(b[:])
	if got, ok := decodeHeader(b[:], 2, 1); !ok || got != h {
		t.Fatalf("%+v", got)
	}
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, ok := decodeHeader(b[:], 2, 1); ok {
				t.Errorf("flipped bit %d of byte %d was not found", bit, i)
			}
			b[i] ^= 1 << bit
		}
	}
}

// memory is a File that is read only.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m)) {
		return 0, os.ErrClosed
	}
	return copy(p, m[off:]), nil
}
func (memory) WriteVec([][]byte, int64) (int64, error) { return 0, os.ErrPermission }
func (memory) Sync() error                             { return nil }
func (memory) Truncate(int64) error                    { return nil }
func (memory) Allocate(int64) error                    { return nil }
func (m memory) Size() (int64, error)                  { return int64(len(m)), nil }
func (memory) WriteBehind(int64, int64)                {}
func (memory) Named() error                            { return nil }
func (memory) Close() error                            { return nil }

// TestNamesOfFiles tells the names of segments from others.
func TestNamesOfFiles(t *testing.T) {
	for name, want := range map[string]bool{"0000000001.seg": true, "4294967295.seg": true, "0000000000.seg": false,
		"1.seg": false, "0000000001.idx": false, "4294967296.seg": false, "+000000001.seg": false, "00000000001.seg": false} {
		if _, ok := parseNumber(name, segmentSuffix); ok != want {
			t.Errorf("%s: %v", name, ok)
		}
	}
	if bodyName(1) != filepath.ToSlash("big/0000000000001.eml") {
		t.Error(bodyName(1))
	}
}

// FuzzIndex reads foreign bytes as an index whose head and checksum are right:
// nothing may panic or take more memory than the bytes explain, and only a
// whole index counts.
func FuzzIndex(f *testing.F) {
	g := &segment{num: 1, mark: 3}
	w := newIndexWriter()
	for i, r := range sampleRecords() {
		h := header{kind: r.kind, id: spool.ID(7 + i), metaLen: uint32(len(r.meta)), flags: flagBig}
		ev, err := toEvent(&h, place{1, uint32(segmentStart + 100*i)}, string(r.meta))
		if err != nil {
			f.Fatal(err)
		}
		w.add(ev)
	}
	f.Add(w.n, w.b[indexHead:])
	f.Add(uint32(1<<32-1), []byte{recDone, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, records uint32, content []byte) {
		w := &indexWriter{b: append(make([]byte, indexHead), content...), n: records}
		found := uint32(0)
		_, whole := readIndex(w.finish(g, 99), g, func(ev *event) {
			found++
			for _, sh := range ev.brief.shares {
				if len(sh.upstreams) == 0 {
					t.Fatalf("a share without upstreams: %+v", ev)
				}
			}
		})
		if whole && found != records {
			t.Fatalf("%d of %d records", found, records)
		}
	})
}

func TestTurnOf(t *testing.T) {
	at := func(peer, from string) *spool.Envelope { return &spool.Envelope{Peer: peer, From: from} }
	for _, c := range []struct {
		a, b *spool.Envelope
		same bool
	}{
		{at("127.0.0.1:1", "a@x"), at("127.0.0.1:2", "a@x"), true},
		{at("127.0.0.1:1", "a@x"), at("127.0.0.1:1", "b@x"), false},
		{at("127.0.0.1:1", "a@x"), at("192.0.2.1:1", "a@x"), false},
		{at("[2001:db8::1]:1", "a@x"), at("[2001:db8::2]:1", "a@x"), true},
		{at("[2001:db8::1]:1", "a@x"), at("[2001:db8:0:1::1]:1", "a@x"), false},
		{at("", ""), at("", ""), true}, // our own bounces
		{&spool.Envelope{User: "ann", From: "a@x"}, &spool.Envelope{User: "ann", Peer: "192.0.2.1:1"}, true},
		{&spool.Envelope{User: "ann"}, &spool.Envelope{User: "bob"}, false},
		{&spool.Envelope{User: "ann"}, &spool.Envelope{UnixUser: "ann"}, false},
		{&spool.Envelope{UnixUser: "ann", Peer: "127.0.0.1:1"}, &spool.Envelope{UnixUser: "ann", Peer: "unix:ann"}, true},
		{&spool.Envelope{User: "ann"}, at("", "user ann"), false},
	} {
		if (turnOf(c.a) == turnOf(c.b)) != c.same {
			t.Errorf("%+v and %+v: same is %t", c.a, c.b, !c.same)
		}
	}
	for i := range 100_000 {
		if n := turnOf(at("192.0.2.1:1", fmt.Sprint(i))); n >= 4096 {
			t.Fatalf("a stranger has number %d", n)
		}
	}
}
