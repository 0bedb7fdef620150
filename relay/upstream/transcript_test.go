package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/memory"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
	"postern/spool/statefile"
)

var fingerprint = regexp.MustCompile("sha256:[0-9a-f]{64}")

var update = flag.Bool("update", false, "rewrite the results in testdata")

// bench is what every transcript may use: certificates and their authority.
type bench struct {
	ca    string
	certs map[string]tls.Certificate
	dir   string
	pair  [2]string // a client certificate
}

func newBench(t testing.TB) *bench {
	dir := t.TempDir()
	ca := upstreamtest.NewAuthority(t)
	b := &bench{dir: dir, ca: ca.File(t, dir), certs: map[string]tls.Certificate{
		"good":       ca.Issue(t, "mx.example"),
		"expired":    ca.IssueExpired(t, "mx.example"),
		"wrongname":  ca.Issue(t, "other.example"),
		"selfsigned": upstreamtest.SelfSigned(t, "mx.example"),
	}}
	b.pair[0], b.pair[1] = upstreamtest.WritePair(t, dir, "client", ca.Issue(t, "relay.example"))
	return b
}

// transcript is one case of a file in testdata: a dialogue, and what has to
// come of it.
type transcript struct {
	name     string
	text     []string // every line but the results, as it stands in the file
	script   upstreamtest.Script
	settings []string // of lines that set something up
	purse    purse
	examine  []string // options of an examination; nil: a delivery
	memory   *memory.Store
	dir      string // of memory
	want     []string
}

func readTranscripts(t *testing.T, path string) (head []string, cases []*transcript) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimRight(string(file), "\n"), "\n") {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			cases = append(cases, &transcript{name: name})
		}
		if len(cases) == 0 {
			head = append(head, line)
			continue
		}
		c := cases[len(cases)-1]
		if result, ok := strings.CutPrefix(line, "= "); ok {
			c.want = append(c.want, result)
			continue
		}
		c.text = append(c.text, line)
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "S:", "S>", "C:", "C?", "*":
			c.script = append(c.script, line)
		case "upstream", "message", "feed", "tokens", "examine", "memory":
			c.settings = append(c.settings, line)
		case "#", "==", "":
		default:
			t.Fatalf("%s: %q is no line of a transcript", path, line)
		}
	}
	return head, cases
}

func writeTranscripts(t *testing.T, path string, head []string, cases []*transcript) {
	t.Helper()
	lines := head
	for _, c := range cases {
		for len(c.text) > 0 && c.text[len(c.text)-1] == "" {
			c.text = c.text[:len(c.text)-1]
		}
		lines = append(lines, c.text...)
		for _, w := range c.want {
			lines = append(lines, "= "+w)
		}
		lines = append(lines, "")
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every dialogue of testdata, with a clock that only moves while everybody
// waits: a time-out of five minutes is exact and takes no time.
func TestTranscripts(t *testing.T) {
	b := newBench(t)
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	total := 0
	for _, path := range files {
		head, cases := readTranscripts(t, path)
		total += len(cases)
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { c.run(t, b) })
				})
			}
		})
		if *update {
			writeTranscripts(t, path, head, cases)
		}
	}
	if total < 100 {
		t.Errorf("%d cases, fewer than there were", total)
	}
}

func (c *transcript) run(t *testing.T, b *bench) {
	up, feed := c.setUp(t, b)
	client, server := upstreamtest.Pipe()
	var problems []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		problems = c.script.Play(server, b.certs)
	}()
	rec := &recorder{}
	dialer := &upstream.Dialer{
		Hostname: func() string { return "relay.example" },
		Events:   rec.tell,
		Tokens:   c.purse,
		Memory:   c.memory,
		Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
	}
	if c.examine != nil {
		got := c.examined(t, dialer, up)
		<-done
		for _, problem := range problems {
			t.Error(problem)
		}
		c.compare(t, c.masked(b, got))
		return
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	feed.cancel = cancel
	err := dialer.Deliver(ctx, up, feed)
	elapsed := time.Since(began)
	<-done
	for _, problem := range append(problems, feed.Breaches()...) {
		t.Error(problem)
	}
	c.compare(t, c.masked(b, append(results(feed, err, rec, elapsed), c.remembered(up)...)))
}

// masked replaces what differs from run to run.
func (c *transcript) masked(b *bench, lines []string) []string {
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], b.dir+string(filepath.Separator), "")
		if c.dir != "" {
			lines[i] = strings.ReplaceAll(lines[i], c.dir+string(filepath.Separator), "")
		}
		lines[i] = fingerprint.ReplaceAllString(lines[i], "sha256:…")
	}
	return lines
}

