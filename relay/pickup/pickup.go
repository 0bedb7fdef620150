// Package pickup is the way in for mail by a folder: messages that programs
// leave there as files, among them those of sendmail while the daemon is away.
// They go to the same submission as by SMTP.
//
// A message is taken when it is whole, at least once; after a crash it is not
// taken a second time, by a key that is made of what the file is. Who owns the
// file is who sends. What can't be taken for good is moved into the folder "bad"
// with its reason beside it; what can't be taken now stays.
//
// Everything in the folder is hostile, and so may be whoever can write there.
// It opens nothing but regular files of one name, follows no link, removes
// nothing that it didn't hand in, and never logs (Event).
package pickup

import (
	"context"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/config"
	"postern/relay/submission"
)

// Options are what a Server works with.
type Options struct {
	Submission *submission.Agent // takes the messages
	Events     func(Event)       // nil: nobody is told
}

// Event is what happens in the folder: a pointer to one of the types below.
// What becomes of messages is told by submission.
type Event interface{ event() }

// SetAside: a file can't be taken, and is in the folder "bad"; or, where Err is
// set, could not be moved there, and is left alone.
type SetAside struct {
	Client *submission.Client
	File   string // its name, which may be anything
	Why    string
	Err    error
}

// Unusable: the folder can't be used. It is tried again.
type Unusable struct {
	Dir string
	Err error
}

// Usable: the folder can be used again.
type Usable struct{ Dir string }

// Panicked: a bug met a file, which was set aside.
type Panicked struct {
	Client *submission.Client
	File   string
	Value  any
	Stack  []byte
}

func (*SetAside) event() {}
func (*Unusable) event() {}
func (*Usable) event()   {}
func (*Panicked) event() {}

// Server watches one folder. Make one by New, give it a configuration by Use,
// start it once and end it by Shutdown.
type Server struct {
	submission *submission.Agent
	events     func(Event)
	settings   atomic.Pointer[settings]
	stop       context.CancelFunc
	running    sync.WaitGroup
	trouble    atomic.Pointer[error]
}

// settings are those of one configuration. They are never changed.
type settings struct {
	dir     string
	host    string
	settle  time.Duration
	message *submission.Settings
}

// New makes a server that watches nothing yet.
func New(o Options) *Server {
	s := &Server{submission: o.Submission, events: o.Events, stop: func() {}}
	if s.events == nil {
		s.events = func(Event) {}
	}
	s.settings.Store(&settings{})
	return s
}

// Use puts a configuration in force, from the next look at the folder on.
func (s *Server) Use(cfg *config.Config) {
	p := &cfg.Pickup
	s.settings.Store(&settings{dir: p.Dir, host: cfg.Hostname, settle: p.Settle, message: submission.SettingsOf(&p.Limits)})
}

// Start begins to watch, where the configuration names a folder.
func (s *Server) Start() {
	if s.settings.Load().dir == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.running.Go(func() { s.watch(ctx) })
}

