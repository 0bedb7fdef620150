package console

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Bounds of streams. A stream ends after answerTimeout like any other answer, and
// the browser goes on with another one where it ended.
const (
	maxStreams  = 16                     // of all users, and no more than half of the connections
	maxOfWindow = 3                      // of one session: browsers open six connections to a host
	keepAlive   = 15 * time.Second       // nothing is said for so long at most
	lookOn      = 500 * time.Millisecond // how often it is seen whether it is to go on
)

// streams counts those that are open. Its methods may be called concurrently.
type streams struct {
	mu   sync.Mutex // guards what follows
	all  int
	of   map[string]int // by the secret of the session
	most int            // 0: maxStreams
}

// enter takes a place for a stream, unless there is none.
func (s *streams) enter(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := maxStreams
	if s.most > 0 {
		most = min(most, s.most)
	}
	if s.all >= most || s.of[secret] >= maxOfWindow {
		return false
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	s.all++
	s.of[secret]++
	return true
}

func (s *streams) leave(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[secret]--; s.of[secret] == 0 {
		delete(s.of, secret)
	}
}

// limit says of how many connections the streams are a part.
func (s *streams) limit(places int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(1, places/2)
}

// update is something that a stream says; the zero value is nothing.
type update struct {
	event string // which the script knows
	id    string // to go on from; empty: there is none
	data  []byte
	last  bool // nothing follows, and the browser is to ask no more
}

// streaming is the Accept of a browser's EventSource, which nothing else has.
const streaming = "text/event-stream"

// stream answers with server-sent events (HTML Living Standard §9.2): what next
// has to say, asked at once and then at each interval, or when changed is closed;
// nil: never. It ends with the session, with the role that a route needs, and
// with the server.
func (s *Server) stream(w http.ResponseWriter, r *request, every time.Duration, next func() (update, <-chan struct{})) {
	if r.Header.Get("Accept") != streaming {
		s.fail(w, r, http.StatusNotAcceptable, errors.New("this is for the script of a page"))
		return
	}
	if !s.streams.enter(r.secret) { // 204 has a browser ask no more
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer s.streams.leave(r.secret)
	w.Header().Set("Content-Type", streaming)
	out := http.NewResponseController(w)
	tick := time.NewTicker(lookOn)
	defer tick.Stop()
	var what update
	var changed <-chan struct{}
	role, quiet, due := r.user.Role, time.Now(), time.Now()
	said := []byte("retry: 2000\n\n")
	for {
		what = update{}
		if !time.Now().Before(due) {
			what, changed = next()
			due = time.Now().Add(every)
		}
		if what.event != "" {
			said = what.append(said)
		} else if len(said) == 0 && time.Since(quiet) > keepAlive {
			said = []byte(":\n\n")
		}
		if what.last {
			said = (&update{event: "over", data: []byte("done")}).append(said)
		}
		if len(said) > 0 {
			if _, err := w.Write(said); err != nil || out.Flush() != nil {
				return
			}
			said, quiet = said[:0], time.Now()
		}
		if what.last {
			return
		}
		select {
		case <-tick.C:
		case <-changed:
			changed, due = nil, time.Now()
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
		r.set = s.settings.Load()
		if u := s.signedIn(r); u == nil || !u.Role.Covers(role) {
			_, _ = w.Write((&update{event: "over", data: []byte("signed out")}).append(nil))
			return
		}
	}
}

func (u *update) append(b []byte) []byte {
	b = fmt.Appendf(b, "event: %s\n", u.event)
	if u.id != "" {
		b = fmt.Appendf(b, "id: %s\n", u.id)
	}
	for line := range bytes.Lines(u.data) {
		b = append(append(append(b, "data: "...), strings.TrimRight(string(line), "\r\n")...), '\n')
	}
	return append(b, '\n')
}