func (c *transcript) compare(t *testing.T, got []string) {
	if *update {
		c.want = got
		return
	}
	if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
		t.Errorf("got\n= %s\nwant\n= %s", strings.Join(got, "\n= "), strings.Join(c.want, "\n= "))
	}
}

// recorder keeps what the session tells.
type recorder struct {
	opened    []upstream.Opened
	closed    []upstream.Closed
	problems  []upstream.TLSProblem
	learned   []upstream.Learned
	forgot    []upstream.MemoryFailed
	stalled   int
	addresses []upstream.AddressFailed
}

func (r *recorder) tell(e upstream.Event) {
	switch e := e.(type) {
	case *upstream.Opened:
		r.opened = append(r.opened, *e)
	case *upstream.Closed:
		r.closed = append(r.closed, *e)
	case *upstream.TLSProblem:
		r.problems = append(r.problems, *e)
	case *upstream.Learned:
		r.learned = append(r.learned, *e)
	case *upstream.AddressFailed:
		r.addresses = append(r.addresses, *e)
	case *upstream.Stalled:
		r.stalled++
	case *upstream.MemoryFailed:
		r.forgot = append(r.forgot, *e)
	}
}

var stageNames = [...]string{"local", "resolve", "connect", "tls", "greet", "signin", "mail", "rcpt", "data", "body", "dot"}

func describeOutcome(o *spool.Outcome) string {
	s := fmt.Sprintf("%s %d", stageNames[o.Stage], o.Code)
	if o.Enhanced != "" {
		s += " " + o.Enhanced
	}
	s += fmt.Sprintf(" %q", o.Text)
	if o.Cause != "" {
		s += fmt.Sprintf(" because %q", o.Cause)
	}
	if o.Unsupported {
		s += " unsupported"
	}
	if o.DSNRelayed {
		s += " dsn-relayed"
	}
	if o.ByRelayed {
		s += " by-relayed"
	}
	return s
}

// results writes down everything that a session told anybody.
func results(feed *testFeed, err error, rec *recorder, elapsed time.Duration) []string {
	var out []string
	for _, p := range rec.problems {
		line := fmt.Sprintf("TLS problem %q in clear %v", p.Problem, p.InClear)
		if p.Downgrade {
			line += " downgrade"
		}
		out = append(out, line)
	}
	for _, l := range rec.learned {
		out = append(out, fmt.Sprintf("learned %s durable %v", l.Fact, l.Durable))
	}
	for _, f := range rec.forgot {
		out = append(out, fmt.Sprintf("memory: cannot %s: %s", f.Operation, f.Cause))
	}
	for _, s := range feed.Settled() {
		if s.Released {
			out = append(out, fmt.Sprintf("message %d: released", s.Delivery.ID))
		}
		for i, o := range s.Outcomes {
			line := fmt.Sprintf("message %d: <%s> %s", s.Delivery.ID,
				s.Delivery.Envelope.Recipients[s.Delivery.Pending[i]].Address, describeOutcome(&o))
			if s.DotSent > 0 && (o.Stage != spool.StageDot || o.Code == 0) {
				line += " dot announced"
			}
			out = append(out, line)
		}
	}
	var fault *spool.Fault
	switch {
	case errors.As(err, &fault):
		out = append(out, "fault: "+describeOutcome(&fault.Outcome))
	case err != nil:
		out = append(out, "error: "+err.Error())
	}
	for _, c := range rec.closed {
		out = append(out, fmt.Sprintf("closed: %q", c.Reason))
	}
	if elapsed >= time.Second {
		out = append(out, "took "+elapsed.Truncate(100*time.Millisecond).String())
	}
	return out
}

// remembered is what another process will find.
func (c *transcript) remembered(up *config.Upstream) []string {
	if c.memory == nil {
		return nil
	}
	facts, err := memory.New(&statefile.State{Dir: c.dir}).Recall(up.Name, upstream.Target(up))
	if err != nil {
		return []string{"remembered: " + err.Error()}
	}
	line := "remembered:"
	if !facts.Offered.IsZero() {
		line += " offered " + facts.Offered.Format(time.DateOnly)
	}
	if !facts.Valid.IsZero() {
		line += " valid " + facts.Valid.Format(time.DateOnly)
	}
	return []string{line}
}

// testFeed can end the daemon while it is asked.
type testFeed struct {
	*upstreamtest.Feed
	cancel context.CancelFunc
}
