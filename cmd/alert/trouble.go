// Package alert faces whoever has to mend something. It keeps the troubles of
// the relay that are open, and tells each receiver of each trouble once, again
// after a while, and when it is over.
//
// It owns what is open, since when, and who knows of it. It is told what is
// wrong and finds nothing out by itself; it never holds up mail, and never
// sees a secret.
package alert

import (
	"strings"
	"time"
)

// Severity is how bad a trouble is.
type Severity string

// The severities.
const (
	Warning  Severity = "warning"  // mail still goes, or will soon not
	Critical Severity = "critical" // mail does not go
)

// Covers tells whether a receiver that wants s and above wants of.
func (s Severity) Covers(of Severity) bool { return s != Critical || of == Critical }

// Key tells troubles apart.
type Key struct {
	Kind    string `json:"kind"`    // "upstream-parked", "spool-full"
	Subject string `json:"subject"` // the name of an upstream, a folder; empty: the relay
}

// Trouble is something that a person has to look at. All texts may hold words
// of strangers; Observe makes them harmless and short.
type Trouble struct {
	Key
	Severity Severity  `json:"severity"`
	Since    time.Time `json:"since"`             // zero: since it was seen first
	Text     string    `json:"text"`              // what is wrong, a sentence without a full stop
	Waiting  int       `json:"waiting"`           // deliveries that wait for its end
	Words    string    `json:"words,omitempty"`   // of the upstream
	Meaning  string    `json:"meaning,omitempty"` // of these words
	Remedy   string    `json:"remedy,omitempty"`  // what to do
	Command  string    `json:"command,omitempty"` // what to type
}

// less orders troubles: critical ones first, then by age and by key.
func less(a, b *Trouble) int {
	switch {
	case a.Severity != b.Severity && a.Severity == Critical:
		return -1
	case a.Severity != b.Severity && b.Severity == Critical:
		return 1
	}
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	if c := strings.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return strings.Compare(a.Subject, b.Subject)
}
