package step

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"postern/relay/compose"
	"postern/relay/merge"
)

// atOnce is how many messages are handed over at a time. The relay writes them
// to the disk together.
const atOnce = 8

// Status is what became of a message.
type Status string

// The states.
const (
	Queued   Status = "queued"
	Repeated Status = "repeated" // it was taken before, by its key
	Refused  Status = "refused"  // for good
	Deferred Status = "deferred" // the relay did not take it now
	Invalid  Status = "invalid"  // its rows are wrong, and the run kept going
	NotSent  Status = "not sent" // the run ended before
)

// Result tells what became of one message.
type Result struct {
	N      int      `json:"n"`
	Row    int      `json:"row,omitempty"` // its first row, from 1
	To     []string `json:"to"`
	ID     string   `json:"id,omitempty"`
	Saved  string   `json:"saved,omitempty"`
	Key    string   `json:"key,omitempty"`
	Status Status   `json:"status"`
	Code   int      `json:"code,omitempty"` // of SMTP
	Reply  string   `json:"reply,omitempty"`

	From string      `json:"-"`
	Rows []merge.Row `json:"-"`
}

// Summary counts results.
type Summary struct{ Queued, Repeated, Refused, Deferred, Invalid, NotSent int }

// Add counts one message.
func (s *Summary) Add(st Status) {
	switch st {
	case Queued:
		s.Queued++
	case Repeated:
		s.Repeated++
	case Refused:
		s.Refused++
	case Deferred:
		s.Deferred++
	case Invalid:
		s.Invalid++
	default:
		s.NotSent++
	}
}

// String is one sentence: "2 messages queued, 1 refused".
func (s Summary) String() string {
	first := fmt.Sprintf("%d messages queued", s.Queued)
	if s.Queued == 1 {
		first = "1 message queued"
	}
	parts := []string{first}
	for _, p := range []struct {
		n    int
		what string
	}{{s.Repeated, "queued before"}, {s.Refused, "refused"}, {s.Deferred, "not taken now"}, {s.Invalid, "left out"}, {s.NotSent, "not sent"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// Relay is where messages are handed in. It may be used concurrently.
type Relay struct{ way submitter }

// SMTP is a relay by its address, "host:port". hello is what this machine calls
// itself.
func SMTP(address, hello string) *Relay { return &Relay{newSessions(address, hello)} }

// Open finds out whether the relay answers, and how large a message may be, in
// bytes; 0: not known. The error is a *Refusal.
func (r *Relay) Open(ctx context.Context) (maxSize int64, err error) {
	maxSize, err = r.way.open(ctx)
	if err != nil {
		return 0, asRefusal(err)
	}
	return maxSize, nil
}

// IsPostern reports whether the relay is one of ours, so that it keeps keys and
// adds a Message-ID. It is known after Open.
func (r *Relay) IsPostern() bool { ours, _ := r.way.who(); return ours }

// Hostname is what the relay calls itself, after Open; empty: not known.
func (r *Relay) Hostname() string { _, name := r.way.who(); return name }

// Close ends the connections.
func (r *Relay) Close() { r.way.close() }

// Workers is how many messages may well be made at a time.
func Workers() int { return runtime.GOMAXPROCS(0) }

// Send hands over every message of a plan that was checked, and calls each with
// what became of it, in the order of the messages. The error is that of each, or
// of ctx.
func Send(ctx context.Context, p *merge.Plan, relay *Relay, each func(*Result) error) (Summary, error) {
	var total Summary
	saver, err := p.Saver()
	if err != nil {
		return total, err
	}
	if saver != nil {
		defer saver.Close()
	}
	s := &sending{relay: relay.way, saver: saver}
	err = merge.Each(ctx, p, atOnce, s.one, func(g *merge.Group, r *Result) error {
		total.Add(r.Status)
		return each(r)
	})
	return total, err
}

// sending is one run.
type sending struct {
	relay submitter
	saver *merge.Saver
	away  atomic.Pointer[Refusal] // why the rest is not tried
}

// one makes, saves and hands over one message.
func (s *sending) one(ctx context.Context, r *merge.Renderer, g *merge.Group) *Result {
	out := &Result{N: g.N, Row: g.Row, Rows: g.Rows, To: []string{}}
	if g.Bad != "" {
		out.Status, out.Reply = Invalid, g.Bad
		return out
	}
	if ctx.Err() != nil {
		out.Status, out.Reply = NotSent, "stopped"
		return out
	}
	m, problems := r.Render(ctx, g)
	if m == nil { // a file that was there when it was checked, and is gone
		out.Status, out.Reply = Invalid, merge.Brief(problems)
		return out
	}
	out.From, out.To, out.Key = m.From, m.To, m.Key
	if gone := s.away.Load(); gone != nil {
		out.Status, out.Reply = NotSent, gone.Error()
		return out
	}
	keep, drop := func() error { return nil }, func() {}
	if s.saver != nil {
		var err error
		if keep, drop, err = s.saver.Write(ctx, m); err != nil {
			out.Status, out.Reply = Invalid, "save: "+err.Error()
			return out
		}
	}
	a := s.relay.submit(ctx, &envelope{
		from: m.From, to: m.To, utf8: m.UTF8, bit8: hasMessage(m.Source), dsn: m.DSN, key: m.Key, size: m.Mail.Size(), body: m.Mail,
	})
	s.finish(out, m, a, keep, drop)
	return out
}

// finish puts the copy where it belongs and the answer into words.
func (s *sending) finish(out *Result, m *merge.Message, a answer, keep func() error, drop func()) {
	if a.err != nil {
		drop()
		out.Status, out.Code, out.Reply = Refused, a.err.Code, a.err.Error()
		if a.err.Temporary {
			out.Status = Deferred
		}
		if a.err.Away {
			s.away.CompareAndSwap(nil, a.err)
		}
		return
	}
	out.ID, out.Status, out.Code = a.id, Queued, 250
	if a.repeated {
		out.Status = Repeated
	}
	if s.saver == nil {
		return
	}
	out.Saved = m.Save
	if a.repeated && s.saver.Has(m) { // what was sent is there, and has another Message-ID
		drop()
		return
	}
	if err := keep(); err != nil {
		drop()
		out.Saved, out.Reply = "", "the copy could not be saved: "+err.Error()
	}
}

// hasMessage reports whether a part is sent as it is, which may be with bytes
// beyond ASCII.
func hasMessage(m *compose.Message) bool {
	for _, p := range m.Attached {
		if strings.HasPrefix(p.Type, "message/") || p.Type == "" && strings.HasSuffix(strings.ToLower(p.Name), ".eml") {
			return true
		}
	}
	return false
}
