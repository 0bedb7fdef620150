// Package origin shares what a server has among those who ask for it: places,
// turns, memory, messages a minute, lines of the log, and patience with wrong
// passwords.
//
// An origin is whoever can be told apart at no cost to others: an address, an
// IPv6 network of 64 bits, or of 48 where something is shared out (Key.Wide), a
// user of this machine, a user who has signed in. Whoever takes most loses
// first, so that nobody can keep an ordinary client out by asking more often.
//
// It knows no connection and no message, writes nothing and tells nobody. All
// its tables are bounded, and all its types may be used concurrently.
package origin
