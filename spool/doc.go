// Package spool holds the words for mail that was accepted (ID, Envelope,
// Recipient, Outcome, Delivery, Settlement), and the contract of what keeps it:
// Store. A local disk keeps it in spool/journal.
//
// It never decides what an outcome means, and writes nothing anywhere.
package spool
