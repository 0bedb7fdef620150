//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"postern/cmd/alert"
	"postern/cmd/control"
)

// told are the alerts that a command of a harness has got, in order.
func (h *harness) told() (all []alert.Entry) {
	h.t.Helper()
	text, _ := os.ReadFile(filepath.Join(h.dir, "told"))
	for line := range strings.Lines(string(text)) {
		var m alert.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			h.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, m.Alerts...)
	}
	return all
}

// count is how often it was told of a kind of trouble that it is open.
func (h *harness) count(kind string) (n int) {
	for _, e := range h.told() {
		if e.Kind == kind && e.Status == "firing" {
			n++
		}
	}
	return n
}

// kept waits until a kind of trouble was told once, and the relay has saved that.
func (h *harness) kept(kind string) {
	h.t.Helper()
	eventually(h.t, kind+" is told", func() bool { return h.count(kind) == 1 })
	eventually(h.t, kind+" is known as told", func() bool {
		var list control.AlertList
		if err := json.Unmarshal([]byte(h.must("alert", "list", "--json")), &list); err != nil {
			h.t.Fatal(err)
		}
		return slices.ContainsFunc(list.Alerts, func(o alert.Open) bool { return o.Kind == kind && !o.Told["notes"].IsZero() })
	})
}

// notesTold is an [[alert]] that count reads.
const notesTold = `
[[alert]]
name = "notes"
command = "cat >>DIR/told"
after = "0"
`

// TestAlerts: a trouble is told once to a command, to an Alertmanager and by mail
// over another upstream, also over a crash; a reload changes who is told.
func TestAlerts(t *testing.T) {
	listen, upstream, backup := freeAddr(t), freeAddr(t), freeAddr(t)
	var mu sync.Mutex
	posts := ""
	manager := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		posts += string(body)
	}))
	defer manager.Close()
	host, port, _ := net.SplitHostPort(backup)
	base := ordinary(listen, upstream) + fmt.Sprintf("[upstream.backup]\nhost = %q\nport = %s\ntls = \"off\"\n", host, port)
	all := base + notesTold + `
[[alert]]
alertmanager = "` + manager.URL + `"
after = "0"
[[alert]]
name = "people"
mail = { to = ["ops@example.com"], from = "postern@example.com", upstream = ["backup"] }
after = "0"
`
	h := newHarness(t, all)
	s := startSink(t, backup)
	h.start()
	if out := h.must("alert", "list"); !strings.HasPrefix(out, "Nothing is wrong.\n") {
		t.Errorf("at first: %s", out)
	}
	send(t, listen, "a@example.com", "stuck")
	eventually(t, "all three are told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return h.count("upstream-down") == 1 && strings.Contains(posts, `"kind":"upstream-down"`) && len(s.received()) == 1
	})
	if e := h.told()[0]; e.Subject != "office" || e.Waiting != 1 || e.Command != "postern upstream test office" || !strings.Contains(e.Words, "refused") {
		t.Errorf("%+v", e)
	}
	if m := s.received()[0]; !strings.Contains(m, "Subject: [relay.example.com] critical: the upstream \"office\"") || !strings.Contains(m, "To: ops@example.com") || !strings.Contains(m, "Auto-Submitted: auto-generated") {
		t.Errorf("the mail:\n%s", m)
	}
	h.kept("upstream-down")
	if out := h.must("alert", "list"); !strings.Contains(out, "CRITICAL: the upstream \"office\"") || !strings.Contains(out, "told      notes at") {
		t.Errorf("list:\n%s", out)
	}
	if r := h.do("alert", "test", "people"); r.code != exitOK || !strings.Contains(r.stdout, "told") {
		t.Errorf("%+v", r)
	}
	eventually(t, "the test arrives", func() bool { return len(s.received()) == 2 && strings.Contains(s.received()[1], "test of the alerts") })

	h.kill()
	h.start()
	h.write(all + "[[nonsense]]\n")
	if r := h.do("reload"); r.code != exitConfig {
		t.Errorf("%+v", r)
	}
	eventually(t, "a refused reload is told", func() bool { return h.count("reload-refused") == 1 })
	if n := h.count("upstream-down"); n != 1 {
		t.Errorf("after a restart it was told %d times", n)
	}
	h.write(base)
	h.must("reload")
	if out := h.must("alert", "list"); !strings.Contains(out, "Nobody is told") {
		t.Errorf("without receivers:\n%s", out)
	}
	if r := h.do("alert", "test"); r.code != exitData || !strings.Contains(r.stderr, "no [[alert]]") {
		t.Errorf("%+v", r)
	}
}

// TestAlertMailMakesNoAlert: a mail that tells of a trouble and is refused makes
// no bounce, is not kept, and is told by nobody.
func TestAlertMailMakesNoAlert(t *testing.T) {
	listen, upstream, backup := freeAddr(t), freeAddr(t), freeAddr(t)
	host, port, _ := net.SplitHostPort(backup)
	h := newHarness(t, ordinary(listen, upstream)+fmt.Sprintf("[upstream.backup]\nhost = %q\nport = %s\ntls = \"off\"\n", host, port)+notesTold+`
[[alert]]
mail = { to = ["ops@example.com"], upstream = ["backup"] }
after = "0"
`)
	s := startSink(t, backup)
	s.refuse = func(string) error {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	h.start()
	send(t, listen, "a@example.com", "stuck")
	eventually(t, "the mail fails", func() bool { return strings.Contains(h.log.String(), `"result":"failed"`) })
	eventually(t, "it is gone", func() bool { return len(h.queued()) == 1 })
	if out := h.must("alert", "list", "--json"); strings.Contains(out, "bounce-kept") || strings.Count(out, `"kind"`) != 1 {
		t.Errorf("%s", out)
	}
}

// TestAlertService: a confined daemon tells a service by a process of its own,
// and nothing of the address is in the log.
func TestAlertService(t *testing.T) {
	var mu sync.Mutex
	got := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got += r.URL.Path + " " + string(body)
		if r.URL.Path == "/s3cretrefused" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t))+`
[[alert]]
name = "hook"
url_file = "DIR/hook"
[[alert]]
name = "refused"
url = "generic+`+s.URL+`/s3cretrefused"
`)
	if err := os.WriteFile(filepath.Join(h.dir, "hook"), []byte("generic+"+s.URL+"/s3crettoken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	r := h.do("alert", "test")
	mu.Lock()
	defer mu.Unlock()
	if r.code != exitUnavailable || !strings.Contains(got, "/s3crettoken The mail relay") && !strings.Contains(got, "/s3crettoken [") || !strings.Contains(r.stdout, "403 Forbidden") {
		t.Errorf("%+v; got %q", r, got)
	}
	if all := r.stdout + r.stderr + h.log.String() + h.must("alert", "list") + h.must("status", "--json"); strings.Contains(all, "s3cret") {
		t.Errorf("the address is shown: %s", all)
	}
}
