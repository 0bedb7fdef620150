package queue

import (
	"slices"
	"strings"

	"postern/spool"
)

// reply is one answer that real upstreams give and that means something else,
// or more, than its code and stage alone would say. Every condition that is
// set has to hold; text is lower-case and is looked for anywhere in the reply.
type reply struct {
	code     int    // 0: any; 4 or 5: any of that class
	enhanced string // whole code; with * at its end a prefix
	text     string
	from     spool.Stage // not before this one; zero: any
	until    spool.Stage // not after this one; zero: any
	status   spool.Status
	blame    Blame
	// meaning and remedy are sentences for an administrator; empty: nothing is
	// known beyond what the reply says itself. source is a page that tells of
	// it, read in November 2026; empty: an RFC, a source code, or logs.
	meaning, remedy, source string
}

// replies is asked in this order, before the general rules; what is narrower
// comes first. Before MAIL only what is about the way in and about throttling
// counts: no message was named yet.
var replies = slices.Concat(accessReplies, relayReplies, senderReplies, throttleReplies, messageReplies)

// Advice is what a known reply of an upstream means, and what an
// administrator can do about it.
type Advice struct {
	Blame   Blame  // as Judge and JudgeFault have it
	Meaning string // a sentence
	Remedy  string // one sentence or more
	Source  string // address of a page about it; empty: none
}

// String is the meaning and the remedy.
func (a Advice) String() string { return a.Meaning + " " + a.Remedy }

// Advise translates an answer of an upstream, at any stage, for people. It
// looks into the table by which Judge and JudgeFault decide; false: nothing is
// known of this answer beyond its own words.
func Advise(o *spool.Outcome) (Advice, bool) {
	if o.Unsupported || o.Code < 400 || o.Code > 599 {
		return Advice{}, false
	}
	r := lookUp(o, parseEnhanced(o))
	if r == nil || r.meaning == "" {
		return Advice{}, false
	}
	return Advice{Blame: r.blame, Meaning: r.meaning, Remedy: r.remedy, Source: r.source}, true
}

// AdviseSender is Advise for an answer to a message with this reverse-path.
// The null one cannot be mended at the sender: it needs another way.
func AdviseSender(sender string, o *spool.Outcome) (Advice, bool) {
	if sender == "" && o.Stage >= spool.StageMail && Judge(o, false).Blame == BlameSender {
		return nullSenderAdvice, true
	}
	return Advise(o)
}

// lookUp finds what is known of a reply; nil: nothing.
func lookUp(o *spool.Outcome, e enhanced) *reply {
	text := strings.ToLower(o.Text)
	for i := range replies {
		if r := &replies[i]; r.appliesAt(o.Stage) && r.matches(o, e, text) {
			return r
		}
	}
	return nil
}

// appliesAt leaves out what cannot be meant at a stage.
func (r *reply) appliesAt(stage spool.Stage) bool {
	if stage < spool.StageMail && r.blame != BlameAccess && r.blame != BlameUpstream {
		return false
	}
	return stage >= r.from && (r.until == 0 || stage <= r.until)
}

// matches compares with an outcome, whose text is given in lower case.
func (r *reply) matches(o *spool.Outcome, e enhanced, text string) bool {
	switch {
	case r.code > 9 && r.code != o.Code, r.code > 0 && r.code <= 9 && r.code != o.Code/100:
		return false
	case r.enhanced != "" && !r.matchesEnhanced(o.Enhanced, e):
		return false
	}
	return strings.Contains(text, r.text)
}

// matchesEnhanced needs the class of the enhanced code to agree with the reply
// code: a 450 5.7.8 is no refusal yet.
func (r *reply) matchesEnhanced(s string, e enhanced) bool {
	if !e.known || e.class != int(r.enhanced[0]-'0') {
		return false
	}
	if prefix, ok := strings.CutSuffix(r.enhanced, "*"); ok {
		return len(s) == len(prefix)+2 && strings.HasPrefix(s, prefix)
	}
	return s == r.enhanced
}
