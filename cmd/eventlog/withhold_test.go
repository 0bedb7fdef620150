package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/queue"
	"postern/relay/intake"
	"postern/relay/submission"
	"postern/spool"
	"postern/spool/journal"
)

// paper is what a log is written on, also from the goroutine of a timer.
type paper struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

// logged takes what was written: the events in their order, and the sums of
// what was withheld as "origin, kind: count".
func logged(t *testing.T, out *paper) (events []string, sums []string) {
	t.Helper()
	out.mu.Lock()
	defer out.mu.Unlock()
	for text := range strings.Lines(out.b.String()) {
		var line struct {
			Event, Origin, Kind string
			Count               json.Number
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		events = append(events, line.Event)
		if line.Event == "lines-withheld" {
			sums = append(sums, line.Origin+", "+line.Kind+": "+line.Count.String())
		}
	}
	out.b.Reset()
	return events, sums
}

func count(events []string, event string) (n int) {
	for _, e := range events {
		if e == event {
			n++
		}
	}
	return n
}

func TestStrangersAreToldTenTimesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out paper
		l, err := New(&out, Options{Level: "info", Format: "json"})
		if err != nil {
			t.Fatal(err)
		}
		tell := l.Submission()
		loud, quiet := &submission.Client{User: "loud"}, &submission.Client{User: "quiet"}
		refused := func(c *submission.Client, at submission.Stage, r *submission.Refusal) {
			tell(&submission.Refused{Client: c, Stage: at, Refusal: r})
		}
		refusal := &submission.Refusal{Code: 550}
		for range 5000 {
			refused(loud, submission.AtSender, refusal)
		}
		events, _ := logged(t, &out)
		if n := count(events, "mail-refused"); n != 10 || len(events) != 10 {
			t.Errorf("of 5,000: %v", events)
		}
		refused(quiet, submission.AtSender, refusal)
		refused(loud, submission.AtContent, &submission.Refusal{Code: 451, Cause: errors.New("the disk fails")})
		l.Intake()(&intake.Abused{Client: loud, What: "too many refusals"})
		for range 50 {
			tell(&submission.Accepted{Client: loud, ID: 1})
			l.Queue()(&queue.Attempted{ID: 1, Outcome: spool.Outcome{Code: 550}})
		}
		events, _ = logged(t, &out)
		if !slices.Equal(events[:3], []string{"mail-refused", "mail-refused", "client-abuse"}) ||
			count(events, "message-accepted") != 50 || count(events, "delivery-attempt") != 50 {
			t.Errorf("of others: %v", events)
		}

		time.Sleep(time.Minute)
		synctest.Wait()
		events, sums := logged(t, &out)
		if !slices.Equal(sums, []string{"user loud, mail-refused MAIL 550: 4990"}) || len(events) != 1 {
			t.Errorf("after a minute: %v %v", events, sums)
		}
		for range 12 {
			refused(loud, submission.AtSender, refusal)
		}
		l.Process().Stopped(0, true)
		events, sums = logged(t, &out)
		if count(events, "mail-refused") != 10 || events[len(events)-1] != "stopped" ||
			!slices.Equal(sums, []string{"user loud, mail-refused MAIL 550: 2"}) {
			t.Errorf("at the end: %v %v", events, sums)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if events, _ := logged(t, &out); len(events) != 0 {
			t.Errorf("after the end: %v", events)
		}
	})
}

// Everything that somebody can cause who has no more than a connection is
// withheld at some time, and counted all the same.
func TestWhatStrangersCause(t *testing.T) {
	fault := errors.New("a fault")
	for event, cause := range map[string]func(*Log){
		"connection-refused":  func(l *Log) { l.Intake()(&intake.Refused{Client: &submission.Client{}, Why: "why"}) },
		"accept-failed":       func(l *Log) { l.Intake()(&intake.AcceptFailed{Listener: "local", Err: fault}) },
		"client-unidentified": func(l *Log) { l.Intake()(&intake.Unidentified{Client: &submission.Client{}, Err: fault}) },
		"tls-failed":          func(l *Log) { l.Intake()(&intake.TLSFailed{Client: &submission.Client{}, Err: fault}) },
		"sign-in-failed": func(l *Log) {
			l.Intake()(&intake.SignInFailed{Client: &submission.Client{}, Mechanism: "PLAIN", User: "ann", Why: "why"})
		},
		"mail-refused": func(l *Log) {
			l.Submission()(&submission.Refused{Client: &submission.Client{}, Stage: "RCPT", Refusal: &submission.Refusal{Code: 550}})
		},
		"client-abuse":       func(l *Log) { l.Intake()(&intake.Abused{Client: &submission.Client{}, What: "what"}) },
		"defect":             func(l *Log) { l.Intake()(&intake.Panicked{Client: &submission.Client{}, Value: "value"}) },
		"spool-write-failed": func(l *Log) { l.Spool()(&journal.WriteFailed{Operation: "write", Err: fault}) },
		"control-failed":     func(l *Log) { l.Process().ControlFailed("a fault") },
		"library-said":       func(l *Log) { l.Process().LibrarySaid("a fault") },
		"spool-full":         func(l *Log) { l.Spool()(&journal.Full{}) },
		"spool-has-room":     func(l *Log) { l.Spool()(&journal.HasRoom{}) },
	} {
		for level, want := range map[string]int{"info": 10, "debug": 100} {
			var out paper
			l, err := New(&out, Options{Level: level, Format: "json"})
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				cause(l)
			}
			l.Close(time.Second)
			events, sums := logged(t, &out)
			if n := count(events, event); n != want || len(sums) != min(1, 100-want) || len(events) != want+len(sums) {
				t.Errorf("%s at %s: %d lines, %v", event, level, n, sums)
			}
		}
	}
}

// The name that a stranger tries to sign in with is not an origin.
func TestClaimedNamesHelpNobody(t *testing.T) {
	var out paper
	l, err := New(&out, Options{Level: "info", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		l.Intake()(&intake.SignInFailed{Client: &submission.Client{}, Mechanism: "PLAIN", User: strings.Repeat("a", i), Why: "wrong"})
	}
	if events, _ := logged(t, &out); len(events) != 10 {
		t.Errorf("%d lines", len(events))
	}
}
