package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/config"
)

// follow opens a stream. next is the event that comes next, with its data; empty:
// the stream has ended.
func (b *browser) follow(path string, head ...string) (status int, next func() (event, data string), stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", streaming)
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	answer, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	lines := bufio.NewReader(answer.Body)
	stop = func() { cancel(); answer.Body.Close() }
	b.t.Cleanup(stop)
	return answer.StatusCode, func() (event, data string) {
		for {
			line, err := lines.ReadString('\n')
			switch line = strings.TrimSuffix(line, "\n"); {
			case err != nil:
				return "", ""
			case line == "" && event != "":
				return event, data
			case strings.HasPrefix(line, "event: "):
				event = line[len("event: "):]
			case strings.HasPrefix(line, "data: "):
				data += line[len("data: "):] + "\n"
			}
		}
	}, stop
}

// logged adds a line to the log that is looked on.
func logged(s *Server, level, event string, fields ...string) {
	b := fmt.Appendf(nil, `{"time":%q,"level":%q,"event":%q`, time.Now().Format(time.RFC3339Nano), level, event)
	for i := 0; i < len(fields); i += 2 {
		text, _ := json.Marshal(fields[i+1])
		b = fmt.Appendf(b, `,%q:%s`, fields[i], text)
	}
	s.Feed.Add(append(b, '}', '\n'))
}

