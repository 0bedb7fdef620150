// Package queue faces the clock. It knows what is due, who may go now, what an
// outcome means, and when a sender has to be told.
//
// It owns the lanes (one for each upstream name, with its sessions, its
// breaker, its rates, its pace and its sender hold-offs), the retry times, and
// when a notification is due. What an answer means stands in queue/verdict, the
// text of a notification in queue/notice. What is on disk belongs to spool, what
// is on the wire to relay: the queue sees facts ([spool.Outcome]) and writes
// decisions ([spool.Settlement]).
//
// It never parses a reply line, never opens a connection, never keeps a body
// in memory, and never lets go of a recipient other than by a durable
// settlement: delivered, bounced with a notification that is durable before,
// or removed by a named operator. Whatever it does not understand is temporary.
//
// A lane decides by values that have no lock (laneState); its own goroutine asks
// the store what is due, ahead of its sessions. What is named …Locked is called
// while the mutex of its type is locked.
//
// In the order in which a message meets them: [Queue.Create], lane.manage,
// lane.claim, [Feed.Next], [Feed.Settle], [verdict.Of], Queue.conclude,
// Queue.write, Queue.sweep.
package queue
