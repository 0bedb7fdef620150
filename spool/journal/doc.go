// Package journal keeps accepted messages and what became of them on a local
// disk, in a journal of segments with group commit, so that a message whose
// Commit returned nil survives the end of the process and of the machine. It is
// the spool.Store of one machine.
//
// It owns everything below its folder. It never opens a connection, and never
// deletes what it doesn't understand.
//
// To read it in the order in which a message meets it: Store.Create and
// draft.Commit (draft.go), Store.commitSome (commit.go), journal.write
// (journal.go), Store.Claim and Store.Settle (claim.go, settle.go),
// Store.reclaim (reclaim.go), Store.recover (recover.go). The layout on disk
// and every legal state of it stand in docs/spool-format.md.
package journal
