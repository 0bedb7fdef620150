// Package carddav reads the address books of a CardDAV server (RFC 6352): it
// finds them from one URL (RFC 6764), and then asks for what has changed
// (RFC 6578, or by ctag and etags).
//
// It faces a server that may be slow, wrong or hostile: what comes is bounded in
// bytes, depth, cards, redirects and time, half an answer is none, and the
// sign-in goes to no other site. It owns no cards: what it hears is handed on.
// It never writes to a server.
//
// To be read in this order: Client.Sync, Client.discover, Client.changes,
// Client.ask, parse.
package carddav
