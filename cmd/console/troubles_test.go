package console

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern/cmd/alert"
	"postern/config"
)

// openTrouble is one of a kind for a while.
func openTrouble(kind, subject, text string) alert.Open {
	return alert.Open{Trouble: alert.Trouble{Key: alert.Key{Kind: kind, Subject: subject}, Severity: alert.Warning, Since: time.Now().Add(-time.Hour), Text: text}}
}

// The first page says what needs a person, since when, what to do, and who was told;
// nothing in it is more than text.
func TestTroubles(t *testing.T) {
	f, s := newRelay(t)
	parked := openTrouble("upstream-parked", "office", "the upstream office is parked")
	parked.Severity, parked.Waiting, parked.Words, parked.Meaning, parked.Remedy, parked.Command = alert.Critical, 37, hostile, "the password is wrong", "Set it.", "postern upstream test office"
	parked.Told = map[string]time.Time{"ops": time.Now()}
	over := openTrouble("clock-jumped", "", "the clock jumped")
	over.Over = time.Now()
	f.troubles, f.receivers = []alert.Open{parked, openTrouble("alert-failed", "page", `the alert receiver "page" cannot be told: answered 500`), over}, []string{"ops", "page"}
	b := open(t, s, "look")
	_, _, body := b.get("/")
	for _, want := range []string{`<span class="state failed">critical</span> the upstream office is parked`, "37 deliveries", "the password is wrong", "Set it.", "<code>postern upstream test office</code>",
		`<span class="state warning">warning</span> the alert receiver "page" cannot be told: answered 500`, `<span class="state ok">over</span> the clock jumped`, "<dt>Told</dt><dd>ops at ", "<dt>Told</dt><dd>nobody yet", "Those who are told: ops, page"} {
		if !strings.Contains(html.UnescapeString(body), want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "\x1b") || strings.Contains(body, "/alerts/test") {
		t.Errorf("%s", body)
	}
	f.troubles, f.receivers = nil, nil
	for i := range mostTroubles + 3 {
		f.troubles = append(f.troubles, openTrouble("upstream-down", fmt.Sprint(i), fmt.Sprintf("number %d.", i)))
	}
	_, _, body = b.get("/")
	if !strings.Contains(body, "number 19.") || strings.Contains(body, "number 20.") || !strings.Contains(body, "And 3 more") || !strings.Contains(body, "Nobody is told of what is wrong") {
		t.Errorf("%s", body)
	}
}

// Of an address book, and of the subject of a storm, who may not see them learns
// nothing.
func TestTroublesOfOthers(t *testing.T) {
	f, s := newRelay(t)
	f.config.Books = []config.Book{{Name: "board", ConsoleUser: []string{"operate"}}, {Name: "team"}}
	f.troubles = []alert.Open{openTrouble("client-secret-ends", "book board", "the secret of board ends"), openTrouble("client-secret-ends", "book team", "the secret of team ends"),
		openTrouble("storm", "18c5", "a program repeats itself: the salaries")}
	for user, want := range map[string][3]bool{"look": {false, true, false}, "operate": {true, true, true}, "define": {true, true, true}} {
		_, _, body := open(t, serverOf(s, f), user).get("/")
		for i, text := range []string{"the secret of board", "the secret of team", "the salaries"} {
			if strings.Contains(body, text) != want[i] {
				t.Errorf("%s: %s: %t", user, text, !want[i])
			}
		}
	}
}

// Receivers are told of a test by those who operate, once for each form that is sent
// one after the other, and what became of it is said.
func TestAlertsAreTested(t *testing.T) {
	f, s := newRelay(t)
	home := url.Values{"back": {"/"}}
	if code, _, _ := open(t, serverOf(s, f), "look").post("/alerts/test", home); code != http.StatusForbidden {
		t.Errorf("look: %d", code)
	}
	b := open(t, s, "operate")
	said := func() string {
		t.Helper()
		_, _, body := b.get("/")
		return html.UnescapeString(body)
	}
	b.post("/alerts/test", home)
	if body := said(); !strings.Contains(body, "Nobody would be told") {
		t.Error(body)
	}
	f.receivers = []string{"ops", "page"}
	begun, goOn := make(chan struct{}), make(chan struct{})
	f.receiverFails = func(_ context.Context, name string) error {
		if name == "ops" {
			close(begun)
			<-goOn
			return nil
		}
		return errors.New("answered 500 " + hostile)
	}
	if !strings.Contains(said(), `action="/alerts/test"`) {
		t.Error("there is no button")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.post("/alerts/test", home)
	}()
	<-begun
	if code, _, _ := b.post("/alerts/test", home); code != http.StatusSeeOther {
		t.Errorf("%d", code)
	}
	if body := said(); !strings.Contains(body, "is under way") {
		t.Error(body)
	}
	close(goOn)
	<-ended
	_, _, body := b.get("/")
	if text := html.UnescapeString(body); !strings.Contains(text, "ops was told. page could not be told: answered 500 ") || strings.Contains(body, "<script>alert") {
		t.Error(body)
	}
	if done := f.noted(); done != "test of ops\ntest of page" {
		t.Errorf("done: %s", done)
	}
}
