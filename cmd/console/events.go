package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"postern/cmd/feed"
	"postern/config"
)

const (
	linesPerPage = 100
	linesAtOnce  = 200 // of a stream, at each look; the page keeps as many
)

// lookedOn is the page of the last lines.
type lookedOn struct {
	Level, Text string // what is asked for; empty: all
	Stream      string // its address
	Next        string // the number of the line that comes next
	Lines       []eventLine
}

// eventLine is a line of the log as a viewer may see it.
type eventLine struct {
	feed.Line
	Lost uint64 // so many were written over, and this is none itself; 0: it is one
}

// Problem tells whether it is about something that is wrong.
func (l eventLine) Problem() bool { return l.Level == "error" }

// Message is the message that a line is about; empty: none.
func (l eventLine) Message() string { return l.Of("id") }

// sight is what a viewer wants to see, and may.
type sight struct {
	level, text string
	contents    bool // subjects as well
	// book tells whether they may know of the address book of a name.
	book func(name string) bool
}

func (s *Server) sightOf(r *request) sight {
	return sight{r.Form.Get("level"), strings.ToLower(strings.TrimSpace(r.Form.Get("q"))), r.may(config.RoleOperate), func(name string) bool { return s.sees(r, name) }}
}

// show is a line as it is shown; not ok: it isn't, nor is one of a book that somebody
// else looks after. A name that nobody has can be
// a password in the wrong place, subjects are a part of contents, and stacks are
// for the log.
func (v sight) show(l feed.Line) (out eventLine, ok bool) {
	l.Fields = slices.DeleteFunc(l.Fields, func(f feed.Field) bool {
		return f.Value == "" || f.Key == "stack" || f.Key == "subject" && !v.contents || f.Key == "user" && l.Event == "console-sign-in-failed"
	})
	if v.level == "warn" && l.Level != "warn" && l.Level != "error" || l.Event == "" {
		return out, false
	}
	if l.Event == "book-changed" && !v.book(l.Of("book")) {
		return out, false
	}
	if v.text != "" && !strings.Contains(l.Event, v.text) && !slices.ContainsFunc(l.Fields, func(f feed.Field) bool { return strings.Contains(strings.ToLower(f.Value), v.text) }) {
		return out, false
	}
	return eventLine{Line: l}, true
}

// seen are the lines from a number on, the newest first.
func (s *Server) seen(v sight, from uint64, most int) (list []eventLine, next uint64) {
	lines, next, lost := s.Feed.Since(from, most)
	if lost > 0 {
		list = append(list, eventLine{Lost: lost})
	}
	for _, l := range lines {
		if shown, ok := v.show(l); ok {
			list = append(list, shown)
		}
	}
	slices.Reverse(list)
	return list, next
}

func (s *Server) events(w http.ResponseWriter, r *request) {
	v := s.sightOf(r)
	page := &lookedOn{Level: v.level, Text: v.text}
	from := s.Feed.Next()
	from -= min(from, feed.Kept)
	list, next := s.seen(v, from, feed.Kept)
	list = slices.DeleteFunc(list, func(l eventLine) bool { return l.Lost > 0 }) // nobody was looking
	page.Lines, page.Next = list[:min(len(list), linesPerPage)], strconv.FormatUint(next, 10)
	page.Stream = "/events/stream?" + url.Values{"level": {v.level}, "q": {v.text}, "from": {page.Next}}.Encode()
	s.page(w, r, http.StatusOK, "events", "Events", page)
}

// eventStream goes on with the lines that come. Where more come than are shown at
// a look, the oldest are passed over and counted.
func (s *Server) eventStream(w http.ResponseWriter, r *request) {
	v := s.sightOf(r)
	at, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		if at, err = strconv.ParseUint(r.Form.Get("from"), 10, 64); err != nil {
			at = s.Feed.Next()
		}
	}
	s.stream(w, r, lookOn, func() (update, <-chan struct{}) {
		passed := uint64(0)
		if next := s.Feed.Next(); next > linesAtOnce && at < next-linesAtOnce {
			passed = next - linesAtOnce - at
			at += passed
		}
		list, next := s.seen(v, at, linesAtOnce)
		at = next
		if passed > 0 {
			list = append(list, eventLine{Lost: passed})
		}
		if len(list) == 0 {
			return update{}, nil
		}
		data, err := s.fragment("events", "lines", list)
		if err != nil {
			return update{last: true}, nil
		}
		return update{event: "lines", id: strconv.FormatUint(at, 10), data: data}, nil
	})
}
