package spool

import "time"

// Usage is how much the spool holds. Sizes are in bytes.
type Usage struct {
	Disk        int64 // occupied by segments and bodies
	Live        int64 // of that, by messages that are still owed
	Segments    int
	Messages    int
	Shares      int
	Kept        int   // of them, on hold because they failed; also while an operation on them is under way
	Free        int64 // what the disk has left; -1: unknown
	MaxSize     int64 // as configured; 0: no limit
	MinFree     int64 // as configured
	MaxMessages int   // as configured; 0: no limit
	Full        bool  // no more messages are taken
	SetAside    int   // files under bad/
	Failing     error // why nothing can be written at present; nil: it can
}

// TallyStep is how finely a Tally tells what is due from what is deferred.
const TallyStep = 10 * time.Second

// Tally counts the shares in a spool by what they are doing. Each is counted
// once.
type Tally struct {
	Due      int // their time has come, or comes within the same TallyStep of Unix time
	Deferred int // it comes later
	Held     int
	Claimed  int
}
