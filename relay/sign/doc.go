// Package sign signs messages for DKIM (RFC 6376, RFC 8463). The work itself is
// that of emersion's go-msgauth; this package decides which fields are covered,
// with which keys, how much is signed at a time, and remembers what was signed.
//
// It faces nobody. It never sees where a message goes, changes nothing of it,
// and shows no key.
//
// Reading order: New, Keys.For, Bench.Sign, Domain.sign.
package sign
