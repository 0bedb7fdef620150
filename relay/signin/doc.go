// Package signin faces a server that wants to know who we are: it chooses a
// mechanism of SASL (RFC 4422) for an account and answers the challenges.
//
// It owns the table of mechanisms and the loop of challenges and responses. It
// knows no protocol: a Conn carries each step in the frames of SMTP, LDAP or
// another one, and says what an answer means.
//
// It never opens a connection, never reads a configuration file, never shows
// a secret, and never believes in a success that it has not seen: only an
// answer that accepts ends well, and, where the mechanism proves the server
// too, only after that proof.
package signin
