package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/queue"
	"postern/spool"
)

func TestListFilters(t *testing.T) {
	f := newFake()
	later := time.Now().Add(time.Hour)
	f.add(1, "a@example.com", "office", spool.RecipientState{Due: later, Attempts: 1}, "x@example.org")
	f.add(2, "", "office", spool.RecipientState{}, "a@example.com")
	f.add(3, "B@example.com", "backup", spool.RecipientState{Held: true}, "y@example.org", "z@example.net")
	f.add(4, hostile+"@example.com", "backup", spool.RecipientState{Due: later}, "w@example.org")
	client, _ := serve(t, f)
	for _, c := range []struct {
		name   string
		filter Filter
		want   []spool.ID
	}{
		{"everything", Filter{}, []spool.ID{1, 2, 3, 4}},
		{"upstream", Filter{Upstream: "backup"}, []spool.ID{3, 4}},
		{"sender without regard to case", Filter{From: "b@EXAMPLE"}, []spool.ID{3}},
		{"null sender", Filter{From: "<>"}, []spool.ID{2}},
		{"any recipient", Filter{To: "example.net"}, []spool.ID{3}},
		{"held", Filter{Held: true}, []spool.ID{3}},
		{"deferred", Filter{Deferred: true}, []spool.ID{1, 4}},
		{"held or deferred", Filter{Held: true, Deferred: true}, []spool.ID{1, 3, 4}},
		{"two at most", Filter{Limit: 2}, []spool.ID{1, 2}},
		{"one of those that match", Filter{Upstream: "backup", Limit: 1}, []spool.ID{3}},
		{"none", Filter{Upstream: "spare"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []spool.ID
			err := client.List(t.Context(), c.filter, func(e *Entry) error {
				id, err := spool.ParseID(e.ID)
				got = append(got, id)
				return err
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("listed %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestListEndsWhenTheVisitorDoes(t *testing.T) {
	f := newFake()
	for i := range 5000 {
		f.add(spool.ID(i+1), "a@example.com", "office", spool.RecipientState{}, "x@example.org")
	}
	client, _ := serve(t, f)
	enough := errors.New("enough")
	n := 0
	err := client.List(t.Context(), Filter{}, func(*Entry) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 3 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestActOnASelection(t *testing.T) {
	f := newFake()
	f.add(1, "a@example.com", "office", spool.RecipientState{}, "x@example.org", "y@example.org")
	f.add(2, "busy@example.com", "office", spool.RecipientState{}, "x@example.org")
	f.add(3, "a@example.com", "backup", spool.RecipientState{}, "x@example.org")
	client, _ := serve(t, f)
	me := "operator"
	if u, err := user.Current(); err == nil && (runtime.GOOS == "linux" || runtime.GOOS == "darwin") {
		me = u.Username
	}
	id := func(n spool.ID) string { return n.String() }
	for _, c := range []struct {
		name string
		op   Op
		sel  Selection
		want queue.Result
		done string // what the daemon was asked
		err  string
	}{
		{name: "by ID", op: OpHold, sel: Selection{IDs: []string{id(1), id(9)}},
			want: queue.Result{Done: 1, Missing: []spool.ID{9}}, done: "hold [" + id(1) + " " + id(9) + "] [] all=false upstream="},
		{name: "by upstream", op: OpRetry, sel: Selection{Filter: Filter{Upstream: "backup"}},
			want: queue.Result{Done: 1}, done: "retry [] [] all=false upstream=backup"},
		{name: "by sender", op: OpRelease, sel: Selection{Filter: Filter{From: "A@"}},
			want: queue.Result{Done: 1}, done: "release [] [{" + id(1) + " 0 []} {" + id(3) + " 0 []}] all=false upstream="},
		{name: "by upstream, one at most", op: OpRetry, sel: Selection{Filter: Filter{Upstream: "office", Limit: 1}},
			want: queue.Result{Done: 1}, done: "retry [] [{" + id(1) + " 0 []}] all=false upstream="},
		{name: "by a filter that nothing meets", op: OpRemove, sel: Selection{All: true, Filter: Filter{From: "nobody"}}},
		{name: "by recipient, who alone is removed", op: OpRemove, sel: Selection{Filter: Filter{To: "Y@"}},
			want: queue.Result{Done: 1}, done: "remove [] [{" + id(1) + " 0 [1]}] all=false upstream="},
		{name: "by recipient, with those that wait with it", op: OpHold, sel: Selection{Filter: Filter{To: "Y@"}},
			want: queue.Result{Done: 1}, done: "hold [] [{" + id(1) + " 0 []}] all=false upstream="},
		{name: "one recipient of messages", op: OpBounce, sel: Selection{IDs: []string{id(1), id(2), id(9)}, Recipients: []string{"X@Example.org"}},
			want: queue.Result{Done: 1, Missing: []spool.ID{9}}, done: "bounce [" + id(9) + "] [{" + id(1) + " 0 [0]} {" + id(2) + " 0 [0]}] all=false upstream="},
		{name: "what is named twice", op: OpBounce, sel: Selection{IDs: []string{id(1), id(1), id(2), id(9), id(9), id(1)}, Recipients: []string{"X@Example.org", "x@example.org"}},
			want: queue.Result{Done: 1, Missing: []spool.ID{9}}, done: "bounce [" + id(9) + "] [{" + id(1) + " 0 [0]} {" + id(2) + " 0 [0]}] all=false upstream="},
		{name: "a recipient that is not there", op: OpRemove, sel: Selection{IDs: []string{id(1)}, Recipients: []string{"z@example.org"}}, err: "no message that was named still has to go to <z@example.org>"},
		{name: "a recipient of nothing", op: OpRemove, sel: Selection{All: true, Recipients: []string{"x@example.org"}}, err: "of messages that are named"},
		{name: "one recipient put on hold", op: OpHold, sel: Selection{IDs: []string{id(1)}, Recipients: []string{"x@example.org"}}, err: "can be removed or bounced"},
		{name: "an upstream that is not there", op: OpRemove, sel: Selection{Filter: Filter{Upstream: "offise"}}, err: `there is no upstream "offise"; did you mean "office"`},
		{name: "all", op: OpRemove, sel: Selection{All: true},
			want: queue.Result{Done: 1}, done: "remove [] [] all=true upstream="},
		{name: "nothing said", op: OpRemove, sel: Selection{}, err: "say that all are meant"},
		{name: "less than none", op: OpRemove, sel: Selection{Filter: Filter{Limit: -1}}, err: "not a number of entries"},
		{name: "not an ID", op: OpRemove, sel: Selection{IDs: []string{"../1"}}, err: "not a message ID"},
		{name: "not an operation", op: "explode", sel: Selection{All: true}, err: "the queue knows"},
		{name: "a fault", op: OpBounce, sel: Selection{All: true, Reason: "fail"}, err: "the disk is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.done = nil
			got, err := client.Act(t.Context(), c.op, c.sel)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || len(f.done) > 0 {
					t.Errorf("%v, done %v; want %q", err, f.done, c.err)
				}
				return
			}
			if c.done != "" {
				c.done += " by " + me
			}
			if done := strings.Join(f.done, ""); err != nil || fmt.Sprint(*got) != fmt.Sprint(c.want) || done != c.done {
				t.Errorf("%+v, %v, done %q; want %+v, done %q", got, err, done, c.want, c.done)
			}
		})
	}
}

func TestMessageAndContent(t *testing.T) {
	f := newFake()
	f.add(7, "a@example.com", "parked", spool.RecipientState{}, "x@example.org")
	client, _ := serve(t, f)
	m, err := client.Message(t.Context(), 7)
	if err != nil || m.Recipients[0].Why != "The upstream \"parked\" is parked (a cause)." {
		t.Errorf("%+v, %v", m, err)
	}
	var b bytes.Buffer
	if err := client.Content(t.Context(), 7, &b); err != nil || b.String() != "Subject: x\r\n\r\nbody\r\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	var refused *Refused
	if _, err := client.Message(t.Context(), 8); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("a message that is not there: %v", err)
	}
	if err := client.Content(t.Context(), 8, &b); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("content that is not there: %v", err)
	}
}

func TestUpstreamSwitches(t *testing.T) {
	f := newFake()
	client, _ := serve(t, f)
	if _, err := client.Pause(t.Context(), "of/fice"); err != nil {
		t.Error(err)
	}
	if _, err := client.Resume(t.Context(), "office"); err != nil {
		t.Error(err)
	}
	if len(f.done) != 2 || !strings.HasPrefix(f.done[0], "pause of/fice by ") || !strings.HasPrefix(f.done[1], "resume office by ") {
		t.Errorf("done %q", f.done)
	}
	for name, want := range map[string]bool{"office": true, "fresh": false} {
		if had, err := client.ForgetTLS(t.Context(), name); had != want || err != nil {
			t.Errorf("forget %s: %v, %v", name, had, err)
		}
	}
	var refused *Refused
	if _, err := client.ForgetTLS(t.Context(), "nobody"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("forget an unknown upstream: %v", err)
	}
	if _, err := client.Pause(t.Context(), "nobody"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("an unknown upstream: %v", err)
	}
}

func TestReloadTellsWhatIsWrong(t *testing.T) {
	f := newFake()
	client, _ := serve(t, f)
	if r, err := client.Reload(t.Context()); err != nil || r.Config != "/etc/x.toml" || len(r.Kept) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	f.reload = func() (*Reloaded, error) { return nil, &Rejected{Problems: problems} }
	_, err := client.Reload(t.Context())
	var refused *Refused
	if !errors.As(err, &refused) || refused.Rejected == nil || !slices.Equal(refused.Rejected.Problems, problems) {
		t.Errorf("%v", err)
	}
	f.reload = func() (*Reloaded, error) { return nil, errors.New("the port is taken") }
	if _, err = client.Reload(t.Context()); err == nil || err.Error() != "the port is taken" {
		t.Errorf("%v", err)
	}
}

func TestMetricsChangeNothing(t *testing.T) {
	f := newFake()
	_, _ = serve(t, f)
	get := func(method, path string) (int, string) {
		req, _ := http.NewRequest(method, "http://"+f.status.Hostname+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if code, body := get("GET", "/metrics"); code != 200 || body != "postern_up 1\n" {
		t.Errorf("/metrics: %d %q", code, body)
	}
	if code, body := get("GET", "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	f.status.Healthy, f.status.Problems = false, []string{"one", "two"}
	if code, body := get("GET", "/healthz"); code != 503 || body != "one\ntwo\n" {
		t.Errorf("/healthz while ill: %d %q", code, body)
	}
	if code, body := get("POST", "/healthz"); code != 405 || body != `{"error":"/healthz takes GET, HEAD, not POST"}`+"\n" {
		t.Errorf("POST /healthz: %d %q", code, body)
	}
	if code, body := get("GET", "/status"); code != 404 || body != `{"error":"there is no /status"}`+"\n" {
		t.Errorf("GET /status: %d %q", code, body)
	}
	for _, path := range []string{"/v1/reload", "/v1/queue/remove", "/v1/status", "/v1/queue"} {
		if code, _ := get("POST", path); code != 404 {
			t.Errorf("POST %s: %d", path, code)
		}
		if code, _ := get("GET", path); code != 404 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// A web page that has its name lead to the metrics reads nothing there.
func TestMetricsAreForThisMachine(t *testing.T) {
	f := newFake()
	_, _ = serve(t, f)
	defer http.DefaultClient.CloseIdleConnections()
	_, port, _ := net.SplitHostPort(f.status.Hostname)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "[::1]": 200, "[::1]:" + port: 200, "localhost:" + port: 200, "LocalHost.": 200, "postern:2627": 200,
		"relay.example.com": 200, "RELAY.example.com:1": 200, "postern.mail.svc.cluster.local": 200,
		"page.example.net": 421, "page.example.net:" + port: 421, "relay.example.com.page.example": 421, "127.0.0.1.page.example": 421, "local.page.example": 421,
	} {
		for _, path := range []string{"/metrics", "/healthz"} {
			req, _ := http.NewRequest("GET", "http://"+f.status.Hostname+path, nil)
			req.Host = host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s of %s: %d, want %d", path, host, resp.StatusCode, want)
			}
		}
	}
}

// hangUp takes connections and closes them.
func hangUp(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

func TestSocketIsSafeReplacedAndRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file modes")
	}
	dir := folder(t)
	path := filepath.Join(dir, "c.sock")
	l, err := Listen(path, 0o640, "")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	go hangUp(l)
	if _, err := Listen(path, 0o640, ""); !errors.Is(err, ErrTaken) {
		t.Errorf("a second daemon: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	// What a killed daemon leaves.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err = Listen(path, 0o600, "")
	if err != nil {
		t.Fatalf("over a dead socket: %v", err)
	}
	// Another daemon's socket in the same place is not removed.
	os.Remove(path)
	other, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing removed another's socket: %v", err)
	}
	other.Close()
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestSocketPlacesThatAreRefused(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "c.sock")
	// A file of somebody's is not touched.
	os.WriteFile(path, []byte("precious"), 0o600)
	if _, err := Listen(path, 0o600, ""); err == nil || !strings.Contains(err.Error(), "not a socket; remove it") {
		t.Errorf("over a file: %v", err)
	}
	if _, err := Listen("/tmp/"+strings.Repeat("x", 120), 0o600, ""); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, "g.sock"), 0o600, "no-such-group-here"); err == nil || !strings.Contains(err.Error(), "no-such-group-here") {
		t.Errorf("an unknown group: %v", err)
	}
}

func TestClientErrorsAreSentences(t *testing.T) {
	dir := folder(t)
	socket := filepath.Join(dir, "c.sock")
	_, err := Dial(socket).Status(t.Context())
	want := fmt.Sprintf("no daemon answers at %s: is `postern serve` running with this configuration?", socket)
	var gone *NoDaemon
	if !errors.As(err, &gone) || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
	// Something that is not a daemon.
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go hangUp(l)
	defer l.Close()
	if _, err = Dial(socket).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("a connection that closes: %v", err)
	}
}

func TestReasons(t *testing.T) {
	now := time.Unix(1700000000, 0)
	refusal := &spool.Outcome{Stage: spool.StageRcpt, Code: 451, Enhanced: "4.7.1", Text: "try later.", Remote: "mx.example.com:25"}
	fault := &spool.Outcome{Stage: spool.StageConnect, Cause: "connection refused", Remote: "mx.example.com:25"}
	none := func(string) string { return "" }
	for _, c := range []struct {
		state spool.RecipientState
		why   func(string) string
		want  string
	}{
		{spool.RecipientState{Status: spool.Delivered, Upstream: "office"}, none, `The upstream "office" took it.`},
		{spool.RecipientState{Status: spool.Bounced, Last: refusal}, none,
			"It failed and was returned to its sender (mx.example.com:25 answered: 451 4.7.1 try later)."},
		{spool.RecipientState{Status: spool.Removed}, none, "An operator removed it."},
		{spool.RecipientState{Held: true, Kept: true, Last: &spool.Outcome{Code: 550, Text: "no", Remote: "mx:25"}}, none,
			"It failed (mx:25 answered: 550 no), and no sender is told: it is kept for a while. `postern queue retry` tries it again, `postern queue remove` ends it."},
		{spool.RecipientState{Held: true}, none, "It is on hold until somebody runs `postern queue release`."},
		{spool.RecipientState{Last: fault}, nil, "No daemon runs: it waits for `postern serve` (connection refused)."},
		{spool.RecipientState{}, func(string) string { return "the upstream is paused" }, "The upstream is paused."},
		{spool.RecipientState{Due: now.Add(time.Hour), Attempts: 2, Last: refusal}, none,
			"The last attempt did not succeed (mx.example.com:25 answered: 451 4.7.1 try later); it is tried again."},
		{spool.RecipientState{Due: now.Add(time.Hour)}, none, "It waits for its time."},
		{spool.RecipientState{Due: now}, none, "It is due and waits for a free connection to its upstream."},
		{spool.RecipientState{Due: now, Attempts: 1, InDoubt: true}, none,
			"It is due again, or an attempt is under way. An earlier attempt ended between the final dot and its answer: this one may make a duplicate."},
		{spool.RecipientState{Due: now, Attempts: 2, InDoubt: true, Last: &spool.Outcome{Stage: spool.StageDot}}, none,
			"It is due again, or an attempt is under way. An earlier attempt ended between the final dot and its answer: this one may make a duplicate." +
				" Where that comes again and again, give the upstream a longer data_timeout, or set retry.after_dot = \"hold\"."},
	} {
		if got := reason(&c.state, &spool.Envelope{Accepted: now}, false, now, c.why); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.state, got, c.want)
		}
	}
}

// A bug that ends an answer is told, and not written to standard error by
// whoever meets it.
func TestFaultsAreTold(t *testing.T) {
	f := newFake()
	f.reload = func() (*Reloaded, error) { panic("a bug") }
	client, _ := serve(t, f)
	if _, err := client.Reload(t.Context()); err == nil {
		t.Error("it succeeded")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failed) != 1 || !strings.HasPrefix(f.failed[0], "http: panic serving ") || !strings.Contains(f.failed[0], "a bug\n") {
		t.Errorf("told: %q", f.failed)
	}
}

// A request with a slip in it is refused in words: a filter that is not
// understood would list everything, or do something to all.
func TestSlipsOfRequests(t *testing.T) {
	f := newFake()
	f.add(1, "a@example.com", "office", spool.RecipientState{}, "x@example.org")
	client, _ := serve(t, f)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/v1/queue?held=yes", "", "held is true or false"},
		{"GET", "/v1/queue?upsteam=office", "", "a list of the queue takes upstream, from,"},
		{"GET", "/v1/queue?limit=few", "", "limit is not a number"},
		{"GET", "/v1/queue?from=%zz", "", "the query is malformed"},
		{"GET", "/v1/queue?upstream=&from=&to=&held=true&deferred=&limit=", "", ""},
		{"GET", "/v1/trace?q=x", "", "name an ID"},
		{"GET", "/v1/trace?q=a@b.example&since=yesterday", "", "since is a time such as"},
		{"GET", "/v1/trace?q=a@b.example&limit=-1", "", "limit is not a number"},
		{"GET", "/v1/trace?text=a@b.example", "", "a search takes q, since, until and limit"},
		{"GET", "/v1/trace?q=a@b.example&limit=5&until=2026-11-28T08:00:00Z", "", ""},
		{"POST", "/v1/queue/hold", "", `such as {"all":true}: it is empty`},
		{"POST", "/v1/queue/hold", "[]", `such as {"all":true}: it is a JSON array`},
		{"POST", "/v1/queue/hold", `{"all":"yes"}`, `"all" cannot be a JSON string`},
		{"POST", "/v1/queue/hold", `{"idz":[]}`, `unknown field "idz"`},
		{"POST", "/v1/queue/hold", `{"all":true} {}`, "more follows the selection"},
	} {
		resp, err := client.do(t.Context(), c.method, c.path, strings.NewReader(c.body))
		if err == nil {
			resp.Body.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %s %s: %v, want %q", c.method, c.path, c.body, err, c.want)
		}
	}
}

// Mail of a sender that the upstream refuses says so, in the list and by
// itself; that of others does not.
func TestRefusedSenderIsTheReason(t *testing.T) {
	f := newFake()
	f.add(1, "refused@example.com", "office", spool.RecipientState{Due: time.Now().Add(time.Hour)}, "x@example.org")
	f.add(2, "a@example.com", "office", spool.RecipientState{}, "x@example.org")
	f.add(3, "refused@example.com", "parked", spool.RecipientState{}, "x@example.org")
	client, _ := serve(t, f)
	const refuses = `the upstream "office" refuses the sender <refused@example.com> (mx.example.com:25 answered 550 no); one message of this sender at a time tries again`
	var waits []string
	if err := client.List(t.Context(), Filter{}, func(e *Entry) error {
		waits = append(waits, e.Waits)
		return nil
	}); err != nil || !slices.Equal(waits, []string{refuses, "", `the upstream "parked" is parked (a cause)`}) {
		t.Errorf("listed %q, %v", waits, err)
	}
	if m, err := client.Message(t.Context(), 1); err != nil || m.Recipients[0].Why != sentence(refuses)+"." {
		t.Errorf("%+v, %v", m, err)
	}
}
