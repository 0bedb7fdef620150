// Package directory faces an LDAP directory (RFC 4511): Active Directory, whose
// entries are the address lists of Exchange, or any that keeps people as RFC 2798
// has them. It finds people and groups by what somebody typed, and lists who is
// in a group.
//
// It owns the connections, the choice among several servers, the sign-in, the
// two schemas, and answers that it keeps for a while. It knows no books and no
// configuration file, never writes to a directory, never sends a password
// without TLS unless it is told to, and never says that somebody is unknown
// where it could not ask to the end.
//
// Whatever a directory sends is hostile: a message is bounded in size, depth
// and elements before the library reads it (frames), an answer in entries, text
// becomes one printable line, and an address that is none is passed over.
package directory
