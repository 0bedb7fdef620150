package eventlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/queue/budget"
	"postern/relay/oauth"
	"postern/relay/submission"
	"postern/spool"
)

// scrape reads the names of all metrics.
func scrape(l *Log) []string {
	now := time.Now().Add(-time.Minute)
	handler := l.Metrics(func() *control.Status {
		return &control.Status{
			Version: "v1", Healthy: true, Expected: []control.Expected{{Route: "backups"}},
			Listeners: []control.Listener{{Name: "local"}},
			Lanes: []control.Lane{{
				Upstream: "office", State: queue.Parked,
				Rates:  []budget.Left{{Rate: "30/1m", Next: time.Unix(2000000000, 0)}},
				Memory: &control.TLSMemory{Offered: &now, Valid: &now, Found: &now},
				Token:  &oauth.Status{Present: true, Expires: time.Unix(2000000000, 0)},
			}},
			Queue: control.Queue{OldestDue: &now},
		}
	})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(w.Body.String(), -1) {
		names = append(names, m[1])
	}
	return names
}

func TestConsoleLine(t *testing.T) {
	var out bytes.Buffer
	l, err := New(&out, Options{Level: "info", Format: "auto", Terminal: true})
	if err != nil {
		t.Fatal(err)
	}
	l.info("message-accepted", zap.String("from", ""), zap.String("to", "a b"), zap.Int("size", 3),
		zap.Duration("took", 1500*time.Millisecond), zap.Bool("held", true), list("upstreams", []string{"a", "b"}),
		zap.Skip(), moment("next", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	got := out.String()
	want := ` INFO  message-accepted from="" to="a b" size=3 took=1.5s held=true upstreams="a, b" next=2026-01-02T03:04:05Z` + "\n"
	if !strings.HasSuffix(got, want) || len(got) != len(want)+len("2026-01-02 15:04:05.000") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLevelsAndFormats(t *testing.T) {
	for _, o := range []Options{{Level: "loud", Format: "json"}, {Level: "fatal", Format: "json"}, {Level: "info", Format: "xml"}} {
		if _, err := New(io.Discard, o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	var out bytes.Buffer
	l, err := New(&out, Options{Level: "warn", Format: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	l.info("no", zap.Int("n", 1))
	if err := l.SetLevel("debug"); err != nil || l.level.String() != "debug" {
		t.Errorf("%v, level %s", err, l.level.String())
	}
	l.debug("yes", zap.Int("n", 1))
	if l.SetLevel("chatty") == nil || l.level.String() != "debug" {
		t.Errorf("a wrong level was taken: %s", l.level.String())
	}
	if got := out.String(); strings.Contains(got, `"no"`) || !strings.Contains(got, `"event":"yes","n":1`) || !strings.HasPrefix(got, "{") {
		t.Errorf("%q", got)
	}
}

// A field that could hold anything at all is not written: here a
// configuration with a password in it.
func TestUncheckedFieldsAreNotWritten(t *testing.T) {
	var out bytes.Buffer
	l, err := New(&out, Options{Level: "info", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	up := &config.Upstream{Account: config.Account{Name: "office", Password: config.NewSecret("hunter2")}}
	listener := config.Listener{Users: map[string]string{"app": "$argon2id$hunter2"}}
	l.info("x", zap.Any("upstream", up), zap.Reflect("listener", listener), zap.Any("users", listener.Users),
		zap.Stringer("secret", up.Password), zap.ByteString("bytes", []byte("hunter2")),
		zap.String("printed", fmt.Sprintf("%v %+v %#v", up, up, up)))
	if strings.Contains(out.String(), "hunter2") || strings.Count(out.String(), "(not shown)") != 5 {
		t.Errorf("%s", out.String())
	}
}

func TestOneLineForEachAttempt(t *testing.T) {
	var out bytes.Buffer
	l, err := New(&out, Options{Level: "info", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	l.Queue()(&queue.Attempted{
		ID: 7, From: "a@example.com", To: "b@example.com", Upstream: "office", Number: 2, Delay: 1500 * time.Millisecond,
		Outcome: spool.Outcome{Stage: spool.StageRcpt, Code: 450, Enhanced: "4.2.1", Text: "busy", Remote: "mx:25"},
	})
	got := out.String()
	for _, want := range []string{`"event":"delivery-attempt"`, `"id":"` + spool.ID(7).String() + `"`, `"from":"a@example.com"`,
		`"to":"b@example.com"`, `"upstream":"office"`, `"result":"deferred"`, `"code":450`, `"enhanced":"4.2.1"`,
		`"delay":1.5`, `"attempt":2`, `"stage":"rcpt"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	if strings.Count(got, "\n") != 1 {
		t.Errorf("not one line: %s", got)
	}
}

func BenchmarkAttempted(b *testing.B) {
	for _, format := range []string{"json", "console"} {
		b.Run(format, func(b *testing.B) {
			l, err := New(io.Discard, Options{Level: "info", Format: format})
			if err != nil {
				b.Fatal(err)
			}
			tell := l.Queue()
			a := &queue.Attempted{
				ID: 7, From: "a@example.com", To: "b@example.com", Upstream: "office", Number: 1, Delay: time.Second, Size: 1024,
				Outcome: spool.Outcome{Stage: spool.StageDot, Code: 250, Enhanced: "2.0.0", Text: "ok", Remote: "mx:25", Verdict: spool.Delivered},
			}
			b.ReportAllocs()
			for b.Loop() {
				tell(a)
			}
		})
	}
}

type keeper struct{ bytes.Buffer }

func (k *keeper) Add(line []byte) { k.Write(line) }
func (k *keeper) Dropped() int64  { return 0 }

// TestKeep: lines about messages are kept in JSON, whatever the log is like.
func TestKeep(t *testing.T) {
	for _, o := range []Options{{Level: "info", Format: "json"}, {Level: "error", Format: "json"}, {Level: "info", Format: "console"}, {Level: "debug", Format: "json"}} {
		var out bytes.Buffer
		var kept keeper
		l, err := New(&out, o)
		if err != nil {
			t.Fatal(err)
		}
		l.Keep(&kept)
		l.Process().Ready(time.Second) // about no message
		l.Submission()(&submission.Accepted{Client: &submission.Client{}, ID: 7, From: "a\x1b@example.com", Recipients: 1})
		l.Queue()(&queue.Attempted{ID: 7, From: "a@example.com", To: "b@example.org", Upstream: "office", Outcome: spool.Outcome{Verdict: spool.Delivered}})
		l.Queue()(&queue.Finished{ID: 7}) // debug
		var events []string
		for line := range strings.Lines(kept.String()) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			events = append(events, v["event"].(string))
		}
		if got := strings.Join(events, " "); got != "message-accepted delivery-attempt" || strings.Contains(kept.String(), "\x1b") {
			t.Errorf("%+v: kept %s", o, kept.String())
		}
		if o.Level == "error" && out.Len() > 0 {
			t.Errorf("the log has %s", out.String())
		}
		if o.Level == "info" && strings.Count(out.String(), "\n") != 3 {
			t.Errorf("%+v: the log has %s", o, out.String())
		}
	}
}
