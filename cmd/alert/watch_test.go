package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ear notes what it is told.
type ear struct {
	mu   sync.Mutex
	said []string
	fail error
	hang bool
	bug  bool
}

func (e *ear) Send(ctx context.Context, _ string, due []Open) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hang {
		e.mu.Unlock()
		defer e.mu.Lock()
		<-ctx.Done()
		return ctx.Err()
	}
	if e.bug {
		panic("bug")
	}
	if e.fail != nil {
		return e.fail
	}
	for i := range due {
		word := "+"
		if !due[i].Over.IsZero() {
			word = "-"
		}
		e.said = append(e.said, word+due[i].Kind+"/"+due[i].Subject)
	}
	return nil
}

func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := strings.Join(e.said, " ")
	e.said = nil
	return s
}

// relay is what is wrong, and what a restart finds.
type relay struct {
	wrong     []Trouble
	undecided bool
	saved     string
	targets   []Target
	events    []Event
}

func (r *relay) run(t *testing.T) (stop func()) {
	t.Helper()
	book := &Book{}
	if r.saved != "" {
		if err := json.Unmarshal([]byte(r.saved), book); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watch(ctx, book, Options{
			Wrong: func() []Trouble { return r.wrong }, Undecided: func(Key) bool { return r.undecided },
			Targets: func() []Target { return r.targets }, From: func() string { return "relay.example.com" },
			Save: func(b *Book) error {
				text, err := json.Marshal(b)
				r.saved = string(text)
				return err
			},
			Events: func(e Event) { r.events = append(r.events, e) },
		})
	}()
	return func() { cancel(); <-ended }
}

func parked(name string) Trouble {
	return Trouble{Key: Key{"upstream-parked", name}, Severity: Critical, Text: "it is parked"}
}

func after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func expect(t *testing.T, e *ear, want string) {
	t.Helper()
	if got := e.heard(); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestTold: a trouble is told once, again after repeat, and when it is over.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, mild := &ear{}, Trouble{Key: Key{"sender-refused", "office"}, Severity: Warning}
		grave := &ear{}
		r := &relay{wrong: []Trouble{mild, parked("office")}, targets: []Target{{"all", e, Warning, time.Hour}, {"grave", grave, Critical, 0}}}
		defer r.run(t)()
		after(time.Minute)
		expect(t, e, "+upstream-parked/office +sender-refused/office")
		expect(t, grave, "+upstream-parked/office")
		after(58 * time.Minute)
		expect(t, e, "")
		after(2 * time.Minute)
		expect(t, e, "+upstream-parked/office +sender-refused/office")
		r.wrong = r.wrong[:1]
		after(settled + 2*look)
		expect(t, e, "-upstream-parked/office")
		expect(t, grave, "-upstream-parked/office")
		r.wrong = nil
		after(48 * time.Hour)
		expect(t, e, "-sender-refused/office")
		expect(t, grave, "")
		if r.saved != "[]" {
			t.Errorf("kept: %s", r.saved)
		}
	})
}

// TestFlapping: what comes and goes within seconds is one trouble.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{targets: []Target{{"a", e, Warning, 0}}}
		defer r.run(t)()
		for range 50 {
			r.wrong = []Trouble{parked("office")}
			after(2 * look)
			r.wrong = nil
			after(2 * look)
		}
		expect(t, e, "+upstream-parked/office")
	})
}

// TestRestart: what was told before a restart is not told again, and what is
// over meanwhile is resolved, as soon as anybody can tell.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{wrong: []Trouble{parked("office")}, targets: []Target{{"a", e, Warning, 0}}}
		stop := r.run(t)
		after(time.Minute)
		expect(t, e, "+upstream-parked/office")
		stop()
		stop = r.run(t)
		after(time.Hour)
		expect(t, e, "")
		stop()
		r.wrong, r.undecided = nil, true
		defer r.run(t)()
		after(time.Hour)
		expect(t, e, "")
		r.undecided = false
		after(settled + 2*look)
		expect(t, e, "-upstream-parked/office")
	})
}

// TestReceiversWaitForNobody: one that hangs, one that fails and one with a bug
// keep nothing from another, are tried again, and get what they lack.
func TestReceiversWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, bad, good, bug := &ear{hang: true}, &ear{fail: errors.New("no")}, &ear{}, &ear{bug: true}
		r := &relay{wrong: []Trouble{parked("office")}, targets: []Target{
			{"hung", hung, Warning, 0}, {"bad", bad, Warning, 0}, {"bug", bug, Warning, 0}, {"good", good, Warning, 0},
		}}
		defer r.run(t)()
		after(time.Second)
		expect(t, good, "+upstream-parked/office")
		after(24 * time.Hour)
		failures := 0
		for _, e := range r.events {
			if f, ok := e.(*Failed); ok && f.Receiver == "bad" {
				failures++
			}
		}
		if failures < 200 || failures > 300 { // every five minutes of a day
			t.Errorf("%d attempts in a day", failures)
		}
		for _, e := range []*ear{hung, bad, bug} {
			e.mu.Lock()
			e.hang, e.fail, e.bug = false, nil, false
			e.mu.Unlock()
		}
		after(mostPause + 2*look)
		expect(t, hung, "+upstream-parked/office")
		expect(t, bad, "+upstream-parked/office")
		expect(t, bug, "+upstream-parked/office")
		expect(t, good, "")
	})
}

// TestBounds: many troubles of a kind are ten and one more, and no trouble is
// long or acts on a terminal.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{targets: []Target{{"a", e, Warning, 0}}}
		for i := range 1000 {
			r.wrong = append(r.wrong, parked(fmt.Sprintf("u%04d", i)))
		}
		r.wrong[0].Words = strings.Repeat("\x1b[2J", 1000)
		defer r.run(t)()
		after(time.Minute)
		if len(e.said) != maxOfAKind+1 || !slices.Contains(e.said, "+upstream-parked/"+Others) {
			t.Errorf("%d: %q", len(e.said), e.said)
		}
		if strings.Contains(r.saved, `\u001b`) || len(r.saved) > 10_000 {
			t.Errorf("kept: %d bytes", len(r.saved))
		}
		if !strings.Contains(r.saved, "990 more") {
			t.Errorf("nobody is told how many more: %s", r.saved)
		}
	})
}
