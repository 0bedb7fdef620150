package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/passwd"
	"postern/relay/route"
	"postern/relay/submission"
	"postern/spool"
	"postern/spool/storetest"
)

// rig is a server with both listeners, over a store in memory.
type rig struct {
	t      *testing.T
	server *Server
	store  *storetest.Memory
	agent  *submission.Agent
	path   string // of the unix socket
	url    string // of the address
	dir    string

	mu     sync.Mutex // guards events
	events []string
}

// secret is the token "shop" of each rig.
const secret = "a-secret-token"

var secretHash = sync.OnceValue(func() string {
	hash, err := passwd.Argon2id(secret)
	if err != nil {
		panic(err)
	}
	return hash
})

// newRig makes one. http are further lines of [http] and behind it.
func newRig(t *testing.T, http string) *rig {
	t.Helper()
	return newRigWith(t, http, func(a submission.Acceptor) submission.Acceptor { return a })
}

// newRigWith is newRig with something between it and the store.
func newRigWith(t *testing.T, http string, between func(submission.Acceptor) submission.Acceptor) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, store: storetest.NewMemory(), dir: dir, path: filepath.Join(dir, "submit.sock")}
	r.agent = submission.New(submission.Options{Accept: between(r.store)})
	r.server = New(Options{
		Submission: r.agent, Messages: kept{r.store}, Memory: origin.NewBudget(64 << 20),
		Events: func(e Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, fmt.Sprintf("%T", e))
		},
	})
	r.apply(http)
	r.url = "http://" + r.server.Addrs()[config.HTTPListener].String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return r
}

// apply puts a configuration in force.
func (r *rig) apply(http string) {
	r.t.Helper()
	if !strings.Contains(http, "[http.token.shop]") {
		http += fmt.Sprintf("\n[http.token.shop]\nhash = %q\ncompat = [\"resend\", \"postmark\", \"sendgrid\", \"mailgun\"]\n", secretHash())
	}
	text := fmt.Sprintf(`
hostname = "relay.example.com"
[spool]
dir = %q
[control]
socket = %q
[upstream.office]
host = "smtp.example.net"
[[route]]
from = ["*@forbidden.example"]
reject = "not from here"
[[route]]
from = ["*@example.com"]
to = ["nobody@example.org"]
reject = "nobody lives there"
[[route]]
from = ["*@example.com", "<>"]
upstream = ["office"]
[http]
address = "127.0.0.1:0"
%s
`, filepath.Join(r.dir, "spool"), filepath.Join(r.dir, "control.sock"), http)
	path := filepath.Join(r.dir, "postern.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		r.t.Fatal(err)
	}
	routes, err := route.New(cfg.Routes)
	if err != nil {
		r.t.Fatal(err)
	}
	policy, err := submission.NewPolicy(cfg, routes)
	if err != nil {
		r.t.Fatal(err)
	}
	plan, err := r.server.Prepare(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.agent.Use(policy)
	r.server.Use(plan)
}

// kept tells of the messages of a store.
type kept struct{ *storetest.Memory }

func (k kept) Cancel(ctx context.Context, id spool.ID, _ string) error {
	d, err := k.Take(ctx, id, 0)
	if err != nil {
		return err
	}
	outcomes := make([]spool.Outcome, len(d.Pending))
	for i := range outcomes {
		outcomes[i].Verdict = spool.Removed
	}
	_, err = k.Settle(ctx, d, spool.Settlement{Outcomes: outcomes})
	return err
}

// call is a request.
type call struct {
	method, path string // "POST" where it is empty
	kind         string // Content-Type; empty: JSON
	body         string
	header       []string // "Name: value"
	socket       bool     // by the unix socket
	anonymous    bool     // without a token
}

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   string
}

func (a *answered) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	return v
}

func (r *rig) client(socket bool) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	if socket {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.path)
		}
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (r *rig) do(c call) *answered {
	r.t.Helper()
	method, url := c.method, r.url
	if method == "" {
		method = "POST"
	}
	if c.socket {
		url = "http://localhost"
	}
	req, err := http.NewRequest(method, url+c.path, strings.NewReader(c.body))
	if err != nil {
		r.t.Fatal(err)
	}
	if c.body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	req.Header.Set("Content-Type", c.kind)
	if c.kind == "" {
		req.Header.Set("Content-Type", mediaJSON)
	}
	if !c.anonymous && !c.socket {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for _, line := range c.header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	res, err := r.client(c.socket).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return &answered{res.StatusCode, res.Header, string(b)}
}

// message is the content of a message that was accepted, without what differs
// from one time to the next, and its envelope.
func (r *rig) message(id string) (string, *spool.Envelope) {
	r.t.Helper()
	n, err := spool.ParseID(id)
	if err != nil {
		r.t.Fatalf("%q: %v", id, err)
	}
	c, err := r.store.Content(context.Background(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.NewSectionReader(c, 0, c.Size())); err != nil {
		r.t.Fatal(err)
	}
	d, err := r.store.Detail(context.Background(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return b.String(), d.Envelope
}

// content is that of a message by its number; false: there is no such message.
func (r *rig) content(number int) (string, bool) {
	id := fmt.Sprintf("%013x", number)
	n, err := spool.ParseID(id)
	if err == nil {
		_, err = r.store.Detail(context.Background(), n)
	}
	if err != nil {
		return "", false
	}
	content, _ := r.message(id)
	return content, true
}

// count is how many messages there are.
func (r *rig) count() int {
	u, err := r.store.Usage(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return u.Messages
}

func (r *rig) saw(event string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e == "*api."+event {
			n++
		}
	}
	return n
}
