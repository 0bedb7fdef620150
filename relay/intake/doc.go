// Package intake faces the programs that hand in mail. It owns the listeners,
// the SMTP dialogue with each client, and the one decision that matters: when
// to answer 250 to the end of DATA, which is after Draft.Commit returned nil
// and never before.
//
// It has two layers. The engine (Server, conn) faces hostile bytes: it reads,
// keeps the state of the session, parses strictly, limits everything, and
// drives a go-smtp Session. The door (session in door.go) is that Session: it
// asks the routes, adds the trace fields, and hands the content to the spool.
// Because the seam is go-smtp's, its stock server can drive the same sessions
// (Stock), which the differential tests do.
//
// A message meets, in this order: Server.Apply (listen), Server.admit (limits),
// conn.serve (the loop), commands (the state table), session.Mail and
// session.Rcpt (policy), content.next (one end of data), letter.Write (header
// and body), session.Data (commit, 250).
//
// The package never looks at how mail is delivered, never logs (Events), and
// never lets local detail onto the wire.
package intake
