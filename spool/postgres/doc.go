// Package postgres keeps messages in a PostgreSQL database (15 or later), for
// several relays that share one queue. It implements spool.Store.
//
// A relay claims what goes by an upstream under a lease of that lane, and only
// one relay has it. The lease is by the database's clock. What fences a relay
// that has lost it is the row of the share: whoever takes a lane over ends all
// claims in it in the same transaction, so that nothing that was claimed before
// changes anything any more.
//
// Whatever was committed here is as durable as the database makes a commit:
// synchronous_commit and synchronous_standby_names decide what survives the loss
// of its machine.
package postgres
