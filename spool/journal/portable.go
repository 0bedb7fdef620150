package journal

import "postern/spool"

// EncodeEnvelope writes env as the record of a message has it, for a store that
// keeps envelopes elsewhere. size is that of the content, in bytes, behind the
// Prefix. ErrInvalid.
func EncodeEnvelope(env *spool.Envelope, size int64) ([]byte, error) {
	shares, of := split(env.Recipients)
	if err := check(env, shares); err != nil {
		return nil, err
	}
	return appendEnvelope(nil, env, size, shares, of, besides{}), nil
}

// DecodeEnvelope reads what EncodeEnvelope wrote. ErrDamaged, also where a newer
// version wrote it.
func DecodeEnvelope(b []byte) (*spool.Envelope, error) {
	c := cursor{rest: string(b)}
	m := readEnvelope(&c)
	if err := c.fault("envelope"); err != nil {
		return nil, err
	}
	return m.env, nil
}

// Turn is a number for whoever takes turns with others at an upstream: the
// user, or an address with its reverse-path. It fits 32 bits.
func Turn(env *spool.Envelope) uint32 { return turnOf(env) }
