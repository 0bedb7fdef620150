package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/history"
	"postern/config"
	"postern/queue"
	"postern/spool"
)

// fake is a daemon with a queue in memory that notes what it is asked to do.
type fake struct {
	unread       map[spool.ID]error // what is said where a message is read
	mu           sync.Mutex
	messages     map[spool.ID]*spool.Detail
	status       Status
	done         []string
	adopted      map[spool.KeyName]spool.ID
	taken        *spool.Detail // that was adopted last, with its content
	takenContent []byte
	failed       []string
	reload       func() (*Reloaded, error)
	body         string        // of every message
	acted        *queue.Result // what orders come to; nil: what the queue in memory tells
}

// hostile is text that may not act on anything.
const hostile = "evil\x1b[2J\x00\u202e\u009b"

func newFake() *fake {
	return &fake{messages: map[spool.ID]*spool.Detail{}, status: Status{Version: "v1", Healthy: true}, body: "Subject: x\r\n\r\nbody\r\n"}
}

// add queues a message with one share.
func (f *fake) add(id spool.ID, from, upstream string, state spool.RecipientState, to ...string) {
	d := &spool.Detail{ID: id, Size: 100, Envelope: &spool.Envelope{From: from, Accepted: time.Unix(1700000000, 0)}}
	for _, a := range to {
		d.Envelope.Recipients = append(d.Envelope.Recipients, spool.Recipient{Address: a, Upstreams: []string{upstream}})
		state.Upstream = upstream
		d.Recipients = append(d.Recipients, state)
	}
	f.messages[id] = d
}

func (f *fake) Status() *Status { return &f.status }

func (f *fake) Find(_ context.Context, _ spool.Query, visit func(spool.Summary) bool) error {
	f.mu.Lock()
	ids := make([]spool.ID, 0, len(f.messages))
	for id := range f.messages {
		ids = append(ids, id)
	}
	f.mu.Unlock()
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	for _, id := range ids {
		d := f.messages[id]
		r := &d.Recipients[0]
		if !visit(spool.Summary{
			ID: id, Size: d.Size, Accepted: d.Envelope.Accepted, Upstreams: d.Envelope.Recipients[0].Upstreams,
			Pending: len(d.Recipients), Attempts: r.Attempts, Due: r.Due, Held: r.Held,
		}) {
			return nil
		}
	}
	return nil
}

func (f *fake) Detail(_ context.Context, id spool.ID) (*spool.Detail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.unread[id]; err != nil {
		return nil, err
	}
	if d := f.messages[id]; d != nil {
		return d, nil
	}
	return nil, spool.ErrNotFound
}

func (f *fake) Usage(context.Context) (spool.Usage, error) {
	return spool.Usage{Messages: len(f.messages)}, nil
}

func (f *fake) Shares(context.Context, spool.ID) ([]spool.Summary, error) {
	return nil, spool.ErrNotFound
}

type content struct{ *strings.Reader }

func (content) Close() error { return nil }

func (f *fake) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	if _, err := f.Detail(ctx, id); err != nil {
		return nil, err
	}
	return content{strings.NewReader(f.body)}, nil
}

func (f *fake) Adopt(_ context.Context, m *spool.Detail, content io.Reader, operator string) (spool.ID, error) {
	b, err := io.ReadAll(content)
	if err != nil {
		return 0, err
	}
	if k := m.Envelope.Key; k != nil {
		if f.adopted[k.Name] != 0 {
			return 0, k.Again(f.adopted[k.Name], k.Digest)
		}
		f.adopted = map[spool.KeyName]spool.ID{k.Name: m.ID + 1}
	}
	f.taken, f.takenContent = m, b
	f.done = append(f.done, fmt.Sprintf("adopt %s from %s, %d bytes, by %s", m.ID, m.Envelope.From, len(b), operator))
	return m.ID + 1, nil
}

func (f *fake) Health() (problems, degraded []string) { return f.status.Problems, f.status.Degraded }

