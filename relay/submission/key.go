package submission

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strings"

	"postern/config/wire"
	"postern/spool"
)

// KeyField is the header field by which a message brings a key. It is taken out
// before the message is kept.
const KeyField = "Postern-Idempotency-Key"

// MaxKey is how long a key may be, in characters.
const MaxKey = 256

// Causes of refusals; test with errors.Is.
var (
	// ErrKeyBusy: a message with the same key is on its way in. This refusal is
	// temporary.
	ErrKeyBusy = errors.New("a message with this key is on its way in")
	// ErrKeyUsed: the key was used for something else before.
	ErrKeyUsed = errors.New("the key was used for something else")
)

var (
	badKey    = refuse(554, 6, 0, KeyField+" has to be 1 to 256 printable ASCII characters")
	twoKeys   = refuse(554, 6, 0, "message has more than one "+KeyField)
	keyOfWhom = refuse(451, 7, 0, "cannot tell whose key this is, since the connection was closed; with a sign-in or a unix socket it is known")
	keyBusy   = refuse(451, 7, 0, "a message with this idempotency key is on its way in, try again later").because(ErrKeyBusy)
	keyUsed   = refuse(554, 7, 0, "this idempotency key was used for something else").because(ErrKeyUsed)
)

// because is r with what the client is never told.
func (r *Refusal) because(cause error) *Refusal {
	r.Cause = cause
	return r
}

// isKey tells whether a key is well formed.
func isKey(key string) bool {
	if key == "" || len(key) > MaxKey {
		return false
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return false
		}
	}
	return true
}

// setKey makes a key that of the message. From then on it is not taken where
// one with the same key of the same client was.
func (m *Message) setKey(key string, digest [sha256.Size]byte) *Refusal {
	if !isKey(key) {
		return badKey
	}
	if m.policy.remember == 0 {
		return nil
	}
	scope, clear := m.client.scope()
	if !clear {
		return keyOfWhom
	}
	k := &spool.Key{Name: spool.NameKey(scope, key), Digest: binary.LittleEndian.Uint64(digest[:]), Share: m.client.share()}
	switch old := m.env.Key; {
	case old != nil && old.Name != k.Name:
		return twoKeys
	case old == nil:
		m.env.Key = k
	}
	return nil
}

// setKeyField is setKey by what the header has.
func (m *Message) setKeyField(f *fields) *Refusal {
	if f.keys > 1 {
		return twoKeys
	}
	return m.setKey(strings.TrimSpace(wire.Unfold(f.key)), [sha256.Size]byte{})
}

// repeats looks at what the store says of the key: a message that was taken
// before is no refusal, unless it was another one.
func (m *Message) repeats(err error) *Refusal {
	var r *spool.Repeated
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &r):
		return trouble(err)
	case !r.Same:
		return keyUsed
	}
	m.first = r.ID
	return nil
}

// beginKey sets the key of a message that has just begun, and looks whether one
// with it was taken before.
func (m *Message) beginKey(ctx context.Context, e *Envelope) *Refusal {
	if r := m.setKey(e.Key, e.Digest); r != nil || m.env.Key == nil {
		return r
	}
	if r := m.repeats(m.agent.accept.Known(ctx, m.env.Key)); r != nil || m.first != 0 {
		return r
	}
	if e.Loose {
		return nil // the commit lets one win
	}
	return m.reserve()
}

// reserve keeps others away from the key until the message ends, where its
// client wants the content to be compared: two at the same time can't be.
func (m *Message) reserve() *Refusal {
	a, k := m.agent, m.env.Key
	if k.Digest == 0 {
		return nil // the commit lets one win
	}
	a.keysMu.Lock()
	defer a.keysMu.Unlock()
	if _, busy := a.keys[k.Name]; busy {
		return keyBusy
	}
	a.keys[k.Name] = struct{}{}
	m.reserved = true
	return nil
}

func (m *Message) unreserve() {
	if m.reserved {
		m.reserved = false
		m.agent.keysMu.Lock()
		delete(m.agent.keys, m.env.Key.Name)
		m.agent.keysMu.Unlock()
	}
}

// again is Commit for a message that was taken before.
func (m *Message) again() (spool.ID, error) {
	m.err = ended
	m.end()
	m.tell(m.first)
	return m.first, nil
}

// scope is who the client is as far as its keys go: whoever Origin knows by a
// name, else its address at this way in. What one client has used says nothing
// to another. It is not clear where the client could have been somebody else
// at another time: its key would not be found again.
func (c *Client) scope() (scope string, clear bool) {
	if c.Token {
		return "token " + c.User, true
	}
	from := c.Origin()
	if from.Named() {
		return from.String(), true
	}
	return "at " + c.Listener + "\x00" + from.String(), !from.Unclear()
}

// share is with whom the client shares the room for keys.
func (c *Client) share() uint32 {
	h := fnv.New32a()
	h.Write([]byte(c.Origin().Wide().String()))
	return h.Sum32()
}
