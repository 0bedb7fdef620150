package eventlog

import (
	"io"
	"os"
	"sync"
	"time"
)

const (
	// maxBacklog is how many bytes of lines wait for a reader that has stopped
	// reading. The upper half is for lines above debug.
	maxBacklog = 1 << 20
	// atomicWrite is how much a pipe that has room at all takes without
	// waiting: PIPE_BUF of Linux, in bytes.
	atomicWrite = 4096
	// stuckAfter is how long a backlog may last before it is a problem.
	stuckAfter = 5 * time.Second
)

// sink writes lines, and never makes anybody wait for whoever reads them. A
// line is written before write returns, as long as the reader keeps up: what
// was told before a crash is in the log. Where the reader has stopped, lines
// wait in a buffer for a goroutine that writes them, and what does not fit is
// dropped and counted.
type sink struct {
	w     io.Writer
	ready func() bool // whether a line can be written without waiting; nil: always
	// lost is told, from a goroutine of the sink's, how many lines were
	// dropped once the reader goes on.
	lost func(lines int, since time.Time)

	mu      sync.Mutex
	backlog []byte
	behind  time.Time // since when lines wait; zero: none do
	writing bool      // a goroutine writes the backlog
	drained *sync.Cond
	dropped dropped
	total   int // lines dropped since the start
	closed  bool
}

// dropped are lines that nobody was told of yet.
type dropped struct {
	lines int
	since time.Time
}

func newSink(w io.Writer) *sink {
	s := &sink{w: w, lost: func(int, time.Time) {}}
	s.drained = sync.NewCond(&s.mu)
	if f, ok := w.(*os.File); ok {
		s.ready = readiness(f)
	}
	return s
}

// write takes one line. p is not kept.
func (s *sink) write(p []byte, minor bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.backlog) == 0 && !s.writing && (s.ready == nil || len(p) <= atomicWrite && s.ready()) {
		if _, err := s.w.Write(p); err == nil {
			s.tell()
		} else {
			s.drop()
		}
		return
	}
	limit := maxBacklog
	if minor {
		limit /= 2
	}
	if s.closed || len(s.backlog)+len(p) > limit {
		s.drop()
		return
	}
	s.backlog = append(s.backlog, p...)
	if s.behind.IsZero() {
		s.behind = time.Now()
	}
	if !s.writing {
		s.writing = true
		go s.drain()
	}
}

// drop counts a line. mu is held.
func (s *sink) drop() {
	if s.dropped.lines == 0 {
		s.dropped.since = time.Now()
	}
	s.dropped.lines++
	s.total++
}

// tell reports what was dropped, now that lines go again. mu is held.
func (s *sink) tell() {
	if s.dropped.lines == 0 {
		return
	}
	d := s.dropped
	s.dropped = dropped{}
	go s.lost(d.lines, d.since)
}

// drain writes the backlog. It may wait for ever: nobody waits for it.
func (s *sink) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.backlog) > 0 {
		lines := s.backlog
		s.backlog = nil
		s.mu.Unlock()
		_, err := s.w.Write(lines)
		s.mu.Lock()
		if err != nil {
			for _, c := range lines {
				if c == '\n' {
					s.drop()
				}
			}
		}
	}
	s.writing, s.behind = false, time.Time{}
	s.drained.Broadcast()
	s.tell()
}

// Lag is how the log keeps up with what happens.
type Lag struct {
	Dropped int       // lines since the start
	Stuck   time.Time // since when no line was taken; zero: they are
}

func (s *sink) lag() Lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Lag{Dropped: s.total}
	switch {
	case !s.behind.IsZero() && time.Since(s.behind) > stuckAfter:
		l.Stuck = s.behind
	case s.dropped.lines > 0:
		l.Stuck = s.dropped.since
	}
	return l
}

// close waits for the backlog, at most so long, and drops what is left.
func (s *sink) close(limit time.Duration) {
	timer := time.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		s.drained.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing && !s.closed {
		s.drained.Wait()
	}
}
