package spool

import "time"

// Query selects shares. What is set has to hold; the zero Query selects all.
type Query struct {
	Upstream string // they are to be tried next with it
	Held     bool   // they are on hold
	Choice   bool   // they have more than one upstream to go by
	Age      *Age   // nil: whatever their age
	After    ID     // they are of messages that were accepted after it
}

// Age selects shares that time asks something for: those of which any of this
// is true. A zero time asks for nothing.
type Age struct {
	Begun    time.Time // it lies behind Summary.Begins
	Unwarned time.Time // so does it, and no delay notification was made
	Deadline time.Time // their deadline of RFC 2852 lies before it
	DueAfter time.Time // due after it, and after its NotBefore
	Kept     bool      // on hold because they failed
}
