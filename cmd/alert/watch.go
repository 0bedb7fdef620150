package alert

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// look is how often what is wrong is looked at.
	look = 2 * time.Second
	// sendTimeout bounds one attempt to tell a receiver.
	sendTimeout = 30 * time.Second
	// leastPause and mostPause are between attempts at a receiver that fails.
	leastPause, mostPause = 10 * time.Second, 5 * time.Minute
	// between is how long a receiver is left alone after it was told, so that
	// what goes wrong meanwhile is told at once. After enough times in an hour it
	// is crowded.
	between, crowded = 30 * time.Second, 4 * time.Minute
	enough           = 6
	// lingers is for how long the end waits for attempts that are cut off.
	lingers = time.Second
)

// Target is a receiver with what it wants to be told.
type Target struct {
	Name string // no other has it
	Receiver
	Least  Severity
	After  time.Duration // how long a trouble lasts before it is told
	Repeat time.Duration // after which an open trouble is told again; 0: never
	// Steady: it tells people by rules of its own, and is told as often as
	// Repeat says.
	Steady bool
}

// Options are what a Watch needs. All but Events must be set. Wrong, Undecided
// and Save are called by one goroutine, one at a time.
type Options struct {
	// Wrong is all that is wrong at this moment.
	Wrong func() []Trouble
	// Undecided tells of which troubles nobody knows yet whether they go on.
	Undecided func(Key) bool
	Targets   func() []Target // may be called concurrently
	From      func() string   // the name of the relay; may be called concurrently
	// Save keeps the book over a restart. Where it fails, it is tried again
	// with the next change.
	Save func(*Book) error
	// Events is told what happened, by any goroutine; nil: nobody is.
	Events func(Event)
}

// Event is a *Told, a *Failed, a *NotSaved or a *Panicked.
type Event interface{ event() }

// Told: a receiver knows of so many troubles that are open and that are over.
type Told struct {
	Receiver   string
	Open, Over int
}

// Failed: a receiver could not be told; it is tried again after Pause. Times is
// how often that was so, in a row.
type Failed struct {
	Receiver string
	Err      error
	Pause    time.Duration
	Times    int
}

// Panicked: a look at what is wrong ended in a bug, and the next one follows.
type Panicked struct {
	Value any
	Stack []byte
}

// NotSaved: a restart would tell again what was told already.
type NotSaved struct{ Err error }

func (*Told) event()     {}
func (*Failed) event()   {}
func (*NotSaved) event() {}
func (*Panicked) event() {}

// attempt is one try to tell a receiver.
type attempt struct {
	name string
	due  []Open
	err  error
}

// state is how it stands with one receiver.
type state struct {
	busy     bool
	failures int           // in a row
	since    time.Time     // of the first of them
	err      error         // of the last
	pause    time.Duration // after a failure
	not      time.Time     // before which it is not tried
	told     []time.Time   // the last times, at most enough
}

// Watch keeps what is open, and tells the targets.
type Watch struct {
	Options
	book    *Book
	list    atomic.Pointer[[]Open]
	states  map[string]*state // by receiver
	unsaved bool
	done    chan attempt
	running sync.WaitGroup
}

// New makes a Watch of what is known from before.
func New(book *Book, o Options) *Watch {
	w := &Watch{Options: o, book: book, states: map[string]*state{}, done: make(chan attempt)}
	w.publish()
	return w
}

func (w *Watch) publish() {
	list := w.book.List()
	w.list.Store(&list)
}

// List is all that is open, the worst first. It may be called concurrently, and
// is not changed.
func (w *Watch) List() []Open { return *w.list.Load() }

// Receivers are the names of the targets. It may be called concurrently.
func (w *Watch) Receivers() (names []string) {
	for _, t := range w.Targets() {
		names = append(names, t.Name)
	}
	return names
}

// Run looks at what is wrong until ctx is done. Each target has one attempt at a
// time and waits for no other; an attempt under way ends with ctx. It returns a
// second later at most. Call it once.
func (w *Watch) Run(ctx context.Context) {
	defer w.end()
	w.book.resume(time.Now())
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		w.safely(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case a := <-w.done:
			w.settle(a)
		}
	}
}

// end waits a little for what ends with ctx. A receiver that does not is left to
// the end of the process.
func (w *Watch) end() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.running.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(lingers):
	}
}

func (w *Watch) tell(e Event) {
	if w.Events != nil {
		w.Events(e)
	}
}

