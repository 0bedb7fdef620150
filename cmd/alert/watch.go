package alert

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// look is how often what is wrong is looked at.
	look = 5 * time.Second
	// sendTimeout bounds one attempt to tell a receiver.
	sendTimeout = 30 * time.Second
	// leastPause and mostPause are between attempts at a receiver that fails.
	leastPause, mostPause = 10 * time.Second, 5 * time.Minute
)

// Target is a receiver with what it wants to be told.
type Target struct {
	Name string // no other has it
	Receiver
	Least  Severity
	Repeat time.Duration // after which an open trouble is told again; 0: never
}

// Options are what a Watch needs. All but Events must be set. Wrong, Undecided,
// Targets, From and Save are called by one goroutine, one at a time.
type Options struct {
	// Wrong is all that is wrong at this moment.
	Wrong func() []Trouble
	// Undecided tells of which troubles nobody knows yet whether they go on.
	Undecided func(Key) bool
	Targets   func() []Target
	From      func() string // the name of the relay
	// Save keeps the book over a restart. Where it fails, it is tried again
	// with the next change.
	Save func(*Book) error
	// Events is told what happened, by any goroutine; nil: nobody is.
	Events func(Event)
}

// Event is a *Told, a *Failed or a *NotSaved.
type Event interface{ event() }

// Told: a receiver knows of so many troubles that are open and that are over.
type Told struct {
	Receiver   string
	Open, Over int
}

// Failed: a receiver could not be told; it is tried again after Pause.
type Failed struct {
	Receiver string
	Err      error
	Pause    time.Duration
}

// NotSaved: a restart would tell again what was told already.
type NotSaved struct{ Err error }

func (*Told) event()     {}
func (*Failed) event()   {}
func (*NotSaved) event() {}

// attempt is one try to tell a receiver.
type attempt struct {
	name string
	due  []Open
	err  error
}

// state is how it stands with one receiver.
type state struct {
	busy  bool
	pause time.Duration // after a failure
	not   time.Time     // before which it is not tried
}

// Watch looks at what is wrong until ctx is done, and tells the targets. Each
// has one attempt at a time and waits for no other; an attempt under way ends
// with ctx. It returns when all have.
func Watch(ctx context.Context, book *Book, o Options) {
	w := &watch{Options: o, book: book, states: map[string]*state{}, done: make(chan attempt)}
	defer w.running.Wait()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case a := <-w.done:
			w.settle(a)
		}
	}
}

type watch struct {
	Options
	book    *Book
	states  map[string]*state // by receiver
	unsaved bool
	done    chan attempt
	running sync.WaitGroup
}

func (w *watch) tell(e Event) {
	if w.Events != nil {
		w.Events(e)
	}
}

// look observes, begins attempts and saves.
func (w *watch) look(ctx context.Context) {
	now := time.Now()
	if w.book.Observe(now, w.Wrong(), w.Undecided) {
		w.unsaved = true
	}
	targets := w.Targets()
	names := make([]string, 0, len(targets))
	for _, t := range targets {
		names = append(names, t.Name)
		w.begin(ctx, t, now)
	}
	for name, st := range w.states {
		if !st.busy && !slices.Contains(names, name) {
			delete(w.states, name)
		}
	}
	if w.book.Forget(names) {
		w.unsaved = true
	}
	if w.unsaved {
		if err := w.Save(w.book); err != nil {
			w.tell(&NotSaved{err})
		}
		w.unsaved = false
	}
}

// begin tells one receiver what it does not know.
func (w *watch) begin(ctx context.Context, t Target, now time.Time) {
	st := w.states[t.Name]
	if st == nil {
		st = &state{}
		w.states[t.Name] = st
	}
	if st.busy || now.Before(st.not) {
		return
	}
	due := w.book.Due(t.Name, t.Least, t.Repeat, now)
	if len(due) == 0 {
		return
	}
	st.busy = true
	from := w.From()
	w.running.Go(func() {
		err := send(ctx, t, from, due)
		select {
		case w.done <- attempt{t.Name, due, err}:
		case <-ctx.Done():
		}
	})
}

// send makes one attempt. A panic is an error of this attempt.
func send(ctx context.Context, t Target, from string, due []Open) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a bug, please report it: %v", v)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return t.Send(ctx, from, due)
}

// settle notes what became of an attempt.
func (w *watch) settle(a attempt) {
	st, now := w.states[a.name], time.Now()
	st.busy = false
	if a.err != nil {
		st.pause = min(max(2*st.pause, leastPause), mostPause)
		st.not = now.Add(st.pause)
		w.tell(&Failed{a.name, a.err, st.pause})
		return
	}
	st.pause, st.not = 0, time.Time{}
	w.book.Tell(a.name, a.due, now)
	w.unsaved = true
	told := &Told{Receiver: a.name}
	for i := range a.due {
		if a.due[i].Over.IsZero() {
			told.Open++
		} else {
			told.Over++
		}
	}
	w.tell(told)
}
