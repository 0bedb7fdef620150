package control

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/queue"
	"postern/queue/budget"
	"postern/queue/verdict"
	"postern/relay/oauth"
	"postern/spool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// full is a daemon of which everything can be told.
func full() *fake {
	f := newFake()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	f.status = fullStatus(at)
	last := &spool.Outcome{Stage: spool.StageSignIn, Code: 535, Enhanced: "5.7.139", Text: "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. <no> & no", Cause: "a cause", Remote: "mx.example.com:587",
		DSNRelayed: true, ByRelayed: true, Verdict: spool.Bounced}
	f.add(1, "a@example.com", "office", spool.RecipientState{Due: at.AddDate(200, 0, 0), Attempts: 3, InDoubt: true, Last: last, LastAt: at}, "x@example.org", "y@example.org")
	f.add(2, "", "office", spool.RecipientState{Held: true, Kept: true, Due: at, Last: &spool.Outcome{Stage: spool.StageConnect, Cause: "refused"}, LastAt: at}, "a@example.com")
	f.add(3, "refused@example.com", "backup", spool.RecipientState{Due: at}, "a@example.com")
	for _, d := range f.messages {
		d.Envelope.Accepted = at
	}
	env := f.messages[1].Envelope
	env.MessageID, env.Listener, env.Peer, env.User, env.UnixUser, env.Helo = "<1@example.com>", "apps", "127.0.0.1:4711", "billing", "app", "client"
	env.Body, env.SMTPUTF8, env.RequireTLS, env.EnvelopeID, env.Priority = spool.Body8BitMIME, true, true, "QQ314159", 3
	env.DeliverBy = &spool.DeliverBy{Deadline: at.AddDate(0, 0, 1)}
	for i, s := range []spool.Status{spool.Delivered, spool.Bounced, spool.Removed} {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: fmt.Sprintf("ended%d@example.org", i), Upstreams: []string{"office", "backup"}})
		f.messages[1].Recipients = append(f.messages[1].Recipients, spool.RecipientState{Status: s, Upstream: "office", Attempts: 1, Last: last, LastAt: at})
	}
	return f
}

func fullStatus(at time.Time) Status {
	return Status{
		Version: "v1.2.3", PID: 42, Hostname: "relay.example.com", Config: "/etc/postern.toml", Settings: "digest",
		Started: at, Loaded: at.Add(time.Hour), Healthy: false, Problems: []string{"one"}, Degraded: []string{"two"},
		Descriptors: &Descriptors{Limit: 1024, Needed: 2048, Lowered: map[string]int{"apps": 7}},
		Listeners:   []Listener{{Name: "apps", Address: "127.0.0.1:2525", TLS: "off", Connections: 3}},
		Metrics:     "127.0.0.1:2627",
		Spool: Spool{Dir: "/var/spool/postern", Usage: spool.Usage{Messages: 1, Disk: 2, Live: 3, Free: 4, MaxSize: 5, MinFree: 6,
			MaxMessages: 7, Full: true, SetAside: 8, Segments: 9, Shares: 10, Kept: 11, Failing: errors.New("no")}},
		Queue: Queue{Deliveries: 1, Due: 2, Deferred: 3, Held: 4, Kept: 5, Active: 6, OldestDue: &at},
		Lanes: []Lane{
			{Upstream: "office", Address: "mx.example.com:587", Provider: "microsoft365", TLS: "opportunistic", Auth: "xoauth2",
				Username: "billing", State: queue.Parked, Settings: "digest", Reason: "535 no",
				Advice: &verdict.Advice{Meaning: "It means that.", Remedy: "Do this.", Source: "https://example.com/"},
				Since:  &at, NextProbe: &at, Sessions: 1, MaxConnections: 2, MaxRecipients: 3, MaxMessageSize: 4, Queued: 5, OldestDue: &at,
				RefusedSenders: []string{"a@example.com"}, Refusals: []Refusal{{Sender: "a@example.com", Since: at, Waiting: 6, Reason: "550 no"}},
				DownSince: &at, PausedBy: "root", Rates: []budget.Left{{Rate: "30/1m", Left: 7}, {Rate: "1/1d", Next: at}}, WaitsSince: &at, Pace: 1.5,
				Memory: &TLSMemory{Offered: &at, Valid: &at, Way: "mx.example.com:465", Implicit: true, Found: &at, Problem: "none"},
				Token:  &oauth.Status{Present: true, Upstream: "office", Obtained: at, Expires: at, Renewable: true, NeedsLogin: true, Problem: "none"}},
			{Upstream: "bare", State: queue.Up, Advice: &verdict.Advice{Meaning: "A.", Remedy: "B."}, Memory: &TLSMemory{}, Token: &oauth.Status{}},
		},
	}
}

