package alert

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/config"
)

var example = []Open{
	{Trouble: Trouble{Key: Key{"upstream-parked", "office"}, Severity: Critical, Since: time.Unix(1700000000, 0).UTC(), Text: "it is parked",
		Waiting: 3, Words: "535 5.7.8 no", Meaning: "the password is wrong", Remedy: "set it", Command: "postern upstream test office"}},
	{Trouble: Trouble{Key: Key{"spool-full", ""}, Severity: Critical, Since: time.Unix(1700000000, 0).UTC(), Text: "full"}, Over: time.Unix(1700000100, 0).UTC()},
}

// TestAlertmanager: what is posted is what its API takes.
func TestAlertmanager(t *testing.T) {
	var path, user string
	var got []posted
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.Method + " " + r.URL.Path
		user, _, _ = r.BasicAuth()
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	if err := (Alertmanager{s.URL + "/prefix", "me", config.NewSecret("hunter2")}).Send(t.Context(), "relay.example.com", example); err != nil {
		t.Fatal(err)
	}
	if path != "POST /prefix/api/v2/alerts" || user != "me" || len(got) != 2 {
		t.Fatalf("%s by %q: %+v", path, user, got)
	}
	a := got[0]
	if a.Labels["subject"] != "office" || a.Labels["kind"] != "upstream-parked" || a.Annotations["command"] != "postern upstream test office" ||
		a.Annotations["waiting"] != "3" || !a.EndsAt.IsZero() || !a.StartsAt.Equal(example[0].Since) {
		t.Errorf("open: %+v", a)
	}
	if !got[1].EndsAt.Equal(example[1].Over) {
		t.Errorf("over: %+v", got[1])
	}
}

// TestAlertmanagerFails: an error tells what was answered, without the password
// of the address.
func TestAlertmanagerFails(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, "bad\x1b[2Jlabel")
	}))
	a := Alertmanager{s.URL, "me", config.NewSecret("hunter2")}
	err := a.Send(t.Context(), "r", example)
	if err == nil || err.Error() != "answered 400 Bad Request: bad?[2Jlabel" {
		t.Errorf("%v", err)
	}
	s.Close()
	if err = a.Send(t.Context(), "r", example); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// TestCommand: a program gets the alerts as JSON and none of our environment,
// and its failure is told without what it printed.
func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	t.Setenv("POSTERN_SECRET", "hunter2")
	file := filepath.Join(t.TempDir(), "out")
	if err := (Command{"sh", "-c", `cat >"$1"; env >>"$1"`, "sh", file}).Send(t.Context(), "relay.example.com", example); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, env, _ := strings.Cut(string(text), "\n")
	var m Message
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatal(err)
	}
	if m.Relay != "relay.example.com" || len(m.Alerts) != 2 || m.Alerts[0].Status != "firing" || m.Alerts[1].Status != "resolved" || m.Alerts[0].Subject != "office" {
		t.Errorf("%+v", m)
	}
	if strings.Contains(env, "hunter2") {
		t.Error("it has our environment")
	}
	err = Command{"sh", "-c", "cat >/dev/null; echo hunter2; exit 3"}.Send(t.Context(), "r", example)
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
}
