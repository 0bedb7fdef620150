package config

import "time"

// Storm configures the guard against programs that send the same again and again.
type Storm struct {
	// Messages is how many that are alike go through within Per; 0: any number.
	Messages int
	Per      time.Duration
	Digest   StormDigest
	Except   []string // patterns of senders whose messages are not counted
}

// StormDigest is who is told of messages that are held.
type StormDigest string

// The values of storm.digest.
const (
	DigestRecipients StormDigest = "recipients" // of the messages
	DigestPostmaster StormDigest = "postmaster" // that of the submission
	DigestNone       StormDigest = "none"
)

// longestStorm bounds for how long messages are counted.
const longestStorm = 7 * 24 * time.Hour

func (s *Storm) keys() []key {
	return []key{
		{name: "messages", value: number(&s.Messages, 0, 1_000_000), def: 0, help: "How many messages that are alike go through within per; what is beyond is put on hold. 0 is any number."},
		{name: "per", value: duration(&s.Per, time.Second, longestStorm), def: "10m", help: "The time in which they are counted."},
		{name: "digest", value: choice(&s.Digest, DigestRecipients, DigestPostmaster, DigestNone), def: "recipients", help: "Who is told how many were put on hold: the recipients of the messages, submission.postmaster, or nobody."},
		{name: "except", value: patternList.at(&s.Except), unset: "nobody", help: "Patterns of senders whose messages are not counted."},
	}
}

// check looks at the table, which says nothing without messages.
func (s *Storm) check(t *table) {
	if s.Messages == 0 && !t.got["messages"] {
		t.refuse("has no effect without messages", "such as messages = 20", "per", "digest", "except")
	}
}

// checkStorm compares the table with that of the submission.
func (d *document) checkStorm(cfg *Config) {
	if s := &cfg.Storm; s.Messages > 0 && s.Digest == DigestPostmaster && cfg.Submission.Postmaster == "" {
		d.problem("storm.digest", "there is no postmaster", `set postmaster = "ops@example.com" in [submission]`)
	}
}
