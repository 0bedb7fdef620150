package submission

import (
	"time"

	"postern/spool"
)

// Event is what an Agent tells of: *Accepted, *Refused, *AliasesRead or
// *AliasesKept. It is valid until
// the function that it is given to returns; that function is called by many
// goroutines at once and on the path of a message, so it must be quick.
type Event interface{ event() }

// Accepted is a message that is durable, and whose client is about to be told.
type Accepted struct {
	Client     *Client
	ID         spool.ID
	From       string // reverse-path
	Recipients int    // without Copies
	Copies     int    // for the administrator
	Archived   string // where in the folder of copies it is; empty: nowhere
	Size       int64  // bytes as the client sent them
	MessageID  string // with its angle brackets
	Took       time.Duration
	// Repeated: by its key, a message that was accepted before. ID is that of
	// the first; nothing was kept now.
	Repeated bool
	// Watched are the routes with an expect that have taken recipients of it;
	// empty where it is Repeated before its recipients are known.
	Watched []string
	// Storm is the name of the storm that it is part of, and for which it is on
	// hold; 0: of none.
	Storm   spool.ID
	Remark  string    // of whoever has handed it in; may be empty
	Written time.Time // when it was, where it lay in a folder; zero: it did not
}

// Refused is a message, or one recipient of it, that was not taken.
type Refused struct {
	Client  *Client
	Stage   Stage
	From    string // reverse-path
	Refusal *Refusal
}

// AliasesRead is a file of aliases that has changed and is in force.
type AliasesRead struct {
	File  string
	Names int // that have an alias now
}

// AliasesKept is a file of aliases that has changed and can't be used: what it
// said before stays in force.
type AliasesKept struct {
	File  string
	Names int // that have an alias
	Err   error
}

// Diverted are recipients of an accepted message that their route does not let
// mail go to.
type Diverted struct {
	Client  *Client
	ID      spool.ID // of the message; 0: a notice of ours that was not made
	From    string   // reverse-path
	Route   string
	Instead string // "redirect", "capture", "drop", or "refuse" for a notice or a copy
	To      []string
	Copy    bool // To were to get a copy for the administrator
}

func (*Diverted) event()    {}
func (*Accepted) event()    {}
func (*Refused) event()     {}
func (*AliasesRead) event() {}
func (*AliasesKept) event() {}

// Stage is the part of a message that was refused. Its text is that of the log
// and of the metrics: the SMTP command whose reply tells of it.
type Stage string

// The stages, in order.
const (
	AtSender    Stage = "MAIL"
	AtRecipient Stage = "RCPT"
	AtContent   Stage = "DATA"
)