// Events are shown as they were, and go on; nothing in them is more than text, and
// nobody sees what is not for them.
func TestEvents(t *testing.T) {
	_, s := newRelay(t)
	logged(s, "info", "message-accepted", "id", "18c5", "from", hostile, "peer", "192.0.2.1:4711")
	logged(s, "warn", "console-sign-in-failed", "peer", "192.0.2.1:4711", "user", "hunter2", "why", "wrong password")
	logged(s, "warn", "storm-began", "storm", "18c5", "subject", "the salaries")
	logged(s, "error", "defect", "panic", "nil", "stack", "goroutine 1")
	b := open(t, s, "look")
	_, _, body := b.get("/events")
	for _, want := range []string{"message-accepted", `<a href="/messages/18c5">`, "&lt;script&gt;", "storm-began", "defect", `data-stream="/events/stream?from=4&amp;level=&amp;q="`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, not := range []string{"<script>alert", "<img", "hunter2", "the salaries", "goroutine 1"} {
		if strings.Contains(body, not) {
			t.Errorf("the page has %s", not)
		}
	}
	if strings.Index(body, "defect") > strings.Index(body, "message-accepted") {
		t.Error("the newest is not the first")
	}
	if _, _, body := open(t, serverOf(s, &relay{config: s.Config()}), "operate").get("/events"); !strings.Contains(body, "the salaries") {
		t.Error("operate sees no subject")
	}
	if _, _, body := b.get("/events?level=warn&q=SALARIES"); strings.Contains(body, ">storm-began<") || strings.Contains(body, ">message-accepted<") {
		t.Error("a search finds what may not be seen")
	}
	if _, _, body := b.get("/events?level=warn&q=wrong+password"); !strings.Contains(body, ">console-sign-in-failed<") || strings.Contains(body, ">message-accepted<") || strings.Contains(body, ">defect<") {
		t.Error("a search does not find what it is to find")
	}
	status, next, _ := b.follow("/events/stream?from=2")
	event, data := next()
	if status != http.StatusOK || event != "lines" || !strings.Contains(data, "defect") || !strings.Contains(data, "storm-began") || strings.Contains(data, "hunter2") {
		t.Errorf("%d %s %s", status, event, data)
	}
	logged(s, "warn", "mail-refused", "text", hostile)
	if _, data := next(); !strings.Contains(data, "mail-refused") || strings.Contains(data, "<img") || strings.Contains(data, "\x1b") {
		t.Errorf("%s", data)
	}
	_, next, _ = b.follow("/events/stream", "Last-Event-ID", "4") // a browser that was cut off
	if _, data := next(); !strings.Contains(data, "mail-refused") || strings.Contains(data, "defect") {
		t.Errorf("%s", data)
	}
	if code, _, _ := b.get("/events/stream"); code != http.StatusNotAcceptable {
		t.Errorf("a page of a stream: %d", code)
	}
}

// Who changes what in a book shows to those alone who may see it.
func TestEventsOfBooks(t *testing.T) {
	f, s := newRelay(t)
	withBooks(t, f, config.Book{Name: "board", Provider: config.BookCSV, ConsoleUser: []string{"operate"}})
	for _, book := range []string{"team", "board", "gone"} {
		logged(s, "info", "book-changed", "book", book, "what", "put into Spies of "+book, "who", "somebody of "+book, "operator", "console:operate")
	}
	for user, want := range map[string][]string{"look": {"team"}, "operate": {"team", "board"}, "define": {"team"}} {
		b := open(t, serverOf(s, f), user)
		for _, path := range []string{"/events", "/events?q=spies"} {
			_, _, body := b.get(path)
			for _, book := range []string{"team", "board", "gone"} {
				if shows := strings.Contains(body, "somebody of "+book); shows != slices.Contains(want, book) {
					t.Errorf("%s, %s: %s shows: %t", user, path, book, shows)
				}
			}
		}
		_, next, _ := b.follow("/events/stream?from=0")
		if _, data := next(); strings.Contains(data, "of board") != (user == "operate") || strings.Contains(data, "of gone") || !strings.Contains(data, "of team") {
			t.Errorf("%s: %s", user, data)
		}
	}
}

var lostLines = regexp.MustCompile(`<em>(\d+) events are not shown`)

// Whoever is slower than the relay sees the newest, and how many they did not see.
func TestSlowViewer(t *testing.T) {
	_, s := newRelay(t)
	b := open(t, s, "look")
	_, next, _ := b.follow("/events/stream?from=0")
	const all = 5000
	for i := range all {
		logged(s, "info", "message-accepted", "n", strconv.Itoa(i))
	}
	shown, lost := 0, 0
	for shown+lost < all {
		event, data := next()
		if event != "lines" {
			t.Fatalf("%q after %d shown, %d lost", event, shown, lost)
		}
		shown += strings.Count(data, "message-accepted")
		for _, m := range lostLines.FindAllStringSubmatch(data, -1) {
			n, _ := strconv.Atoi(m[1])
			lost += n
		}
	}
	if shown+lost != all || lost == 0 {
		t.Errorf("%d shown, %d lost", shown, lost)
	}
}

// withPassword are settings in which a user has another password.
func withPassword(f *relay, user, password string) *Settings {
	own := f.config.Console
	own.Users = maps.Clone(own.Users)
	other := *own.Users[user]
	other.Password = hash(password)
	own.Users[user] = &other
	return &Settings{console: &own, hostname: f.config.Hostname}
}

// A stream ends with the session, whichever way that ends, and with the server.
func TestStreamsEnd(t *testing.T) {
	f, s := newRelay(t)
	b := open(t, s, "look")
	_, overview, _ := b.follow("/stream")
	_, events, _ := b.follow("/events/stream")
	if event, data := overview(); event != "part" || !strings.Contains(data, `id="health"`) || strings.Contains(data, "<img") {
		t.Fatalf("%s %s", event, data)
	}
	if code, _, _ := b.post("/sign-out", nil); code != http.StatusSeeOther {
		t.Fatal(code)
	}
	for _, next := range []func() (string, string){overview, events} {
		event, data := next()
		for event == "part" { // what was on its way
			event, data = next()
		}
		if event != "over" || data != "signed out\n" {
			t.Errorf("after sign-out: %q %q", event, data)
		}
		if event, _ := next(); event != "" {
			t.Errorf("it goes on: %s", event)
		}
	}
	fresh := serverOf(s, f)
	c := open(t, fresh, "look")
	_, events, _ = c.follow("/events/stream")
	fresh.Use(withPassword(f, "look", "another"))
	if event, _ := events(); event != "over" {
		t.Errorf("after another password: %q", event)
	}
	c = open(t, serverOf(s, f), "operate")
	_, events, _ = c.follow("/events/stream")
	ended := make(chan string)
	go func() { event, _ := events(); ended <- event }()
	_ = fresh.Shutdown(t.Context())
	t.Cleanup(func() { // after that of the server
		if event := <-ended; event != "" {
			t.Errorf("after the end of the server: %q", event)
		}
	})
}

// A window too many is told to ask no more; a place that is left is another's. No
// stream keeps a session from ending.
func TestStreamsAreBounded(t *testing.T) {
	_, s := newRelay(t)
	b := open(t, s, "look")
	var stop func()
	for range maxOfWindow {
		var status int
		if status, _, stop = b.follow("/events/stream"); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	if status, _, _ := b.follow("/stream"); status != http.StatusNoContent {
		t.Errorf("one too many: %d", status)
	}
	stop()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		status, _, _ := b.follow("/events/stream")
		if status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal(status)
		}
	}
	var all streams
	for i := range maxStreams {
		if !all.enter(strconv.Itoa(i)) {
			t.Fatal(i)
		}
	}
	if all.enter("another") {
		t.Error("more than there may be of all")
	}
	all = streams{}
	all.limit(8)
	for i := range 4 {
		all.enter(strconv.Itoa(i))
	}
	if all.enter("another") {
		t.Error("more than half of the connections")
	}
}

func TestStreamsKeepNoSession(t *testing.T) {
	f, s := newRelay(t)
	f.lanes = []control.Lane{}
	b := open(t, s, "look")
	used := func() (at time.Time) {
		s.sessions.mu.Lock()
		defer s.sessions.mu.Unlock()
		for _, one := range s.sessions.all {
			at = one.used
		}
		return at
	}
	before := used()
	_, next, _ := b.follow("/events/stream")
	logged(s, "info", "ready")
	if event, _ := next(); event != "lines" || !used().Equal(before) {
		t.Errorf("%s, used %s after %s", event, used(), before)
	}
}
