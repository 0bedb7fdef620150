package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postern/spool"
)

// FuzzRecord decodes foreign bytes as each kind of record, as an index, and
// as a whole segment: nothing may panic, and what decodes has to be the same
// after it was encoded again.
func FuzzRecord(f *testing.F) {
	env := &spool.Envelope{From: "a@b", Accepted: time.Unix(1, 2), DeliverBy: &spool.DeliverBy{Deadline: time.Unix(3, 4)},
		Recipients: []spool.Recipient{{Address: "c@d", Upstreams: []string{"x", "y"}}, {Address: "e@f", Upstreams: []string{"z"}}}}
	shares, of := split(env.Recipients)
	meta := appendEnvelope(nil, env, 10, shares, of)
	snap := snapshot{shares: []state{{attempts: 1}, {held: true}}, fates: []fate{{recipient: 1, status: spool.Bounced, tried: true, outcome: spool.Outcome{Text: "t"}}}}
	f.Add(recMessage, meta)
	f.Add(recMoved, appendMoved(nil, meta, &snap))
	f.Add(recSettle, appendChange(nil, recSettle, &change{share: 1, prev: place{1, 2}, fates: snap.fates}))
	f.Add(recAttempt, appendChange(nil, recAttempt, &change{state: state{attempts: 3, due: 5}}))
	f.Add(recDone, []byte{})
	f.Fuzz(func(t *testing.T, kind byte, meta []byte) {
		h := header{kind: kind, id: 7, metaLen: uint32(len(meta)), flags: flagBig}
		ev, ok := toEvent(&h, place{1, segmentStart}, string(meta))
		if ok {
			indexed(t, ev)
		}
		if _, snap, of, err := decodeMeta(kind, string(meta)); err == nil && snap == nil {
			c := cursor{rest: string(meta)}
			env, br, _ := readEnvelope(&c)
			again, _, _, err := decodeMeta(kind, string(appendEnvelope(nil, env, br.size, br.shares, of)))
			if err != nil || !reflect.DeepEqual(again, env) {
				t.Fatalf("%v\n%+v\n%+v", err, again, env)
			}
		}
		scanned(t, meta)
	})
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
			got.brief.size != ev.brief.size || got.brief.sender != ev.brief.sender || len(got.brief.shares) != len(ev.brief.shares) {
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
	env := &spool.Envelope{From: "a@b", Accepted: time.Unix(1, 2), DeliverBy: &spool.DeliverBy{Deadline: time.Unix(3, 4)},
		Recipients: []spool.Recipient{{Address: "c@d", Upstreams: []string{"x", "y"}}, {Address: "e@f", Upstreams: []string{"z"}}, {Address: "g@h", Upstreams: []string{"z"}}}}
	shares, of := split(env.Recipients)
	meta := appendEnvelope(nil, env, 10, shares, of)
	snap := snapshot{shares: []state{{attempts: 1}, {held: true}}, fates: []fate{{recipient: 1, status: spool.Bounced, tried: true, outcome: spool.Outcome{Text: "t"}}}}
	w := newIndexWriter()
	for i, r := range []struct {
		kind byte
		meta []byte
	}{
		{recMessage, meta}, {recMoved, appendMoved(nil, meta, &snap)}, {recDone, nil},
		{recSettle, appendChange(nil, recSettle, &change{share: 1, prev: place{1, 2}, fates: snap.fates})},
		{recAttempt, appendChange(nil, recAttempt, &change{state: state{attempts: 3, due: 5}})},
	} {
		h := header{kind: r.kind, id: spool.ID(7 + i), metaLen: uint32(len(r.meta)), flags: flagBig}
		ev, ok := toEvent(&h, place{1, uint32(segmentStart + 100*i)}, string(r.meta))
		if !ok {
			f.Fatalf("record %d is none", r.kind)
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
