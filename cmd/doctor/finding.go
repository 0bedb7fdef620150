package doctor

import "time"

// Status says how it stands with what a finding is about.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and somebody should look
	Failed  Status = "failed"
	Skipped Status = "skipped" // it could not be looked at, or did not come to it
)

// Finding is one thing that was looked at.
type Finding struct {
	ID     ID     `json:"id"`
	Status Status `json:"status"`
	// Subject is what it is about: the name of an upstream or a listener, a
	// path; empty: the relay as a whole.
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"`             // what was seen, in a sentence
	Remedy  string `json:"remedy,omitempty"` // what to do; empty: nothing
	// Took is how long it took to find out, in milliseconds; 0: no time worth
	// telling.
	Took float64 `json:"took_ms,omitempty"`
	// Facts are for programs; the keys are those of docs/doctor.md.
	Facts map[string]any `json:"facts,omitempty"`
}

// took is d in milliseconds, to the microsecond.
func took(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Count tells how many of list have status s.
func Count(list []Finding, s Status) int {
	n := 0
	for i := range list {
		if list[i].Status == s {
			n++
		}
	}
	return n
}

// Exit is the exit code that list ends a command with: that of its first
// failure in the table of the vocabulary; 0 where nothing failed.
func Exit(list []Finding) int {
	for i := range list {
		if list[i].Status == Failed {
			return exits[list[i].ID]
		}
	}
	return 0
}