func (f *fake) Lanes(context.Context) ([]queue.LaneStatus, error) {
	refused := []queue.RefusedSender{{Sender: "refused@example.com", Cause: spool.Outcome{Code: 550, Text: "no", Remote: "mx.example.com:25"}}}
	return []queue.LaneStatus{
		{Upstream: "backup", State: queue.Up, Refused: refused}, {Upstream: "office", State: queue.Up, Refused: refused},
		{Upstream: "parked", State: queue.Parked, Cause: spool.Outcome{Text: "a cause"}},
	}, nil
}

func (f *fake) act(op Op, sel queue.Select, by, reason string) (queue.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reason == "fail" {
		return queue.Result{}, errors.New("the disk is gone")
	}
	parts := []string{}
	for _, s := range sel.Shares {
		parts = append(parts, fmt.Sprintf("{%s %d %v}", s.ID, s.Share, sel.Only[s]))
	}
	f.done = append(f.done, fmt.Sprintf("%s %v %v all=%t upstream=%s by %s", op, sel.IDs, parts, sel.All, sel.Upstream, by))
	if f.acted != nil {
		return *f.acted, nil
	}
	done := queue.Result{Done: 1}
	for _, id := range sel.IDs {
		if f.messages[id] == nil {
			done.Missing = append(done.Missing, id)
		}
	}
	return done, nil
}

func (f *fake) Retry(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act(OpRetry, sel, by, "")
}

func (f *fake) Hold(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act(OpHold, sel, by, "")
}

func (f *fake) Release(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act(OpRelease, sel, by, "")
}

func (f *fake) Remove(_ context.Context, sel queue.Select, by string) (queue.Result, error) {
	return f.act(OpRemove, sel, by, "")
}

func (f *fake) Bounce(_ context.Context, sel queue.Select, by, reason string) (queue.Result, error) {
	return f.act(OpBounce, sel, by, reason)
}

func (f *fake) Hostname() string { return "relay.example.com" }

func (f *fake) Upstreams() []string { return []string{"backup", "office", "spare"} }

func (f *fake) Pause(upstream, operator string) error {
	if upstream == "nobody" {
		return queue.ErrNoUpstream
	}
	f.done = append(f.done, "pause "+upstream+" by "+operator)
	return nil
}

func (f *fake) ForgetTLS(_ context.Context, upstream, operator string) (bool, error) {
	if upstream == "nobody" {
		return false, queue.ErrNoUpstream
	}
	f.done = append(f.done, "forget "+upstream+" by "+operator)
	return upstream == "office", nil
}

func (f *fake) Resume(upstream, operator string) error {
	f.done = append(f.done, "resume "+upstream+" by "+operator)
	return nil
}

func (f *fake) Reload(context.Context, string) (*Reloaded, error) {
	if f.reload != nil {
		return f.reload()
	}
	return &Reloaded{Config: "/etc/x.toml", Kept: []string{"spool.dir"}}, nil
}

func (f *fake) event(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = append(f.failed, e.(Failed).Text)
}

// server is a server for f.
func (f *fake) server() *Server {
	return NewServer(Options{Store: f, Queue: f, Relay: f, Events: f.event, Search: func(ctx context.Context, q history.Query) (*history.Found, error) { return history.Search(ctx, "", q) },
		Scrapes: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("postern_up 1\n")) })})
}

// folder is a folder whose path is short enough for sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "adm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve runs a server for f on a temporary control socket.
func serve(t *testing.T, f *fake) (client *Client, socket string) {
	t.Helper()
	return serveAs(t, f, Places, f.server())
}

// serveAs is serve for a server that is not as usual.
func serveAs(t *testing.T, f *fake, places int, s *Server) (client *Client, socket string) {
	t.Helper()
	socket = filepath.Join(folder(t), "control.sock")
	l, err := Listen(socket, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.ServeControl(l, places); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := s.ServeMetrics(tcp, places); err != nil {
			t.Error(err)
		}
	})
	f.status.Hostname = tcp.Addr().String() // where the tests find the public listener
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return Dial(socket), socket
}

var problems = []config.Problem{{File: "/etc/x.toml", Line: 3, Key: "retry.lifetime", Text: "is a number", Hint: `write "5d"`}}