// TestRoutesAnswerAsScriptsReadThem: what each route answers, byte by byte.
// Scripts read it.
func TestRoutesAnswerAsScriptsReadThem(t *testing.T) {
	var got strings.Builder
	ask := func(f *fake, method, path, body string) {
		r := httptest.NewRecorder()
		f.server().control.Handler.ServeHTTP(r, httptest.NewRequest(method, path, strings.NewReader(body)))
		fmt.Fprintf(&got, "%s %s %s\n%d %s\n%s\n", method, path, body, r.Code, r.Header().Get("Content-Type"), r.Body)
	}
	one, nine := spool.ID(1).String(), spool.ID(9).String()
	for _, r := range [][3]string{
		{"GET", "/v1/status"},
		{"GET", "/v1/queue"}, {"GET", "/v1/queue?to=y@&limit=1"}, {"GET", "/v1/queue?upstream=nobody"}, {"GET", "/v1/queue?held=perhaps"},
		{"GET", "/v1/messages/" + one}, {"GET", "/v1/messages/" + spool.ID(2).String()}, {"GET", "/v1/messages/" + nine}, {"GET", "/v1/messages/x"},
		{"GET", "/v1/messages/" + one + "/content"}, {"GET", "/v1/messages/" + nine + "/content"},
		{"POST", "/v1/queue/hold", `{"ids":["` + one + `","` + nine + `"]}`}, {"POST", "/v1/queue/retry", `{"filter":{"from":"nobody"}}`},
		{"POST", "/v1/queue/remove", `{}`}, {"POST", "/v1/queue/bounce", `{"all":true,"reason":"fail"}`}, {"POST", "/v1/queue/explode", `{}`},
		{"POST", "/v1/upstreams/office/pause"}, {"POST", "/v1/upstreams/nobody/pause"}, {"POST", "/v1/upstreams/office/resume"},
		{"POST", "/v1/upstreams/office/forget-tls"}, {"POST", "/v1/upstreams/spare/forget-tls"},
		{"POST", "/v1/reload"}, {"GET", "/v1/reload"}, {"GET", "/v1/nothing"}, {"GET", "/metrics"}, {"GET", "/healthz"},
	} {
		ask(full(), r[0], r[1], r[2])
	}
	problem := config.Problem{File: "/etc/x.toml", Line: 3, Key: "retry.lifetime", Text: "is a number", Hint: `write "5d"`}
	for _, reload := range []func() (*Reloaded, error){
		func() (*Reloaded, error) {
			return &Reloaded{Config: "x", Warnings: []config.Problem{problem, {Text: "bare"}}, Kept: []string{"k"}}, nil
		},
		func() (*Reloaded, error) { return nil, &Rejected{Problems: []config.Problem{problem}} },
		func() (*Reloaded, error) {
			return nil, &Blocked{Obstacle: ObstacleTaken, Reason: "The port is taken", Hint: "Free it."}
		},
		func() (*Reloaded, error) { return nil, errors.New("a fault") },
	} {
		f := full()
		f.reload = reload
		ask(f, http.MethodPost, "/v1/reload", "")
	}
	f := full()
	f.acted = &queue.Result{Done: 1, Recipients: 2, Busy: []spool.ID{1}, Missing: []spool.ID{9}, Held: []spool.ID{1}, Senderless: []spool.ID{9}, Unreadable: []spool.ID{2}}
	ask(f, http.MethodPost, "/v1/queue/bounce", `{"all":true}`)
	const path = "testdata/routes.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("answers are not those of %s:\n%s", path, got.String())
	}
}
