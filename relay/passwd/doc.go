// Package passwd faces stored passwords: it makes them for the administrator
// (`postern passwd`) and checks clients' passwords against them.
//
// It owns three forms, each a single line without blanks: argon2id in the PHC
// form, bcrypt in the form of crypt(3), and SCRAM-SHA-256 verifiers in the
// form of RFC 5803. It never keeps a password, never prints one, and never
// tells how a check failed.
package passwd
