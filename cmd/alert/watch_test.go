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
	mu    sync.Mutex
	said  []string
	times int
	fail  error
	hang  bool
	bug   bool
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
	e.times++
	return nil
}

func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := strings.Join(e.said, " ")
	e.said = nil
	return s
}

// relay is what is wrong, and what a restart finds. The watch reads what is
// behind mu while a test changes it.
type relay struct {
	targets []Target

	mu        sync.Mutex
	wrong     []Trouble
	undecided bool
	saved     string
	events    []Event
}

func (r *relay) now(wrong ...Trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = wrong
}

func (r *relay) unsure(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.undecided = yes
}

func (r *relay) kept() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.saved
}

func (r *relay) happened() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *relay) run(t *testing.T) (stop func()) {
	t.Helper()
	book := &Book{}
	if text := r.kept(); text != "" {
		if err := json.Unmarshal([]byte(text), book); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		New(book, Options{
			Wrong: func() []Trouble {
				r.mu.Lock()
				defer r.mu.Unlock()
				return slices.Clone(r.wrong)
			},
			Undecided: func(Key) bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.undecided
			},
			Targets: func() []Target { return r.targets }, From: func() string { return "relay.example.com" },
			Save: func(b *Book) error {
				text, err := json.Marshal(b)
				r.mu.Lock()
				defer r.mu.Unlock()
				r.saved = string(text)
				return err
			},
			Events: func(e Event) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.events = append(r.events, e)
			},
		}).Run(ctx)
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
		r := &relay{wrong: []Trouble{mild, parked("office")}, targets: []Target{{Name: "all", Receiver: e, Least: Warning, Repeat: time.Hour}, {Name: "grave", Receiver: grave, Least: Critical, Repeat: 0}}}
		defer r.run(t)()
		after(time.Minute)
		expect(t, e, "+upstream-parked/office +sender-refused/office")
		expect(t, grave, "+upstream-parked/office")
		after(58 * time.Minute)
		expect(t, e, "")
		after(2 * time.Minute)
		expect(t, e, "+upstream-parked/office +sender-refused/office")
		r.now(mild)
		after(settled + 2*look)
		expect(t, e, "-upstream-parked/office")
		expect(t, grave, "-upstream-parked/office")
		r.now()
		after(2 * time.Hour)
		expect(t, e, "-sender-refused/office")
		expect(t, grave, "")
		if kept := r.kept(); kept != "[]" {
			t.Errorf("kept: %s", kept)
		}
	})
}

// TestFlapping: what comes and goes within seconds is one trouble.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{targets: []Target{{Name: "a", Receiver: e, Least: Warning, Repeat: 0}}}
		defer r.run(t)()
		for range 50 {
			r.now(parked("office"))
			after(2 * look)
			r.now()
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
		r := &relay{wrong: []Trouble{parked("office")}, targets: []Target{{Name: "a", Receiver: e, Least: Warning, Repeat: 0}}}
		stop := r.run(t)
		after(time.Minute)
		expect(t, e, "+upstream-parked/office")
		stop()
		stop = r.run(t)
		after(time.Hour)
		expect(t, e, "")
		stop()
		r.now()
		r.unsure(true)
		defer r.run(t)()
		after(time.Hour)
		expect(t, e, "")
		r.unsure(false)
		after(settled + 2*look)
		expect(t, e, "-upstream-parked/office")
	})
}

// TestRestartComesFirst: what was seen last an hour before a restart, and is not wrong
// yet at the first looks after it, is not over, nor told again.
func TestRestartComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{wrong: []Trouble{parked("office"), parked("ended")}, targets: []Target{{Name: "a", Receiver: e, Least: Warning}}}
		stop := r.run(t)
		after(time.Hour)
		expect(t, e, "+upstream-parked/ended +upstream-parked/office")
		stop()
		r.now()
		defer r.run(t)()
		after(5 * look)
		r.now(parked("office"))
		after(settled - 6*look)
		expect(t, e, "")
		after(time.Hour)
		expect(t, e, "-upstream-parked/ended")
	})
}

// TestReceiversWaitForNobody: one that hangs, one that fails and one with a bug
// keep nothing from another, are tried again, and get what they lack.
func TestReceiversWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, bad, good, bug := &ear{hang: true}, &ear{fail: errors.New("no")}, &ear{}, &ear{bug: true}
		r := &relay{wrong: []Trouble{parked("office")}, targets: []Target{
			{Name: "hung", Receiver: hung, Least: Warning, Repeat: 0}, {Name: "bad", Receiver: bad, Least: Warning, Repeat: 0}, {Name: "bug", Receiver: bug, Least: Warning, Repeat: 0}, {Name: "good", Receiver: good, Least: Warning, Repeat: 0},
		}}
		defer r.run(t)()
		after(time.Second)
		expect(t, good, "+upstream-parked/office")
		after(6 * time.Hour)
		failures := 0
		for _, e := range r.happened() {
			if f, ok := e.(*Failed); ok && f.Receiver == "bad" {
				failures++
			}
		}
		if failures < 50 || failures > 85 { // every five minutes
			t.Errorf("%d attempts in six hours", failures)
		}
		for _, e := range []*ear{hung, bad, bug} {
			e.mu.Lock()
			e.hang, e.fail, e.bug = false, nil, false
			e.mu.Unlock()
		}
		expect(t, good, "+alert-failed/bad +alert-failed/bug +alert-failed/hung")
		after(mostPause + crowded + settled + 2*look)
		for name, e := range map[string]*ear{"hung": hung, "bad": bad, "bug": bug} {
			if heard := e.heard(); strings.Count(heard, "+upstream-parked/office") != 1 || strings.Contains(heard, "/"+name) {
				t.Errorf("%s was told %q", name, heard)
			}
		}
		heard := strings.Fields(good.heard())
		slices.Sort(heard)
		if got := strings.Join(heard, " "); got != "-alert-failed/bad -alert-failed/bug -alert-failed/hung" {
			t.Errorf("told %q", got)
		}
	})
}

