// Package compose makes a message from addresses, bodies and parts: its
// envelope, and its text as it goes to an SMTP server.
//
// It faces the programs that send mail. It owns how a message is written: the
// fields of its header, the names of its parts, their order and encoding. What
// it is given is foreign (a row of a table, a request): whatever could add a
// field, a recipient or a part, or hide something from a reader, is refused
// and named; nothing is repaired in silence, and nothing is left out.
//
// It knows no network, no templates and no address book, keeps no state but
// the files of a Shared, and never writes Bcc.
//
// Start with Message, then Compose, then Composed.WriteTo.
package compose
