package control

import (
	"strings"
	"time"

	"postern/spool"
)

// State is what one delivery is doing.
type State string

// The states of a delivery.
const (
	Due       State = "due"       // to be tried now
	Deferred  State = "deferred"  // to be tried again later
	Scheduled State = "scheduled" // not to be tried before its time
	Held      State = "held"      // not to be tried until released
	Active    State = "active"    // an attempt is under way
)

// StateOf says what a share is doing at now.
func StateOf(s *spool.Summary, now time.Time) State {
	switch {
	case s.Claimed:
		return Active
	case s.Held:
		return Held
	case s.NotBefore.After(now):
		return Scheduled
	case s.Due.After(now):
		return Deferred
	}
	return Due
}

// Entry is one line of the queue: one message on its way to one list of
// upstreams, with the recipients that it still owes there.
type Entry struct {
	ID       string    `json:"id"`
	Share    int       `json:"share"`
	Accepted time.Time `json:"accepted"`
	// NotBefore is when its delivery begins, where that is not at its acceptance.
	NotBefore *time.Time `json:"not_before,omitempty"`
	Size      int64      `json:"size"`
	From      string     `json:"from"`
	To        []string   `json:"to"`
	Copies    []string   `json:"copies,omitempty"` // those of To that the sender does not know of
	// Redirected are those of To who get it in place of others.
	Redirected []string   `json:"redirected,omitempty"`
	Upstream   string     `json:"upstream"` // to be tried next
	State      State      `json:"state"`
	Attempts   int        `json:"attempts"`
	Next       *time.Time `json:"next,omitempty"` // when it is tried again
	InDoubt    bool       `json:"in_doubt,omitempty"`
	Last       *Answer    `json:"last,omitempty"` // of its last attempt
	// KeptUntil is set where it is held because it failed, and no sender is told.
	KeptUntil *time.Time `json:"kept_until,omitempty"`
	// Storm is the storm that its message is part of, as it was put on hold for;
	// empty: none.
	Storm string `json:"storm,omitempty"`
	// Unreadable: what the store has of its message cannot be read. From, To and Last
	// are empty.
	Unreadable bool `json:"unreadable,omitempty"`
	// Waits says why it waits other than for its due time; empty: it does not.
	Waits string `json:"waits,omitempty"`

	index   []int // of To in the envelope
	matched []int // of those of To that the filter asks for
}

// Answer is what the last attempt came to.
type Answer struct {
	At       time.Time `json:"at"`
	Stage    string    `json:"stage"`
	Code     int       `json:"code,omitempty"`
	Enhanced string    `json:"enhanced,omitempty"`
	Text     string    `json:"text,omitempty"`
	Cause    string    `json:"cause,omitempty"`
	Remote   string    `json:"remote,omitempty"`
}

// newEntry describes a share as its summary does.
func newEntry(s *spool.Summary, now time.Time) *Entry {
	e := &Entry{
		ID:        s.ID.String(),
		Share:     s.Share,
		Accepted:  s.Accepted,
		NotBefore: moment(s.NotBefore),
		Size:      s.Size,
		State:     StateOf(s, now),
		Attempts:  s.Attempts,
		InDoubt:   s.InDoubt,
	}
	if s.Failover < len(s.Upstreams) {
		e.Upstream = s.Upstreams[s.Failover]
	}
	if e.State == Deferred || e.State == Due || e.State == Scheduled {
		e.Next = moment(s.Due)
	}
	if s.Kept {
		e.KeptUntil = moment(s.Due)
	}
	return e
}

// NewEntry describes a share; d is the detail of its message.
func NewEntry(s *spool.Summary, d *spool.Detail, now time.Time) *Entry {
	e := newEntry(s, now)
	e.From = d.Envelope.From
	if d.Envelope.Storm != 0 {
		e.Storm = d.Envelope.Storm.String()
	}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		if r.Share != s.Share || r.Status != spool.Pending {
			continue
		}
		to := &d.Envelope.Recipients[i]
		e.To = append(e.To, to.Address)
		if to.Copy {
			e.Copies = append(e.Copies, to.Address)
		}
		if to.Redirected {
			e.Redirected = append(e.Redirected, to.Address)
		}
		e.index = append(e.index, i)
		if e.Last == nil {
			e.Last = newAnswer(r)
		}
	}
	return e
}

func newAnswer(r *spool.RecipientState) *Answer {
	if r.Last == nil {
		return nil
	}
	return &Answer{
		At:       r.LastAt,
		Stage:    r.Last.Stage.String(),
		Code:     r.Last.Code,
		Enhanced: r.Last.Enhanced,
		Text:     r.Last.Text,
		Cause:    r.Last.Cause,
		Remote:   r.Last.Remote,
	}
}

// moment is nil for the zero time, which JSON would print as year 1.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Filter selects entries; an empty field selects all.
type Filter struct {
	Upstream  string `json:"upstream,omitempty"` // to be tried next
	From      string `json:"from,omitempty"`     // part of the reverse-path; "<>" is the null one
	To        string `json:"to,omitempty"`       // part of a forward-path still owed
	Storm     string `json:"storm,omitempty"`    // part of this storm
	Held      bool   `json:"held,omitempty"`
	Deferred  bool   `json:"deferred,omitempty"`
	Scheduled bool   `json:"scheduled,omitempty"`
	Limit     int    `json:"limit,omitempty"` // at most that many entries; 0: all
}

// MaySelect reports whether a summary alone does not yet rule the share out.
func (f *Filter) MaySelect(s *spool.Summary, now time.Time) bool {
	if f.Upstream != "" && (s.Failover >= len(s.Upstreams) || s.Upstreams[s.Failover] != f.Upstream) {
		return false
	}
	if !f.Held && !f.Deferred && !f.Scheduled {
		return true
	}
	state := StateOf(s, now)
	return f.Held && state == Held || f.Deferred && state == Deferred || f.Scheduled && state == Scheduled
}

// needsDetail reports whether the envelope has to be read to decide.
func (f *Filter) needsDetail() bool { return f.From+f.To+f.Storm != "" }

// Selects reports whether the filter selects an entry whose summary it may
// select. It puts recipients that it asks for first.
func (f *Filter) Selects(e *Entry) bool {
	if f.From == "<>" {
		if e.From != "" {
			return false
		}
	} else if !contains(e.From, f.From) {
		return false
	}
	if f.Storm != "" && e.Storm != f.Storm {
		return false
	}
	if f.To == "" {
		return true
	}
	return f.choose(e)
}

// choose puts the recipients that the filter asks for first, and says whether
// there are any.
func (f *Filter) choose(e *Entry) bool {
	var first, rest []string
	for i, to := range e.To {
		if contains(to, f.To) {
			first = append(first, to)
			e.matched = append(e.matched, e.index[i])
		} else {
			rest = append(rest, to)
		}
	}
	e.To = append(first, rest...)
	return len(first) > 0
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
