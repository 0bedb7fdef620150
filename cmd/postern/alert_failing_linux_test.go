package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/cmd/alert"
)

// awayUpstream is an upstream that nobody is behind, with a route, and text of a
// configuration that begins with it.
func awayUpstream(t *testing.T, base string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(freeAddr(t))
	return strings.Replace(base, "[[route]]", fmt.Sprintf("[upstream.away]\nhost = %q\nport = %s\ntls = \"off\"\n[[route]]\nfrom = [\"away@example.com\"]\nupstream = [\"away\"]\n[[route]]", host, port), 1)
}

// listed is what `alert list` says of the trouble in which text stands.
func (h *harness) listed(text string) string {
	for one := range strings.SplitSeq(h.must("alert", "list"), "\n\n") {
		if strings.Contains(one, text) {
			return one
		}
	}
	return ""
}

// TestAlertReceiversThatFail: a webhook and an Alertmanager that answer 500 stand in
// nobody's way: mail goes, others are told, log and list say whom it could not be told,
// and why. They are tried again, and told once when they are back.
func TestAlertReceiversThatFail(t *testing.T) {
	t.Parallel() // it waits, most of the time
	var broken atomic.Bool
	broken.Store(true)
	var mu sync.Mutex
	refused, taken := map[string]int{}, map[string]int{} // by path: requests, and those of the upstream
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case broken.Load():
			refused[r.URL.Path]++
			http.Error(w, "out of order", http.StatusInternalServerError)
		case strings.Contains(string(body), `the upstream \"away\"`) || strings.Contains(string(body), `the upstream "away"`):
			taken[r.URL.Path]++
		}
	}))
	defer server.Close()
	each := func(n map[string]int, least int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return n["/hook"] >= least && n["/api/v2/alerts"] >= least
		}
	}
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, awayUpstream(t, ordinary(listen, upstream))+notesTold+fmt.Sprintf(`
[[alert]]
name = "hook"
url = "generic+%s/hook"
after = "0"
[[alert]]
name = "manager"
alertmanager = %q
after = "0"
`, server.URL, server.URL))
	office := startSink(t, upstream)
	h.start()
	send(t, listen, "away@example.com", "stuck")
	eventually(t, "both are tried", each(refused, 1))
	for _, name := range []string{"hook", "manager"} {
		eventually(t, "the log tells of "+name, func() bool {
			for line := range strings.Lines(h.log.String()) {
				if strings.Contains(line, `"alert-failed"`) && strings.Contains(line, fmt.Sprintf("%q", name)) && strings.Contains(line, "500 Internal Server Error") {
					return true
				}
			}
			return false
		})
	}
	send(t, listen, "a@example.com", "goes on")
	eventually(t, "mail goes on", func() bool { return len(office.received()) == 1 })
	eventually(t, "the list tells who knows", func() bool { return strings.Contains(h.listed(`the upstream "away"`), "  told      notes at ") })
	if one := h.listed(`the upstream "away"`); strings.Contains(one, "hook at") || strings.Contains(one, "manager at") {
		t.Errorf("%s", one)
	}
	long := os.Getenv("POSTERN_LONG") != ""
	if long { // the second attempt comes ten seconds after the first, and others are told of what fails twice
		for _, name := range []string{"hook", "manager"} {
			eventually(t, "the list tells why of "+name, func() bool {
				return strings.Contains(h.listed(fmt.Sprintf("the alert receiver %q cannot be told: ", name)), "500 Internal Server Error")
			})
		}
		inTime(t, "others are told of both", func() bool { return h.count(alert.Unreachable) == 2 })
	}

	broken.Store(false)
	inTime(t, "both are told", each(taken, 1))
	eventually(t, "the list tells that", func() bool {
		one := h.listed(`the upstream "away"`)
		return strings.Contains(one, "hook at ") && strings.Contains(one, "manager at ")
	})
	if long {
		inTime(t, "it is told that they are back", func() bool {
			n := 0
			for _, e := range h.told() {
				if e.Kind == alert.Unreachable && e.Status == "resolved" {
					n++
				}
			}
			return n == 2
		})
	}
	mu.Lock()
	defer mu.Unlock()
	if taken["/hook"] != 1 || h.count("upstream-down") != 1 {
		t.Errorf("a webhook was told %d times, a command %d times", taken["/hook"], h.count("upstream-down"))
	}
	for _, name := range []string{"hook", "manager"} {
		if n := strings.Count(h.log.String(), fmt.Sprintf(`"alert-failed","receiver":%q`, name)); n != 1 {
			t.Errorf("the log tells %d times that %s failed", n, name)
		}
	}
}

// TestAlertMailHangs: an upstream that gets a mail of an alert, and says nothing any
// more, stands in nobody's way. Where it is given up, others are told of it. The mail
// arrives once when it goes on.
func TestAlertMailHangs(t *testing.T) {
	for name, timeout := range map[string]string{"under way": "5m", "given up": "1s"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits, most of the time
			alertMailHangs(t, timeout)
		})
	}
}

func alertMailHangs(t *testing.T, timeout string) {
	listen, upstream, backup := freeAddr(t), freeAddr(t), freeAddr(t)
	host, port, _ := net.SplitHostPort(backup)
	h := newHarness(t, awayUpstream(t, ordinary(listen, upstream))+notesTold+fmt.Sprintf(`
[upstream.backup]
host = %q
port = %s
tls = "off"
command_timeout = %q
[[alert]]
name = "people"
mail = { to = ["ops@example.com"], from = "postern@example.com", upstream = ["backup"] }
after = "0"
`, host, port, timeout))
	office, other := startSink(t, upstream), startSink(t, backup)
	hangs, free := make(chan struct{}, 1), make(chan struct{})
	other.refuse = func(string) error {
		select {
		case hangs <- struct{}{}:
		default:
		}
		<-free
		return nil
	}
	goOn := sync.OnceFunc(func() { close(free) })
	t.Cleanup(goOn)
	h.start()
	send(t, listen, "away@example.com", "stuck")
	select {
	case <-hangs:
	case <-time.After(waitLimit):
		t.Fatal("no mail of an alert is sent")
	}
	for i := range 5 {
		send(t, listen, "a@example.com", fmt.Sprintf("%d goes on", i))
	}
	eventually(t, "mail goes on", func() bool { return len(office.received()) == 5 })
	eventually(t, "a command is told", func() bool { return h.count("upstream-down") > 0 })
	h.must("status")
	if timeout == "1s" {
		eventually(t, "the list tells of the upstream", func() bool { return h.listed(`the upstream "backup"`) != "" })
		send(t, listen, "a@example.com", "and on")
		eventually(t, "mail goes on", func() bool { return len(office.received()) == 6 })
	}
	if n := len(other.received()); n > 0 {
		t.Errorf("%d mails have come through", n)
	}
	goOn()
	about := func() (n int) {
		for _, m := range other.received() {
			if strings.Contains(m, `critical: the upstream "away"`) {
				n++
			}
		}
		return n
	}
	inTime(t, "the mail arrives", func() bool { return about() > 0 })
	eventually(t, "nothing else waits", func() bool { return len(h.queued()) == 1 })
	if n := about(); n != 1 {
		t.Errorf("the mail came %d times", n)
	}
}
