package storetest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"postern/spool"
)

// memKey is a key and the first message with it.
type memKey struct {
	spool.Key
	first spool.ID
}

// Known implements spool.Store.
func (m *Memory) Known(ctx context.Context, k *spool.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known(k)
}

// known is Known. mu is held.
func (s *shared) known(k *spool.Key) error {
	share := 0
	for name, old := range s.keys {
		switch {
		case !old.Until.After(time.Now()):
			delete(s.keys, name)
		case name == k.Name:
			return k.Again(old.first, old.Digest)
		case old.Share == k.Share:
			share++
		}
	}
	if s.most > 0 && share >= s.most-len(s.keys) {
		return spool.ErrManyKeys
	}
	return nil
}

// LimitKeys makes Commit answer ErrManyKeys where a share has as many keys as
// are still free of so many; 0: never.
func (m *Memory) LimitKeys(most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most = most
}

// key is one that the sender chose, for an hour.
func (b *bench) key(name string, share uint32) *spool.Key {
	return &spool.Key{Name: spool.NameKey("sender", name), Share: share, Until: b.now.Add(time.Hour)}
}

// commit hands in a message with a key.
func (b *bench) commit(s spool.Store, k *spool.Key) (spool.ID, error) {
	b.t.Helper()
	d, err := s.Create(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	io.WriteString(d, "Subject: x\r\n\r\nhello\r\n")
	env := b.envelope([]string{"up"})
	env.Key = k
	return d.ID(), d.Commit(b.t.Context(), env)
}

// first commits a message with a key that nobody has used.
func (b *bench) first(k *spool.Key) spool.ID {
	b.t.Helper()
	id, err := b.commit(b.Store, k)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// repeated wants a key to be known, by Known and by Commit.
func (b *bench) repeated(s spool.Store, k *spool.Key, first spool.ID, same bool) {
	b.t.Helper()
	_, err := b.commit(s, k)
	for _, err := range []error{err, s.Known(b.t.Context(), k)} {
		var r *spool.Repeated
		if !errors.As(err, &r) || !errors.Is(err, spool.ErrRepeated) || *r != (spool.Repeated{ID: first, Same: same}) {
			b.t.Errorf("%v, want a repetition of %v, the same: %t", err, first, same)
		}
	}
}

// keys keep a message from being accepted twice, also when it is gone and
// after a restart.
func keys(t *testing.T, b *bench) {
	_, err := b.commit(b.Store, &spool.Key{Until: b.now.Add(time.Hour)})
	b.want(err, spool.ErrInvalid)
	k, digested := b.key("one", 0), b.key("two", 0)
	digested.Digest = 7
	b.want(b.Store.Known(t.Context(), k), nil)
	id, other := b.first(k), b.first(digested)
	changed := *digested
	changed.Digest = 8
	look := func() {
		t.Helper()
		b.repeated(b.Store, k, id, true)
		b.repeated(b.Store, digested, other, true)
		b.repeated(b.Store, &changed, other, false)
		changed := *k
		changed.Digest = 8
		b.repeated(b.Store, &changed, id, true) // there is nothing to compare with
		if b.Other != nil {
			b.repeated(b.Other, k, id, true)
		}
		b.want(b.Store.Known(t.Context(), b.key("three", 0)), nil)
	}
	look()
	if d := b.claim("up", 0); d.Envelope.Key == nil || d.Envelope.Key.Name != k.Name || d.Envelope.Key.Digest != 0 || !d.Envelope.Key.Until.Equal(k.Until) {
		t.Errorf("%+v", d.Envelope.Key)
	} else {
		b.settle(d, spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	}
	look()
	b.settle(b.claim("up", 0), spool.Settlement{Outcomes: []spool.Outcome{accepted}})
	look()
	b.Store = b.Restart()
	look()
	if n := len(b.found(spool.Query{})); n != 0 {
		t.Errorf("%d messages are there", n)
	}
}

// keysAtOnce are used by several at the same moment: one of them wins.
func keysAtOnce(t *testing.T, b *bench) {
	stores := []spool.Store{b.Store, b.Store}
	if b.Other != nil {
		stores[1] = b.Other
	}
	for round := range 5 {
		k := b.key(string(rune('a'+round)), 0)
		var mu sync.Mutex
		var won []spool.ID
		var lost []spool.ID
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				id, err := b.commit(stores[n%2], k)
				mu.Lock()
				defer mu.Unlock()
				var r *spool.Repeated
				switch {
				case err == nil:
					won = append(won, id)
				case errors.As(err, &r):
					lost = append(lost, r.ID)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(won) != 1 || len(lost) != 7 {
			t.Fatalf("%v have won, %v are repeated", won, lost)
		}
		for _, id := range lost {
			if id != won[0] {
				t.Errorf("a repetition of %v, want %v", id, won[0])
			}
		}
	}
	if n := len(b.found(spool.Query{})); n != 5 {
		t.Errorf("%d messages", n)
	}
}

// keysEnd at their time, and can then be used again.
func keysEnd(t *testing.T, b *bench) {
	k := b.key("one", 0)
	k.Until = time.Now().Add(time.Second)
	id := b.first(k)
	b.repeated(b.Store, k, id, true)
	b.eventually(func() error { return b.Store.Known(t.Context(), k) })
	k.Until = time.Now().Add(time.Hour)
	again := b.first(k)
	b.repeated(b.Store, k, again, true)
	b.Store = b.Restart()
	b.repeated(b.Store, k, again, true)
	if n := len(b.found(spool.Query{})); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// manyKeys are refused before any is forgotten, and no share takes the room of
// all others.
func manyKeys(t *testing.T, b *bench) {
	n := 0
	for ; n < b.Keys; n++ {
		if _, err := b.commit(b.Store, b.key(string(rune('A'+n)), 1)); err != nil {
			b.want(err, spool.ErrManyKeys)
			break
		}
	}
	if n == 0 || n == b.Keys {
		t.Fatalf("one share has %d of %d keys", n, b.Keys)
	}
	b.want(b.Store.Known(t.Context(), b.key("more", 1)), spool.ErrManyKeys)
	other := b.key("other", 2)
	id := b.first(other)
	b.put(b.envelope([]string{"up"})) // one without key
	b.repeated(b.Store, other, id, true)
	if err := b.Store.Known(t.Context(), b.key("A", 1)); !errors.Is(err, spool.ErrRepeated) {
		t.Errorf("the first key was forgotten: %v", err)
	}
}

// keysFail with their message: one that was not accepted is not remembered.
func keysFail(t *testing.T, b *bench) {
	k := b.key("one", 0)
	d, err := b.Store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.Away(true)
	env := b.envelope([]string{"up"})
	env.Key = k
	if d.Commit(t.Context(), env) == nil {
		t.Error("accepted by a store that can't write")
	}
	b.Away(false)
	var id spool.ID
	b.eventually(func() (err error) {
		if d, err := b.Store.Create(t.Context()); err == nil {
			d.Discard()
		} else {
			return err
		}
		id, err = b.commit(b.Store, k)
		return err
	})
	b.Store = b.Restart()
	b.repeated(b.Store, k, id, true)
	if n := len(b.found(spool.Query{})); n != 1 {
		t.Errorf("%d messages", n)
	}
}
