//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/relay/upstream/upstreamtest"
)

// endings counts, by kind and subject, how often an Alertmanager is told that a trouble
// is open, and that it is over.
type endings struct {
	mu         sync.Mutex
	open, over map[string]int
}

// ServeHTTP is API v2 of an Alertmanager.
func (e *endings) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var list []struct {
		Labels map[string]string
		EndsAt time.Time
	}
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range list {
		of := e.open
		if !a.EndsAt.IsZero() {
			of = e.over
		}
		of[a.Labels["kind"]+" "+a.Labels["subject"]]++
	}
}

// told tells how often it was told of a kind that one is open, and over.
func (e *endings) told(kind string) (open, over int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, n := range e.open {
		if strings.HasPrefix(key, kind+" ") {
			open += n
		}
	}
	for key, n := range e.over {
		if strings.HasPrefix(key, kind+" ") {
			over += n
		}
	}
	return open, over
}

// endLimit is how long the end of a trouble may take to be told: half a minute after
// it was gone, and later to a receiver who was told a moment ago.
const endLimit = 5 * time.Minute

// inTime waits until a condition holds that takes a rest of a receiver, or the half
// minute of an end.
func inTime(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(endLimit); !holds(); time.Sleep(100 * time.Millisecond) { // another process is waited for
		if time.Now().After(end) {
			t.Fatalf("it did not come about: %s", what)
		}
	}
}

// ended waits until it was told that troubles of these kinds are over, and none of
// them is open.
func (e *endings) ended(h *harness, kinds ...string) {
	h.t.Helper()
	for _, kind := range kinds {
		inTime(h.t, "it is told that it is over: "+kind, func() bool {
			_, over := e.told(kind)
			return over > 0
		})
		if list := h.must("alert", "list", "--json"); strings.Contains(list, fmt.Sprintf("%q", kind)) {
			h.t.Errorf("%s is over, and listed:\n%s", kind, list)
		}
	}
}

// watched are two [[alert]]: of who notes when troubles are told, and of who notes
// when they are over.
func watched(t *testing.T) (s *stagedOnes, e *endings, alerts string) {
	t.Helper()
	s, e = &stagedOnes{}, &endings{open: map[string]int{}, over: map[string]int{}}
	for name, one := range map[string]http.Handler{"manager": s, "ends": e} {
		server := httptest.NewServer(one)
		t.Cleanup(server.Close)
		alerts += fmt.Sprintf("[[alert]]\nname = %q\nalertmanager = %q\nafter = \"0\"\n", name, server.URL)
	}
	return s, e, alerts
}

// TestTroublesEnd: what was wrong and is mended is told as over.
func TestTroublesEnd(t *testing.T) {
	t.Parallel() // it waits, most of the time
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("it takes the half minute after which a trouble counts as over (POSTERN_LONG)")
	}
	h := newHarness(t, "placeholder")
	e := &endings{open: map[string]int{}, over: map[string]int{}}
	manager := httptest.NewServer(e)
	defer manager.Close()
	listen, addrs := freeAddr(t), map[string]string{}
	for name, answers := range map[string]map[string]string{
		"parked":   {"AUTH": "535 5.7.8 Username and Password not accepted"},
		"slow":     {"MAIL": "454 4.7.0 Throttling failure: Maximum sending rate exceeded."},
		"sender":   {"MAIL": "550 5.7.60 SMTP; Client does not have permissions to send as this sender"},
		"refusing": {"RCPT": "550 5.1.1 no such user"},
		"good":     {"AUTH": "235 2.7.0 welcome"},
		"rated":    {}, "down": nil, "gone": nil,
	} {
		if addrs[name] = freeAddr(t); answers != nil {
			answering(t, addrs[name], answers)
		}
	}
	certify := func(lasts time.Duration) {
		t.Helper()
		cert, key := upstreamtest.WritePair(t, h.dir, "pair", upstreamtest.NewAuthority(t).IssueUntil(t, time.Now().Add(lasts), "relay.example.com"))
		for from, to := range map[string]string{cert: "cert.pem", key: "key.pem"} {
			if err := os.Rename(from, filepath.Join(h.dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	certify(10 * 24 * time.Hour)
	if err := os.WriteFile(filepath.Join(h.dir, "secret"), []byte("hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write(h.troubled(addrs, listen, manager.URL, true))
	h.start()
	mail := func(name, subject string) {
		t.Helper()
		text := "From: " + name + "@example.com\r\nTo: b@example.net\r\nSubject: " + subject + "\r\n\r\nhello\r\n"
		if err := smtp.SendMail(listen, nil, name+"@example.com", []string{"b@example.net"}, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"parked", "down", "slow", "sender", "rated", "refusing", "gone"} {
		mail(name, "first")
	}
	mail("rated", "second")
	h.write(h.troubled(addrs, listen, manager.URL, false))
	h.must("reload")
	h.write(h.troubled(addrs, listen, manager.URL, false) + "[[nonsense]]\n")
	if r := h.do("reload"); r.code != exitConfig {
		t.Errorf("%+v", r)
	}
	kinds := []string{"upstream-parked", "upstream-down", "upstream-slowed", "upstream-missing", "sender-refused", "rate-used-up", "mail-late", "bounce-kept",
		"reload-refused", "route-silent", "certificate-ends", "client-secret-ends"}
	// wait waits until it was told of each as told says.
	wait := func(what string, told func(open, over int) bool) {
		t.Helper()
		missing := func() []string {
			return slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return told(e.told(kind)) })
		}
		for end := time.Now().Add(5 * time.Minute); len(missing()) > 0; time.Sleep(100 * time.Millisecond) { // another process is waited for
			if time.Now().After(end) {
				t.Fatalf("not told as %s: %q\n%s", what, missing(), h.must("alert", "list"))
			}
		}
	}
	wait("open", func(open, _ int) bool { return open > 0 })

	// All is mended.
	for name := range addrs {
		addrs[name] = addrs["good"]
	}
	certify(300 * 24 * time.Hour)
	mended := h.troubled(addrs, listen, manager.URL, true)
	for old, now := range map[string]string{
		"rate = \"1/1h\"\n": "", "expect = \"1s\"": "expect = \"1h\"",
		"client_secret_ends = " + time.Now().Add(5*24*time.Hour).Format(time.DateOnly): "client_secret_ends = " + time.Now().Add(300*24*time.Hour).Format(time.DateOnly),
	} {
		if !strings.Contains(mended, old) {
			t.Fatalf("no %q", old)
		}
		mended = strings.ReplaceAll(mended, old, now)
	}
	h.write(mended)
	h.must("reload")
	mail("backup", "it is done")
	h.must("queue", "remove", "--all", "--from", "<>")
	h.do("queue", "retry", "--all") // which finds nothing where all went at once
	wait("over", func(_, over int) bool { return over > 0 })
}
