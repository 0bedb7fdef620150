// Package route decides which upstreams a message takes: it turns the routes
// of a configuration into a Table and asks it, per recipient, for the first
// route that matches. It also tells why (Explain).
//
// It faces nobody: every answer is a function of the table and the question.
// It opens no connection, keeps no state, and never invents an upstream.
//
// Reading order: New, Table.Recipient, rule.admits, index.candidates.
package route