// TestBounds: many troubles of a kind are ten and one more, and no trouble is
// long or acts on a terminal.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{targets: []Target{{Name: "a", Receiver: e, Least: Warning, Repeat: 0}}}
		for i := range 1000 {
			r.wrong = append(r.wrong, parked(fmt.Sprintf("u%04d", i)))
		}
		r.wrong[0].Words = strings.Repeat("\x1b[2J", 1000)
		defer r.run(t)()
		after(time.Minute)
		if said := strings.Fields(e.heard()); len(said) != maxOfAKind+1 || !slices.Contains(said, "+upstream-parked/"+Others) {
			t.Errorf("%d: %q", len(said), said)
		}
		if strings.Contains(r.kept(), `\u001b`) || len(r.kept()) > 10_000 {
			t.Errorf("kept: %d bytes", len(r.kept()))
		}
		if !strings.Contains(r.kept(), "990 more") {
			t.Errorf("nobody is told how many more: %s", r.kept())
		}
	})
}

// TestNeverAStorm: whatever comes and goes for hours, a receiver is told a few
// times an hour, each time of all of it.
func TestNeverAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{targets: []Target{{Name: "a", Receiver: e, Least: Warning, Repeat: time.Hour}}}
		defer r.run(t)()
		for i := range 3 * 60 {
			var wrong []Trouble
			for j := range 60 {
				if (i+j)%2 == 0 {
					wrong = append(wrong, parked(fmt.Sprintf("u%04d", (i*7+j)%300)))
				}
			}
			r.now(wrong...)
			after(time.Minute)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.times < 10 || e.times > 3*20 {
			t.Errorf("told %d times in three hours", e.times)
		}
		t.Logf("told %d times in three hours", e.times)
	})
}

// TestAfter: what passes by itself is not told, and what lasts is.
func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		r := &relay{targets: []Target{{Name: "a", Receiver: e, After: 2 * time.Minute}}}
		defer r.run(t)()
		r.now(parked("office"))
		after(time.Minute)
		r.now()
		after(10 * time.Minute)
		expect(t, e, "")
		r.now(parked("office"))
		after(2*time.Minute - time.Second)
		expect(t, e, "")
		after(2 * look)
		expect(t, e, "+upstream-parked/office")
	})
}

// TestRises: who knows of a warning is told once more when it becomes critical.
func TestRises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, grave := &ear{}, &ear{}
		r := &relay{targets: []Target{{Name: "a", Receiver: e}, {Name: "grave", Receiver: grave, Least: Critical}}}
		mild := parked("office")
		mild.Severity = Warning
		defer r.run(t)()
		for range 5 {
			r.now(mild)
			after(time.Minute)
			r.now(parked("office"))
			after(time.Minute)
		}
		expect(t, e, "+upstream-parked/office +upstream-parked/office")
		expect(t, grave, "+upstream-parked/office")
	})
}

// TestTry: a test reaches each receiver, also one that rests, and says what
// became of it.
func TestTry(t *testing.T) {
	good, bad := &ear{}, &ear{fail: errors.New("no\x1b[2J")}
	w := New(&Book{}, Options{Targets: func() []Target { return []Target{{Name: "good", Receiver: good}, {Name: "bad", Receiver: bad}} }, From: func() string { return "r" }})
	got := w.Try(t.Context(), "")
	if len(got) != 2 || got[0].Error != "" || got[1].Receiver != "bad" || got[1].Error != "no?[2J" {
		t.Errorf("%+v", got)
	}
	expect(t, good, "+test/")
	if got := w.Try(t.Context(), "nobody"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestEndWaitsForNobody: a receiver that does not heed its context keeps no
// process from stopping.
func TestEndWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &relay{wrong: []Trouble{parked("office")}, targets: []Target{{Name: "a", Receiver: stubborn(release)}}}
		stop := r.run(t)
		after(time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took > 2*lingers {
			t.Errorf("the end took %v", took)
		}
		close(release)
	})
}

type stubborn chan struct{}

func (s stubborn) Send(context.Context, string, []Open) error { <-s; return nil }

// TestPanicWhileLooking: a bug in what is looked at is told, and the next look
// follows.
func TestPanicWhileLooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{}
		looks, bugs := 0, 0
		ctx, cancel := context.WithCancel(t.Context())
		w := New(&Book{}, Options{
			Wrong: func() []Trouble {
				if looks++; looks < 3 {
					panic("bug")
				}
				return []Trouble{parked("office")}
			},
			Targets: func() []Target { return []Target{{Name: "a", Receiver: e}} }, From: func() string { return "r" },
			Save: func(*Book) error { return nil },
			Events: func(e Event) {
				if _, ok := e.(*Panicked); ok {
					bugs++
				}
			},
		})
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		after(4 * look)
		expect(t, e, "+upstream-parked/office")
		cancel()
		<-ended
		if bugs != 2 {
			t.Errorf("%d bugs are told", bugs)
		}
	})
}
