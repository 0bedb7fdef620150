package console

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/cmd/feed"
	"postern/cmd/history"
	"postern/cmd/trend"
	"postern/config"
	"postern/queue"
	"postern/relay/addressbook"
	"postern/relay/capture"
	"postern/relay/peer"
	"postern/spool"
	"postern/spool/storetest"
)

// relay is a daemon, and a queue that notes what it is asked to do.
type relay struct {
	mu       sync.Mutex
	store    *storetest.Memory
	done     []string
	events   []Event
	result   queue.Result
	lanes    []control.Lane
	storms   []control.Storm
	troubles []alert.Open
	// receivers of alerts, and whether one fails; nil: none does.
	receivers     []string
	receiverFails func(ctx context.Context, receiver string) error
	cause         spool.Outcome      // why office is parked
	problems      []string           // of the status
	queue         control.Queue      // of the status
	config        *config.Config     // replaced as a whole, under mu
	repeated      error              // of a release; nil: it is the first
	history       string             // the folder of the lives of messages
	shelf         *addressbook.Books // nil: none
	handed        []*Handed
	refuse        func(*Handed) error // nil: all are taken
	taken         func()              // reads the configuration anew; nil: it has errors
}

func (f *relay) search(ctx context.Context, q history.Query) (*history.Found, error) {
	return history.Search(ctx, f.history, q)
}

func (f *relay) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf(format, args...))
}

// noted is what was done since it was asked last.
func (f *relay) noted() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := strings.Join(f.done, "\n")
	f.done = nil
	return text
}

func (f *relay) Lanes(context.Context) ([]queue.LaneStatus, error) {
	return []queue.LaneStatus{{Upstream: "office", State: queue.Parked, Cause: f.cause}}, nil
}

func (f *relay) release(_ context.Context, r *Release) (spool.ID, error) {
	content, err := io.ReadAll(r.Content)
	f.note("release %s from %s to %s by %s for %s: %q", r.Name, r.From, strings.Join(r.To, " "), r.Upstream, r.Operator, content)
	if f.repeated != nil {
		return 0, f.repeated
	}
	return 77, err
}

func (f *relay) act(op string, sel queue.Select, by, reason string) (queue.Result, error) {
	f.note("%s %v by %s %s", op, sel.IDs, by, reason)
	return f.result, nil
}

func (f *relay) Retry(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act("retry", sel, by, "")
}

func (f *relay) Hold(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act("hold", sel, by, "")
}

func (f *relay) Release(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act("release", sel, by, "")
}

func (f *relay) Remove(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act("remove", sel, by, "")
}

func (f *relay) Bounce(_ context.Context, sel queue.Select, by, reason string) (queue.Result, error) {
	return f.act("bounce", sel, by, reason)
}

func (f *relay) Pause(upstream, by string) error {
	if upstream != "office" {
		return queue.ErrNoUpstream
	}
	f.note("pause %s by %s", upstream, by)
	return nil
}

func (f *relay) settings() *config.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config
}

func (f *relay) books() *addressbook.Books {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shelf == nil {
		return &addressbook.Books{}
	}
	return f.shelf
}

func (f *relay) submit(_ context.Context, h *Handed) (spool.ID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		if err := f.refuse(h); err != nil {
			return 0, err
		}
	}
	own := *h
	f.handed = append(f.handed, &own)
	return spool.ID(100 + len(f.handed)), nil
}

func (f *relay) Resume(upstream, by string) error {
	f.note("resume %s by %s", upstream, by)
	return nil
}

func (f *relay) Status() *control.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &control.Status{Hostname: "relay.example.com", Problems: f.problems, Lanes: f.lanes, Storms: f.storms, Queue: f.queue}
}

// List implements control.Alerts: what is open by the test's wish.
func (f *relay) List() []alert.Open {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.troubles
}

func (f *relay) Receivers() []string { return f.receivers }

func (f *relay) Try(ctx context.Context, _ string) (tried []alert.Tried) {
	for _, name := range f.receivers {
		f.note("test of %s", name)
		one := alert.Tried{Receiver: name}
		if f.receiverFails != nil {
			if err := f.receiverFails(ctx, name); err != nil {
				one.Error = err.Error()
			}
		}
		tried = append(tried, one)
	}
	return tried
}