// Shutdown ends the watch, when the messages that are being read are handed in
// or ctx has ended.
func (s *Server) Shutdown(ctx context.Context) {
	s.stop()
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Trouble is why the folder can't be used; nil: it can.
func (s *Server) Trouble() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

const (
	// interval is how often the folder is looked at.
	interval = time.Second
	// fully is how often it is read, whether it seems to have changed or not.
	fully = time.Minute
	// workers is how many messages are handed in at a time: they share a sync.
	workers = 16
)

// watch looks at the folder until ctx ends.
func (s *Server) watch(ctx context.Context) {
	w := &watch{server: s, seen: map[string]look{}, left: map[string]look{}, owners: map[uint32]time.Time{}, named: map[string]time.Time{}}
	defer w.close()
	for timer := time.NewTimer(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		w.round(ctx)
		// A folder with a million files takes a second to read: no more than a
		// tenth of the time goes into that.
		wait := interval
		if w.full {
			wait /= 20 // there is more than was handed in
		}
		timer.Reset(max(wait, 9*w.reading))
	}
}

// watch is what is known of the folder between two looks.
type watch struct {
	server   *Server
	set      *settings
	folder   *folder
	seen     map[string]look      // files that have to stay the same for a while
	left     map[string]look      // files that could not be moved, and are left alone
	owners   map[uint32]time.Time // whose messages wait, until when
	named    map[string]time.Time // files with a name whose address book can't be asked, until when they wait
	pause    time.Time            // all messages wait until then
	delay    time.Duration        // the last pause
	changed  time.Time            // when the folder changed, as of the last time that it was read
	read     time.Time            // when that was
	reading  time.Duration        // how long it took
	more     bool                 // not all that was found was handed in
	full     bool                 // there was no room for all that was found
	findings []finding
	mu       sync.Mutex // guards owners, named, pause, delay, left and more while files are handed in
}

// look is what a file was when it was looked at.
type look struct {
	identity
	at time.Time
}

// round looks at the folder once.
func (w *watch) round(ctx context.Context) {
	w.set = w.server.settings.Load()
	if err := w.open(); err != nil {
		if w.server.trouble.Swap(&err) == nil {
			w.server.events(&Unusable{w.set.dir, err})
		}
		return
	}
	if w.server.trouble.Swap(nil) != nil {
		w.server.events(&Usable{w.set.dir})
	}
	now := time.Now()
	if now.Before(w.pause) || !w.due(now) {
		w.reading, w.full = 0, false
		return
	}
	w.scan(ctx, now)
	w.reading = time.Since(now)
	w.handIn(ctx)
}

// due tells whether the folder has to be read: it has changed since, or a
// moment before which would show the same time; something waits; or it is long
// ago.
func (w *watch) due(now time.Time) bool {
	info, err := w.folder.root.Stat(".")
	if err != nil {
		return true
	}
	changed := info.ModTime()
	quiet := changed.Equal(w.changed) && w.read.Sub(changed) > 2*interval
	w.changed = changed
	return !quiet || w.more || len(w.seen) > 0 || len(w.owners) > 0 || now.Sub(w.read) > fully
}

// handIn hands in what was found, a few at a time.
func (w *watch) handIn(ctx context.Context) {
	if len(w.findings) == 0 {
		return
	}
	next := make(chan finding)
	var busy sync.WaitGroup
	for range min(workers, len(w.findings)) {
		busy.Go(func() {
			for f := range next {
				w.safely(ctx, f)
			}
		})
	}
	for _, f := range w.findings {
		if ctx.Err() != nil || w.waits(f.owner) {
			w.mu.Lock()
			w.more = true
			w.mu.Unlock()
			continue
		}
		next <- f
	}
	close(next)
	busy.Wait()
	w.findings = nil
}

// safely hands in one file. A panic is that file's alone.
func (w *watch) safely(ctx context.Context, f finding) {
	c := w.client(f.owner)
	defer func() {
		if v := recover(); v != nil {
			w.server.events(&Panicked{c, f.name, v, debug.Stack()})
			w.setAside(c, f, "a bug of this relay met it")
		}
	}()
	w.take(ctx, c, f)
}

// waits tells whether an owner's messages are not to be tried yet.
func (w *watch) waits(owner uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if until, ok := w.owners[owner]; ok && !now.Before(until) {
		delete(w.owners, owner)
	}
	_, waits := w.owners[owner]
	return waits || now.Before(w.pause)
}

const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// later notes a temporary refusal: of the rate of one owner, of the name in one
// message, or of everybody.
func (w *watch) later(f finding, r *submission.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.more = true
	now := time.Now()
	switch {
	case r.Code == 450 && len(w.owners) < maxOwners:
		w.owners[f.owner] = now.Add(lastPause)
	case r.Enhanced == [3]int{4, 4, 3} && len(w.named) < maxNamed:
		w.named[f.name] = now.Add(lastPause)
	case now.After(w.pause):
		w.delay = min(max(firstPause, 2*w.delay), lastPause)
		w.pause = now.Add(w.delay)
	}
}

// taken notes that messages are taken.
func (w *watch) taken() {
	w.mu.Lock()
	w.delay = 0
	w.mu.Unlock()
}

func (w *watch) close() {
	if w.folder != nil {
		w.folder.close()
		w.folder = nil
	}
}

// open opens the folder anew where another one lies at its path. One that has
// lost its rights since is as good as none: its messages would go out, and stay.
func (w *watch) open() error {
	now, err := os.Stat(w.set.dir)
	if err != nil {
		w.close()
		return err
	}
	if w.folder != nil && os.SameFile(now, w.folder.info) {
		w.folder.info = now // whose it is, and who may write to it, may have changed
		return mayRemove(w.set.dir, now)
	}
	w.close()
	w.changed, w.read = time.Time{}, time.Time{}
	clear(w.seen)
	clear(w.left)
	clear(w.named)
	w.folder, err = openFolder(w.set.dir)
	return err
}

// byAge puts the oldest first.
func byAge(all []finding) {
	slices.SortFunc(all, func(a, b finding) int { return a.info.ModTime().Compare(b.info.ModTime()) })
}

// finding is a file that is whole.
type finding struct {
	name  string
	info  fs.FileInfo
	owner uint32
}
