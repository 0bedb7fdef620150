package spool

import "time"

// Usage is how much the spool holds. Sizes are in bytes. Its JSON is what an
// administrator is told of it.
type Usage struct {
	Messages    int   `json:"messages"`
	Disk        int64 `json:"used_bytes"`     // occupied by segments and bodies
	Live        int64 `json:"live_bytes"`     // of that, by messages that are still owed
	Free        int64 `json:"free_bytes"`     // what the disk has left; -1: unknown
	MaxSize     int64 `json:"max_size_bytes"` // as configured; 0: no limit
	MinFree     int64 `json:"min_free_bytes"` // as configured
	MaxMessages int   `json:"max_messages"`   // as configured; 0: no limit
	Full        bool  `json:"full"`           // no more messages are taken
	SetAside    int   `json:"set_aside"`      // damaged and set aside, or, of a spool that is only read, to be set aside by a start
	Segments    int   `json:"-"`
	Shares      int   `json:"-"`
	Kept        int   `json:"-"` // of the shares, on hold because they failed; also while an operation on them is under way
	Failing     error `json:"-"` // why nothing can be written at present; nil: it can
}

// TallyStep is how finely a Tally tells what is due from what is deferred.
const TallyStep = 10 * time.Second

// Tally counts the shares in a spool by what they are doing. Each is counted
// once.
type Tally struct {
	Due      int // their time has come, or comes within the same TallyStep of Unix time
	Deferred int // it comes later, for another attempt
	// Scheduled: it comes later, and is their NotBefore.
	Scheduled int
	Held      int
	Claimed   int
}