// safely looks. What a bug keeps it from is left to the next look.
func (w *Watch) safely(ctx context.Context) {
	defer func() {
		if v := recover(); v != nil {
			w.tell(&Panicked{v, debug.Stack()})
		}
	}()
	w.look(ctx)
}

// look observes, begins attempts and saves.
func (w *Watch) look(ctx context.Context) {
	now := time.Now()
	if w.book.Observe(now, append(w.Wrong(), w.unreachable()...), w.Undecided) {
		w.unsaved = true
	}
	targets := w.Targets()
	names := make([]string, 0, len(targets))
	for i := range targets {
		names = append(names, targets[i].Name)
		w.begin(ctx, &targets[i], now)
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
	w.publish() // what the list says outlives a crash, where it can be saved
}

// Unreachable is the kind of trouble of a receiver that cannot be told.
const Unreachable = "alert-failed"

// unreachable are the receivers that fail, for the others.
func (w *Watch) unreachable() (wrong []Trouble) {
	for name, st := range w.states {
		if st.failures > 1 {
			wrong = append(wrong, Trouble{Key: Key{Unreachable, name}, Severity: Warning, Since: st.since,
				Text: fmt.Sprintf("the alert receiver %q cannot be told: %v", name, st.err), Command: "postern alert test",
				Remedy: "Others are told in its place. Mend it, or correct its [[alert]]."})
		}
	}
	return wrong
}

// begin tells one receiver what it does not know.
func (w *Watch) begin(ctx context.Context, t *Target, now time.Time) {
	st := w.states[t.Name]
	if st == nil {
		st = &state{}
		w.states[t.Name] = st
	}
	if st.busy || now.Before(st.not) {
		return
	}
	due := w.book.Due(t, now)
	if len(due) == 0 {
		return
	}
	st.busy = true
	from, target := w.From(), *t
	w.running.Go(func() {
		err := send(ctx, &target, from, due)
		select {
		case w.done <- attempt{target.Name, due, err}:
		case <-ctx.Done():
		}
	})
}

// send makes one attempt. A panic is an error of this attempt.
func send(ctx context.Context, t *Target, from string, due []Open) (err error) {
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
func (w *Watch) settle(a attempt) {
	st, now := w.states[a.name], time.Now()
	st.busy = false
	if a.err != nil {
		if st.failures++; st.failures == 1 {
			st.since = now
		}
		st.err, st.pause = a.err, min(max(2*st.pause, leastPause), mostPause)
		st.not = now.Add(st.pause)
		w.tell(&Failed{a.name, a.err, st.pause, st.failures})
		return
	}
	st.failures, st.err, st.pause = 0, nil, 0
	st.rest(w.steady(a.name), now)
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

// steady tells whether a receiver may be told at any time.
func (w *Watch) steady(name string) bool {
	return slices.ContainsFunc(w.Targets(), func(t Target) bool { return t.Name == name && t.Steady })
}

// rest leaves a receiver alone that was told now.
func (st *state) rest(steady bool, now time.Time) {
	if steady {
		st.not = now
		return
	}
	st.told = append(st.told, now)
	st.not = now.Add(between)
	if len(st.told) > enough {
		st.told = st.told[1:]
	}
	if len(st.told) == enough && now.Sub(st.told[0]) < time.Hour {
		st.not = now.Add(crowded)
	}
}

// Tried is what became of a test of one receiver.
type Tried struct {
	Receiver string  `json:"receiver"`
	Error    string  `json:"error,omitempty"` // empty: it was told
	Took     float64 `json:"took"`            // seconds
}

// Try tells each target at once that this is a test, or the one of this name,
// and waits for what becomes of it, half a minute at most. No target of that
// name: nothing.
func (w *Watch) Try(ctx context.Context, name string) []Tried {
	now := time.Now()
	due := []Open{{Seen: now, Trouble: Trouble{Key: Key{Kind: "test"}, Severity: Critical, Since: now,
		Text: "this is a test of the alerts, nothing is wrong", Remedy: "Nothing has to be done."}}}
	var all []Tried
	var each sync.WaitGroup
	targets := slices.DeleteFunc(slices.Clone(w.Targets()), func(t Target) bool { return name != "" && t.Name != name })
	all = make([]Tried, len(targets))
	for i := range targets {
		each.Go(func() {
			all[i].Receiver = targets[i].Name
			if err := send(ctx, &targets[i], w.From(), due); err != nil {
				all[i].Error = harmless(err.Error())
			}
			all[i].Took = time.Since(now).Seconds()
		})
	}
	each.Wait()
	return all
}
