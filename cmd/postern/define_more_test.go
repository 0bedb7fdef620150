//go:build unix

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A receiver of alerts is kept when it could be told, and with its secret. One
// that could not is not, and the daemon is again what it was.
func TestAlertIsDefined(t *testing.T) {
	var told, refuse atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "relay" || password != "hunter2" || refuse.Load() > 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		told.Add(1)
	}))
	defer server.Close()
	h := newHarness(t, toDefineIn(freeAddr(t)))
	pw := filepath.Join(h.dir, "typed")
	writeSecret(t, pw, "hunter2")
	add := []string{"alert", "add", "ops", "--alertmanager", server.URL, "--username", "relay", "--password-file", pw}
	if out := h.must(add...); !strings.Contains(out, "`postern alert test ops` does once the daemon runs") || told.Load() != 0 {
		t.Errorf("without a daemon: %s", out)
	}
	h.must("alert", "remove", "ops")
	h.start()
	refuse.Store(1)
	if r := h.do(add...); r.code != exitUnavailable || !strings.Contains(r.stdout, "ops") || !strings.Contains(r.stdout, "401") || len(h.left()) > 0 {
		t.Errorf("%+v, left %q", r, h.left())
	}
	if r := h.do("alert", "test"); r.code != exitData || !strings.Contains(r.stderr, "nobody would be told") {
		t.Errorf("the daemon has it all the same: %+v", r)
	}
	refuse.Store(0)
	if out := h.must(add...); !strings.Contains(out, "the daemon has taken it") || !strings.Contains(out, "told") || told.Load() == 0 || len(h.left()) != 2 {
		t.Errorf("%s, left %q", out, h.left())
	}
	refuse.Store(1)
	if r := h.do("alert", "edit", "ops", "--severity", "critical"); r.code != exitUnavailable {
		t.Errorf("%+v", r)
	}
	h.must("alert", "edit", "ops", "--severity", "critical", "--force")
	h.must("alert", "edit", "ops", "--severity", "warning", "--no-test")
	refuse.Store(0)
	if out := h.must("alert", "test", "ops"); !strings.Contains(out, "told") {
		t.Error(out)
	}
	h.must("alert", "add", "people", "--mail-to", "ops@example.com", "--mail-upstream", "captured")
	h.must("alert", "remove", "people")
	h.must("alert", "remove", "ops")
	if len(h.left()) > 0 {
		t.Errorf("left: %q", h.left())
	}
	if log := h.log.String(); strings.Contains(log, "hunter2") {
		t.Error("a password stands in the log")
	}
}

// A book is kept when it could be read, by words that are not those for its
// entries.
func TestBookIsDefined(t *testing.T) {
	h := newHarness(t, toDefineIn(freeAddr(t)))
	h.start()
	dir := stepFiles(t, map[string]string{"people.csv": "name;email\nAlice Liddell;alice@example.com\n"})
	file := filepath.Join(dir, "people.csv")
	if r := h.do("book", "define", "firm", "--provider", "csv", "--file", file+".none"); r.code == exitOK || len(h.left()) > 0 {
		t.Errorf("%+v, left %q", r, h.left())
	}
	h.must("book", "define", "firm", "--provider", "csv", "--file", file)
	if out := h.must("book", "find", "alice", "--book", "firm"); !strings.Contains(out, "alice@example.com") {
		t.Error(out)
	}
	h.must("book", "redefine", "firm", "--charset", "iso-8859-15")
	if r := h.do("book", "undefine", "team"); r.code != exitData || !strings.Contains(r.stderr, `postern has written no book "team"`) {
		t.Errorf("%+v", r)
	}
	h.must("book", "undefine", "firm")
	if len(h.left()) > 0 {
		t.Errorf("left: %q", h.left())
	}
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer refuses.Close()
	pw := filepath.Join(h.dir, "typed")
	writeSecret(t, pw, "hunter2")
	cloud := []string{"book", "define", "cloud", "--provider", "carddav", "--url", refuses.URL, "--username", "alice", "--password-file", pw}
	if r := h.do(cloud...); r.code != exitTempFail || !strings.Contains(r.stderr, "nothing was changed") || len(h.left()) > 0 {
		t.Errorf("%+v, left %q", r, h.left())
	}
	if out := h.must(append(cloud, "--force")...); !strings.Contains(out, "the daemon has taken it") || len(h.left()) != 2 {
		t.Errorf("%s, left %q", out, h.left())
	}
	if r := h.do("alert", "add", "x", "--url-file", "-", "--password-file", "-"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}
