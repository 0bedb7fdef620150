// Package submission is the only way in for mail. Whatever a message comes by
// (SMTP today), it ends here, and here it becomes ours: who may send as whom,
// which route takes each recipient, trace and required fields, Bcc, loops and
// NUL, repairs of the header, limits of a message, and the commit to the spool.
//
// A way in describes its Client and begins a message with an Envelope, adds
// recipients, writes the content and commits; what it gets is an ID. Whatever
// is not taken is a *Refusal, which says whether that is temporary, what may
// be told to the client, and what may not. The way in makes of it what its
// clients understand.
//
// To be read in the order in which a message meets it: Agent.Begin (the
// sender), Message.Add (recipients), Message.Write and open (the header is
// whole: what is in it, what is added), pass (the body), Message.Commit.
//
// The package knows no protocol: it parses no commands and no addresses, and
// knows of connections only whose they are. It never looks at how mail is
// delivered, and never logs (Event).
package submission
