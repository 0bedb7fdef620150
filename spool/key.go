package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Key makes a message one that is taken once: while a key is remembered, no
// second message with its Name is committed, whatever has become of the first.
type Key struct {
	Name KeyName
	// Digest is that of what was handed in, for a sender who wants to be told
	// that it used the key for something else; 0: it is not compared.
	Digest uint64
	// Until is when the key is forgotten, and may be used again. It is recorded
	// in the same commit as the message, for as long as that.
	Until time.Time
	// Share says with whom this key shares the room for keys, see ErrManyKeys.
	Share uint32
}

// KeyName names a key among those of all senders. The zero KeyName names none.
type KeyName [16]byte

// NameKey is the name of a key that a sender chose. scope is who the sender is,
// so that nobody meets or finds out the keys of somebody else. Nothing leads
// back from a name to the two.
func NameKey(scope, key string) (n KeyName) {
	h := sha256.New()
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(scope)))
	h.Write(size[:])
	h.Write([]byte(scope))
	h.Write([]byte(key))
	copy(n[:], h.Sum(nil))
	return n
}

// Repeated is the error that a key is remembered: nothing was accepted now,
// since it was before. It matches ErrRepeated.
type Repeated struct {
	ID   ID   // of the first message, which may be gone by now
	Same bool // what was handed in is the same, or was not to be compared
}

func (e *Repeated) Error() string { return fmt.Sprintf("%v, as %s", ErrRepeated, e.ID) }

// Is makes it match ErrRepeated.
func (e *Repeated) Is(target error) bool { return target == ErrRepeated }

// Again is what a second use of the key comes to, by what is remembered of the
// first.
func (k *Key) Again(first ID, digest uint64) *Repeated {
	return &Repeated{ID: first, Same: k.Digest == 0 || digest == 0 || k.Digest == digest}
}
