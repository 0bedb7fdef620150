// Package upstream faces the servers that mail is handed on to: it is the
// client side of SMTP.
//
// A session is one connection. Deliver opens it (connect, TLS, sign-in), then
// pulls messages from a feed and carries out one transaction after the other,
// pipelined, and chained over the final dot where the upstream allows it
// (RFC 2920). Whatever comes back is reported as facts, one outcome for each
// recipient.
//
// It owns the dialogue and its limits: every wait has a deadline, every reply
// a size, every message a final dot only after all of its bytes. It never
// decides what an outcome means for a message, never retries, never keeps a
// body in memory, never sends a password where it can be read along, never
// falls back behind TLS that "opportunistic" has seen, and never uses a
// connection again on which something happened that it does not understand.
//
// Reading order: Dialer.Deliver, open, session.approach, session.run,
// transaction, session.converse, session.content, session.conclude.
package upstream
