// Package signin faces an upstream that wants to know who we are: it chooses
// a SASL mechanism and carries out AUTH (RFC 4954).
//
// It owns the table of mechanisms and the loop of challenges and responses.
// It never opens a connection, never reads a configuration file, never shows
// a secret, and never believes in a success that it has not seen: only a 235
// ends well, and, where the mechanism proves the server too, only after that
// proof.
package signin
