package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// The questions whose answers are not shown.
const askedPassword, askedAgain, askedURL = "Password:", "Again:", "Its URL, such as ntfy"

// interrupt is Ctrl-C.
const interrupt = "\x03"

// converse runs a command on a terminal of its own, and gives each answer once its
// question stands there. It returns the exit code and what stands there in the end.
func (h *harness) converse(command []string, dialogue ...[2]string) (code int, screen string) {
	h.t.Helper()
	v := newTerminal(h.t, 160, 60)
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*waitLimit) // a question more has no answer
	defer cancel()
	cmd := h.command(ctx, command...)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	wait := v.run(cmd)
	after := 0 // what was there before does not count as a question
	for _, d := range dialogue {
		eventually(h.t, "it asks "+d[0], func() bool {
			text := strings.TrimRight(v.text(), " \n")
			i := strings.Index(text[min(after, len(text)):], d[0])
			if i < 0 {
				return false
			}
			after += i + len(d[0])
			return true
		})
		if d[0] == askedPassword || d[0] == askedAgain || d[0] == askedURL {
			if mode, err := unix.IoctlGetTermios(int(v.slave.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ECHO != 0 {
				h.t.Errorf("what is typed at once is shown: %v", err)
			}
		}
		if d[1] != interrupt {
			d[1] += "\n"
		}
		v.typeIn(d[1])
	}
	code = wait()
	if _, err := v.slave.WriteString("-- its end --"); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "all of it is on the screen", func() bool { return strings.Contains(v.text(), "-- its end --") })
	return code, v.text()
}

// The questions of `upstream add`, `route add`, `alert add` and `book define`, as
// somebody answers them who types no flag; what is wrong leaves nothing, and no
// password stands on the screen.
func TestDefinedByQuestions(t *testing.T) {
	asks, port := startPasswordServer(t, "the right one")
	var told atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "" && (name != "relay" || password != "hunter2") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		told.Add(1)
	}))
	defer server.Close()
	listen := freeAddr(t)
	h := newHarness(t, toDefineIn(listen))
	h.start()
	people := filepath.Join(h.dir, "people.csv")
	if err := os.WriteFile(people, []byte("name;email\nAlice Liddell;alice@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		command  []string
		dialogue [][2]string
		code     int
		shown    string
		kept     int // how many files more there are
	}{
		{"an upstream with a wrong password", []string{"upstream", "add", "office", "--port", port, "--tls", "off", "--auth", "plain"},
			[][2]string{{"User, such as", "billing"}, {"Server or provider:", "127.0.0.1"}, {askedPassword, "the wrong one"}, {askedAgain, "the wrong one"}}, exitNoPerm, "upstream.signin", 0},
		{"an upstream", []string{"upstream", "add", "office", "--port", port, "--tls", "off", "--auth", "plain"},
			[][2]string{{"User, such as", "billing"}, {"Server or provider:", "127.0.0.1"}, {askedPassword, "the right one"}, {askedAgain, "the right one"}}, exitOK, "the daemon has taken it", 2},
		{"a route to nowhere", []string{"route", "add", "ours"},
			[][2]string{{"Mail from whom", "*@example.com"}, {"Over which upstream (captured, office):", "offfice"}}, exitConfig, `there is no upstream "offfice"`, 0},
		{"a route", []string{"route", "add", "ours"},
			[][2]string{{"Mail from whom", "*@example.com, *@example.net"}, {"Over which upstream (captured, office):", "office captured"}}, exitOK, "the daemon has taken it", 1},
		{"an alert by nothing", []string{"alert", "add", "ops"},
			[][2]string{{"Told by what", "pigeon"}}, exitData, "that is none of mail, service and alertmanager", 0},
		{"an alert by an Alertmanager", []string{"alert", "add", "ops"},
			[][2]string{{"Told by what", "alertmanager"}, {"Its URL, such as http", server.URL}, {"User (empty", "relay"}, {askedPassword, "hunter2"}, {askedAgain, "hunter2"}}, exitOK, "told", 2},
		{"an alert by an Alertmanager without a user", []string{"alert", "add", "open"},
			[][2]string{{"Told by what", "alertmanager"}, {"Its URL, such as http", server.URL}, {"User (empty", ""}}, exitOK, "told", 1},
		{"an alert by a service", []string{"alert", "add", "chat"},
			[][2]string{{"Told by what", "service"}, {askedURL, "generic+" + server.URL + "/s3cret"}}, exitOK, "told", 2},
		{"an alert by mail", []string{"alert", "add", "people"},
			[][2]string{{"Told by what", "mail"}, {"Addresses:", "ops@example.com, ann@example.com"}, {"Over which upstreams", "captured"}}, exitOK, "the daemon has taken it", 1},
		{"a book that is not there", []string{"book", "define", "firm"},
			[][2]string{{"What is it", "csv"}, {"File:", people + ".none"}}, exitTempFail, "nothing was changed", 0},
		{"a book", []string{"book", "define", "firm"},
			[][2]string{{"What is it", "csv"}, {"File:", people}}, exitOK, "the daemon has taken it", 1},
		{"a folder of cards", []string{"book", "define", "cards"}, [][2]string{{"What is it", "vcards"}}, exitOK, "the daemon has taken it", 1},
		{"a book on a server that refuses", []string{"book", "define", "cloud"},
			[][2]string{{"What is it", "carddav"}, {"Its URL, such as https://cloud", server.URL}, {"User (empty", "alice"}, {askedPassword, "the wrong one"}, {askedAgain, "the wrong one"}}, exitTempFail, "nothing was changed", 0},
		{"a directory without a sign-in that is away", []string{"book", "define", "dir"},
			[][2]string{{"What is it", "ldap"}, {"Its URL, such as ldaps://dc1", "ldap://127.0.0.1:1"}, {"User (empty", ""}}, exitTempFail, "nothing was changed", 0},
		{"a book of nothing", []string{"book", "define", "x"}, [][2]string{{"What is it", "drawer"}}, exitConfig, "drawer", 0},
	} {
		before := len(h.left())
		code, screen := h.converse(c.command, c.dialogue...)
		if code != c.code || !strings.Contains(screen, c.shown) || len(h.left()) != before+c.kept {
			t.Errorf("%s: exit code %d, want %d and %q; left %q, %d before:\n%s", c.name, code, c.code, c.shown, h.left(), before, strings.TrimRight(screen, "\n"))
		}
		for _, password := range []string{"the right one", "the wrong one", "hunter2", "s3cret"} {
			if strings.Contains(screen, password) {
				t.Errorf("%s: the screen shows what was typed:\n%s", c.name, screen)
			}
		}
	}
	if told.Load() < 3 {
		t.Errorf("%d alerts were told", told.Load())
	}
	send(t, listen, "a@example.net", "one")
	eventually(t, "mail goes by what was defined", func() bool { return len(asks.received()) == 1 })
	if out := h.must("book", "find", "alice", "--book", "firm"); !strings.Contains(out, "alice@example.com") {
		t.Error(out)
	}
}
