//go:build unix

package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/queue"
)

var (
	loginPage = regexp.MustCompile(`/logins/[^/"/]+`)
	loginCode = regexp.MustCompile(`class="answer code">([^<]+)<`)
)

// TestLabConsoleLogin logs in with a real provider by the code that the console
// shows, and has mail go out that waited for it; a login that is ended leaves the
// upstream as it is, and its code is good for nothing.
func TestLabConsoleLogin(t *testing.T) {
	needsLab(t)
	listen, console := freeAddr(t), freeAddr(t)
	r := perform(t, "secret\n", "passwd")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	h := newLabHarness(t, listen, byPerson("xoauth2", "device", "device", `client_secret_file = "DIR/device.secret"`)+
		fmt.Sprintf("[console]\naddress = %q\n[console.user.ann]\npassword = %q\nrole = \"operate\"\n", console, strings.TrimSpace(r.stdout)))
	h.start()
	send(t, listen, "alice@postern.test", "before anybody has logged in")
	eventually(t, "the upstream is parked", func() bool { return h.office().State == queue.Parked })
	v := visit(t, console)
	// begin presses the button, and waits for the code.
	begin := func() (page, code string) {
		t.Helper()
		shown := v.post("/upstreams/office/login", nil)
		if page = loginPage.FindString(shown); page == "" {
			t.Fatalf("no page of a login:\n%s", shown)
		}
		eventually(t, "there is a code", func() bool {
			shown = v.get(page)
			m := loginCode.FindStringSubmatch(shown)
			if m != nil {
				code = m[1]
			}
			return m != nil
		})
		if !strings.Contains(shown, idp) {
			t.Errorf("the address of the provider is missing:\n%s", shown)
		}
		return page, code
	}

	page, _ := begin()
	v.post(page+"/end", url.Values{})
	eventually(t, "it was ended", func() bool { return strings.Contains(v.get(page), "it was given up") })
	if lane := h.office(); lane.State != queue.Parked || !lane.Token.NeedsLogin {
		t.Errorf("after a login that was ended: %+v %+v", lane, lane.Token)
	}

	began := time.Now()
	page, code := begin()
	coded := time.Since(began)
	newBrowser(t).allowDevice(code)
	eventually(t, "the login is done", func() bool { return strings.Contains(v.get(page), "Done:") })
	done := time.Since(began)
	eventually(t, "the mail goes out after the login", func() bool { return len(h.queued()) == 0 })
	t.Logf("first mail by device login: a code after %v, done after %v, delivered after %v", coded, done, time.Since(began))
	if text := h.log.String(); strings.Contains(text, code) || !strings.Contains(text, "console:ann") {
		t.Error("the log has the code, or not who has logged in")
	}
	h.stop()
}
