package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/config"
	"postern/relay/submission"
	"postern/spool/statefile"
)

const (
	// quietFile has what is known of routes with an expect, in the folder "alerts"
	// of the state.
	quietFile = "quiet"
	// maxQuietFile bounds it, in bytes.
	maxQuietFile = 4 << 20
	// quietEvery is how often it is written at most, but for a silence that begins
	// or ends.
	quietEvery = time.Minute
)

// silence is for how long routes took no mail. The zero value has seen none.
//
// It adds up time in which the relay runs, by a clock that nobody sets: neither
// a stop nor a clock that jumps is a silence of a sender.
type silence struct {
	sync.Mutex
	routes map[string]*quiet // by name; only those with an expect
	looked time.Time         // with the reading that knows of no jump
	saved  time.Time
	folder *statefile.Folder
	tell   func(alert.Event)
	failed bool // the last write did; the log has it
}

// quiet is one of them.
type quiet struct {
	For   time.Duration `json:"for"`            // no message came
	Since time.Time     `json:"since"`          // it is watched, or the last message came
	From  string        `json:"from,omitempty"` // reverse-path of that
	Heard bool          `json:"heard"`          // there was one
	Told  bool          `json:"told"`           // it is silent
}

// open reads what was known before a restart. What cannot be read is told, and
// every route is watched anew.
func (s *silence) open(stateDir string, tell func(alert.Event)) {
	s.folder, s.tell = &statefile.Folder{Dir: filepath.Join(stateDir, "alerts")}, tell
	text, err := s.folder.Read(quietFile, maxQuietFile)
	var routes map[string]*quiet
	if err == nil {
		err = json.Unmarshal(text, &routes)
	}
	for name, q := range routes {
		if q == nil || q.For < 0 {
			delete(routes, name)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		routes = nil
		tell(&alert.NotSaved{Err: fmt.Errorf("for how long routes took no mail cannot be read, and is counted anew: %w", err)})
	}
	s.Lock()
	defer s.Unlock()
	s.routes = routes
	if s.routes == nil {
		s.routes = map[string]*quiet{}
	}
}

// observe notes by which routes a message came, and passes events on. A message
// of routes without an expect takes no lock.
func (s *silence) observe(next func(submission.Event)) func(submission.Event) {
	return func(e submission.Event) {
		if a, ok := e.(*submission.Accepted); ok && len(a.Watched) > 0 {
			s.heard(a, time.Now())
		}
		next(e)
	}
}

func (s *silence) heard(a *submission.Accepted, now time.Time) {
	s.Lock()
	defer s.Unlock()
	for _, name := range a.Watched {
		q := s.routes[name]
		if q == nil { // a reload brought it a moment ago
			q = &quiet{}
			s.routes[name] = q
		}
		q.For, q.Since, q.From, q.Heard = 0, now.Round(0), a.From, true
	}
}

// judge adds the time since it was called last, and is what is to be told. One
// goroutine calls it at a time.
func (s *silence) judge(routes []config.Route, now time.Time) []alert.Trouble {
	all, text := s.look(routes, now)
	if text != nil {
		s.save(text)
	}
	return all
}

// look is judge without the disk, which no message may wait for. text is what
// is to be written; nil: nothing.
func (s *silence) look(routes []config.Route, now time.Time) (all []alert.Trouble, text []byte) {
	s.Lock()
	defer s.Unlock()
	var passed time.Duration
	if !s.looked.IsZero() {
		passed = max(0, now.Sub(s.looked))
	}
	s.looked = now
	watched, changed := map[string]bool{}, false
	for i := range routes {
		r := &routes[i]
		if r.Expect == 0 {
			continue
		}
		watched[r.Name] = true
		q := s.routes[r.Name]
		if q == nil {
			q = &quiet{Since: now.Round(0), For: -passed}
			s.routes[r.Name], changed = q, true
		}
		q.For += passed
		if silent := q.For >= r.Expect; silent != q.Told {
			q.Told, changed = silent, true
		}
		if q.Told {
			all = append(all, silentRoute(r, q))
		}
	}
	for name := range s.routes {
		if !watched[name] {
			delete(s.routes, name)
			changed = true
		}
	}
	if changed || len(s.routes) > 0 && now.Sub(s.saved) >= quietEvery {
		s.saved = now
		text = s.text()
	}
	return all, text
}

func (s *silence) text() []byte {
	text, _ := json.Marshal(s.routes) // of text, numbers and times of this clock
	return text
}

func silentRoute(r *config.Route, q *quiet) alert.Trouble {
	t := alert.Trouble{Key: alert.Key{Kind: routeSilent, Subject: r.Name}, Severity: alert.Warning, Since: q.Since,
		Text:    fmt.Sprintf("no message came by the route %q for longer than its expect (%s); none was seen since it is watched", r.Name, r.Expect),
		Remedy:  "See that the program that sends by this route still runs, and that it reaches this relay: its timer or cron job, its log, its network.",
		Command: "postern status"}
	if q.Heard {
		t.Text = fmt.Sprintf("no message came by the route %q for longer than its expect (%s); the last one, from <%s>, came at %s", r.Name, r.Expect, q.From, q.Since.UTC().Format("2006-01-02 15:04:05 MST"))
		if q.From != "" {
			t.Command = "postern trace " + quoted(q.From)
		}
	}
	return t
}

// close writes what is known, for the next start.
func (s *silence) close() {
	s.Lock()
	var text []byte
	if len(s.routes) > 0 {
		text = s.text()
	}
	s.Unlock()
	if text != nil {
		s.save(text)
	}
}

// save writes the file. It tells of the first error in a row.
func (s *silence) save(text []byte) {
	err := s.folder.Prepare()
	if err == nil {
		err = s.folder.Write(quietFile, text)
	}
	if err != nil && !s.failed {
		s.tell(&alert.NotSaved{Err: err})
	}
	s.failed = err != nil
}

// status is how it stands with the routes that are watched, in their order.
func (s *silence) status(routes []config.Route) (list []control.Expected) {
	s.Lock()
	defer s.Unlock()
	for i := range routes {
		r := &routes[i]
		if r.Expect == 0 {
			continue
		}
		e := control.Expected{Route: r.Name, Within: r.Expect.Seconds()}
		if q := s.routes[r.Name]; q != nil {
			e.Quiet, e.Silent = q.For.Seconds(), q.Told
			if q.Heard {
				last := q.Since
				e.Last = &last
			}
		}
		list = append(list, e)
	}
	return list
}
