// Package intake faces the programs that hand in mail by SMTP. It owns the
// listeners, the dialogue with each client, TLS and sign-in, and the moment of
// the 250 to the end of DATA, which is after Message.Commit returned nil and
// never before.
//
// It is a protocol engine: it reads hostile bytes, keeps the state of the
// session, parses strictly and limits everything. What becomes of a message is
// not its business: it describes the client and the envelope to
// relay/submission, hands the content over, and makes a reply of each refusal
// (replyOf). It alone knows where the content ended, and commits there and
// nowhere else (receive).
//
// To be read in the order in which a message meets it: Server.Apply (listen),
// Server.admit (limits), conn.serve (the loop), commands (the state table),
// conn.mail and conn.rcpt, content.next (one end of data), conn.receive (commit,
// 250).
//
// The differential tests hand mail to the same submission under go-smtp's own
// server, and send the same bytes to both.
//
// The package never looks at how mail is delivered, never logs (Event), and
// never lets local detail onto the wire.
package intake