func (f *relay) Health() (problems, degraded []string) { return nil, nil }
func (f *relay) Hostname() string                      { return "relay.example.com" }
func (f *relay) Upstreams() []string                   { return []string{"office"} }
func (f *relay) ForgetTLS(context.Context, string, string) (bool, error) {
	return false, nil
}

func (f *relay) Adopt(context.Context, *spool.Detail, io.Reader, string) (spool.ID, error) {
	return 0, spool.ErrInvalid
}

func (f *relay) Reload(_ context.Context, by string) (*control.Reloaded, error) {
	f.note("reload by %s", by)
	if f.taken != nil {
		f.taken()
		return &control.Reloaded{}, nil
	}
	return nil, &control.Rejected{Problems: []config.Problem{{Text: hostile}}}
}

// hostile is what somebody writes who wants a page to do something.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "\x1b[2J\u202e"

// hash is a stored password that is quick to check.
func hash(password string) string {
	salt := []byte("saltsaltsalt")
	key := argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)
	return "$argon2id$v=19$m=8,t=1,p=1$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(key)
}

func newRelay(t *testing.T) (*relay, *Server) { return newRelayFor(t) }

func newRelayFor(t testing.TB) (*relay, *Server) {
	f := &relay{store: storetest.NewMemory(), result: queue.Result{Done: 1}, config: &config.Config{}, history: t.TempDir()}
	f.cause, f.problems = spool.Outcome{Code: 535, Text: hostile, Remote: "mx.example.com:25"}, []string{hostile}
	f.queue = control.Queue{Deliveries: 3}
	f.config.Hostname = "relay.example.com"
	f.config.Upstreams = map[string]*config.Upstream{}
	f.config.Console.Users = map[string]*config.ConsoleUser{}
	for _, role := range []config.Role{config.RoleLook, config.RoleOperate, config.RoleDefine} {
		f.config.Console.Users[string(role)] = &config.ConsoleUser{Name: string(role), Password: hash("right"), Role: role}
	}
	at := time.Now()
	f.lanes = []control.Lane{{Upstream: "office", Address: hostile, State: queue.Parked, Reason: hostile, Since: &at, Username: hostile, CertificateEnds: &at,
		RefusedSenders: []string{hostile}, Refusals: []control.Refusal{{Sender: hostile, Since: at, Reason: hostile}}, PausedBy: hostile}}
	day, err := trend.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Trend: day, Alerts: f, Store: f.store, Queue: f, Relay: f, Config: f.settings, Search: f.search, Feed: feed.New(), Books: f.books, Submit: f.submit, Captured: capture.NewBox(filepath.Join(t.TempDir(), "capture")), Release: f.release, Login: func(context.Context, string, string, ShowCode) error { return errors.New("no provider") },
		Events: func(e Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e)
		}})
	set, err := Prepare(f.config)
	if err != nil {
		t.Fatal(err)
	}
	s.Use(set)
	return f, s
}

// put queues a message.
func (f *relay) put(t testing.TB, env *spool.Envelope, content string) spool.ID {
	t.Helper()
	d, err := f.store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, content); err != nil {
		t.Fatal(err)
	}
	if env.Accepted.IsZero() {
		env.Accepted = time.Now()
	}
	if err := d.Commit(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

// envelope is one to recipients by way of office.
func envelope(from string, to ...string) *spool.Envelope {
	env := &spool.Envelope{From: from}
	for _, a := range to {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: a, Upstreams: []string{"office"}})
	}
	return env
}

// browser is a client with cookies.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

// open serves s and opens a browser, which signs in as user unless that is
// empty.
func open(t *testing.T, s *Server, user string) *browser {
	t.Helper()
	l, err := peer.ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l, 16) }()
	jar, _ := cookiejar.New(nil)
	b := &browser{t, "http://" + l.Addr().String(), &http.Client{Jar: jar, Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(func() {
		b.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if user != "" {
		if code, _, _ := b.post("/sign-in", url.Values{"name": {user}, "password": {"right"}}); code != http.StatusSeeOther {
			t.Fatalf("sign-in: %d", code)
		}
	}
	return b
}

func (b *browser) do(r *http.Request) (int, http.Header, string) {
	b.t.Helper()
	answer, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

func (b *browser) get(path string) (int, http.Header, string) {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *browser) post(path string, form url.Values) (int, http.Header, string) {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}
