package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/cmd/history"
	"postern/cmd/trend"
	"postern/spool"
)

// chromium opens a browser; said is what its console has to complain of.
func chromium(t *testing.T) (ctx context.Context, said func() string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		without(t, "there is no chromium, whose package of Debian has that name")
	}
	var mu sync.Mutex
	var lines []string
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(chromedp.ExecPath(path), chromedp.NoSandbox),
		chromedp.WithListener(func(e any) {
			mu.Lock()
			defer mu.Unlock()
			switch e := e.(type) {
			case *cdplog.EventEntryAdded:
				lines = append(lines, e.Entry.Text+" "+e.Entry.URL)
			case *runtime.EventExceptionThrown:
				lines = append(lines, e.ExceptionDetails.Text)
			}
		}))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, call(cdplog.Enable, cdp.Empty{})); err != nil { // which has no limit, or it would be the browser's
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	return ctx, func() string {
		mu.Lock()
		defer mu.Unlock()
		text := strings.Join(lines, "\n")
		lines = nil
		return text
	}
}

// without skips a test that lacks its counterpart, which CI may not.
func without(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// call sends a command of the protocol.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

var (
	phone = chromedp.EmulateViewport(360, 844, chromedp.EmulateMobile)
	dark  = call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	noScripts = call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
)

// into runs an action, and keeps what it returns.
func into[T any](place *T, a chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) { *place, err = a(ctx, t); return err })
}

func signInTo(base, user string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Navigate(base+"/sign-in"), chromedp.SendKeys(chromedp.CSS("#name"), user),
		chromedp.SendKeys(chromedp.CSS("#password"), "right\r"), chromedp.WaitVisible(chromedp.CSS("#live")),
	)
}

// browsed is a relay with something of everything, and the paths of its pages.
func browsed(t *testing.T) (f *relay, s *Server, id spool.ID, pages []string) {
	f, s = newRelay(t)
	definable(t, f)
	routedConfig(f)
	withBooks(t, f)
	withFiles(t, f, reminderFiles())
	catch(t, s, "Subject: plain\r\n\r\nHello\r\n", newsletter(`<h1>Thank you</h1><p>It comes tomorrow.</p><img src="cid:logo@shop" alt="">`))
	for i := range 3 {
		env := envelope(fmt.Sprintf("shop%d@example.com", i), "ann@example.org", "bob@example.net")
		env.Accepted, env.Hold, env.MessageID, env.Peer, env.Listener = time.Now().Add(-time.Duration(i)*5*time.Hour), i == 1, "<1@example.com>", "127.0.0.1:4711", "apps"
		id = f.put(t, env, "Subject: x\r\n\r\nHello\r\n")
	}
	f.put(t, envelope(hostile, hostile+"@example.org"), "x")
	h := history.New(history.Options{Dir: f.history, Keep: time.Hour, MaxSize: 64 << 20})
	at := time.Now().UTC().Format(time.RFC3339Nano)
	h.Add(fmt.Appendf(nil, `{"time":%q,"event":"message-accepted","id":%q,"from":"shop2@example.com","peer":"127.0.0.1:4711","listener":"apps","recipients":2,"size":23}`+"\n", at, id))
	h.Add(fmt.Appendf(nil, `{"time":%q,"event":"delivery-attempt","id":%q,"to":"ann@example.org","upstream":"office","result":"deferred","stage":"rcpt","code":450,"text":"try later"}`+"\n", at, id))
	h.Close(time.Second)
	f.storms = []control.Storm{{ID: "18c5", From: "cron@example.com", To: "ops@example.org", Subject: hostile, Recipients: 3, Began: time.Now(), Held: 40, Waiting: 38}}
	parked := openTrouble("upstream-parked", "office", "the upstream \"office\" is parked: it fails in a way that somebody has to mend")
	parked.Severity, parked.Words, parked.Command = alert.Critical, hostile, "postern upstream test office"
	f.troubles, f.receivers = []alert.Open{parked}, []string{"ops"}
	for i := range 60 {
		s.Trend.Add(time.Now().Add(time.Duration(i-60)*time.Minute), trend.Totals{Accepted: int64(i * i), Delivered: int64(i * i / 2), Deferred: int64(i)}, 100*(i%7))
	}
	q := url.QueryEscape
	return f, s, id, []string{"/", "/queue", "/queue?state=held", "/queue?from=" + q("<nobody>"), "/messages/" + id.String(), "/messages/" + id.String() + "/life",
		"/events", "/events?level=warn&q=x", "/upstreams", "/upstreams/office", "/captured", "/captured?q=nothing", "/captured/" + capturedName(1), "/captured/" + capturedName(0), "/routes", "/routes?from=a%40example.com&to=b%40example.org", "/books", "/books?q=", "/books?q=nothing", "/books/team", "/books/team/entry?who=alice", "/books/team/group?group=Sales", "/books/team/new", "/books/team/change?uid=alice", "/message-files", "/message-files/reminder", "/message-files/note", "/definitions", "/definitions/upstream", "/definitions/alert", "/definitions/upstream?name=main", "/definitions/route?name=no",
		"/trace", "/trace?q=" + q("ann@example.org"), "/trace?q=" + q("@nowhere.example"), "/no-such-page"}
}

// TestBrowser has Debian's Chromium go through the console.
func TestBrowser(t *testing.T) {
	ctx, said := chromium(t)
	t.Run("pages", func(t *testing.T) { testPages(t, ctx, said) })
	if err := chromedp.Do(ctx, chromedp.ResetViewport()); err != nil {
		t.Fatal(err)
	}
	t.Run("operate", func(t *testing.T) { testOperating(t, ctx, said) })
	t.Run("define", func(t *testing.T) { testDefining(t, ctx, said) })
	t.Run("mail in a frame", func(t *testing.T) { testMailInAFrame(t, ctx, said) })
	t.Run("live", func(t *testing.T) { testLiveParts(t, ctx, said) })
	t.Run("without scripts", func(t *testing.T) { testWithoutScripts(t, ctx) })
}

// Every page, light and on a screen, dark and on a phone, is one that axe-core
// finds nothing at and that nothing in it was kept from.
func testPages(t *testing.T, ctx context.Context, said func() string) {
	eye := newJudge(t, said)
	_, s, _, pages := browsed(t)
	b := open(t, s, "")
	look := func(path, as string) {
		want := http.StatusOK
		if path == "/no-such-page" {
			want = http.StatusNotFound
		}
		eye.look(t, ctx, path, as, want, chromedp.Navigate(b.base+path))
	}
	look("/sign-in", "light")
	if err := chromedp.Do(ctx, signInTo(b.base, "define")); err != nil {
		t.Fatal(err)
	}
	// Pages that a form leads to.
	for _, send := range []string{
		`"/message-files/reminder", {"c.name": "Eve", "c.email": "eve@example.net", "c.invoice": "7", "c.text": "x", "rows": "invoice\n7\n8"}`,
		`"/definitions/route", {"name": "second", "v.from": "*@b.example", "v.upstream": "main"}`, `"/upstreams/main/test", {}`,
	} {
		var to string
		err := chromedp.Do(ctx, into(&to, chromedp.Evaluate[string](`((path, form) => fetch(path, {method: "POST", body: new URLSearchParams(form)}).then(r => new URL(r.url).pathname))(`+send+`)`, chromedp.EvalAwaitPromise)))
		if err != nil || !strings.HasPrefix(to, "/made/") && !strings.HasPrefix(to, "/drafts/") && !strings.HasPrefix(to, "/tests/") {
			t.Fatalf("%s leads to %q: %v", send, to, err)
		}
		pages = append(pages, to)
	}
	for _, path := range pages {
		look(path, "light")
	}
	if err := chromedp.Do(ctx, dark, phone); err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		look(path, "phone")
	}
}

// What a person does with a mouse and keys: look for a message, read its
// timeline, put it on hold, bounce it with a reason, pause an upstream, sign
// out.
func testOperating(t *testing.T, ctx context.Context, said func() string) {
	said() // that of others
	f, s, id, _ := browsed(t)
	b := open(t, s, "")
	var life, text string
	err := chromedp.Do(ctx, signInTo(b.base, "operate"),
		chromedp.Click(chromedp.CSS(`nav a[href="/queue"]`)), chromedp.SendKeys(chromedp.CSS("#from"), "shop2\r"),
		chromedp.WaitVisible(chromedp.CSS(`a[href="/messages/`+id.String()+`"]`)), chromedp.Click(chromedp.CSS(`a[href="/messages/`+id.String()+`"]`)),
		chromedp.WaitVisible(chromedp.CSS(".life")), into(&life, chromedp.Text(chromedp.CSS(".life"))), // which htmx has fetched
		chromedp.Click(chromedp.CSS(`button[formaction="/queue/hold"]`)), chromedp.WaitVisible(chromedp.CSS(".said")),
		chromedp.Navigate(b.base+"/messages/"+id.String()), // where what was said is gone
		chromedp.Click(chromedp.CSS("summary")), chromedp.WaitVisible(chromedp.CSS("#reason")), chromedp.SendKeys(chromedp.CSS("#reason"), "not wanted"),
		chromedp.Click(chromedp.CSS(`button[formaction="/queue/bounce"]`)), chromedp.WaitVisible(chromedp.CSS(".said")), into(&text, chromedp.Text(chromedp.CSS(".said"))),
		chromedp.Navigate(b.base+"/upstreams/office"), chromedp.Click(chromedp.CSS("main form button")), chromedp.WaitVisible(chromedp.CSS(".said")),
		chromedp.Click(chromedp.CSS(".who button")), chromedp.WaitVisible(chromedp.CSS("#password")))
	if err != nil {
		t.Fatal(err, said())
	}
	if !strings.Contains(life, "accepted from 127.0.0.1:4711") || !strings.Contains(life, "450 try later") {
		t.Errorf("the timeline: %q", life)
	}
	if want := "1 message: returned to the sender."; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	want := fmt.Sprintf("hold [%[1]s] by console:operate \nbounce [%[1]s] by console:operate not wanted\nresume office by console:operate", id)
	if done := f.noted(); done != want {
		t.Errorf("done: %q", done)
	}
	if text := said(); text != "" {
		t.Error(text)
	}
}

// An upstream is defined with keys alone: Tab from field to field, Enter sends
// the form, the walk shows itself, Enter keeps it.
func testDefining(t *testing.T, ctx context.Context, said func() string) {
	said()
	eye := newJudge(t, said)
	f, s, _, _ := browsed(t)
	b := open(t, s, "")
	var broken, text, at string
	tab := func(n int) chromedp.Action[chromedp.Void] {
		return chromedp.KeyEvent(strings.Repeat("\t", n))
	}
	focused := into(&at, chromedp.Evaluate[string](`document.activeElement.id || document.activeElement.textContent`))
	err := chromedp.Do(ctx, signInTo(b.base, "define"), chromedp.Navigate(b.base+"/definitions"), chromedp.Click(chromedp.CSS(`a[href="/definitions/upstream"]`)),
		chromedp.WaitVisible(chromedp.CSS("#name")), chromedp.Focus(chromedp.CSS("#name")), chromedp.KeyEvent("office"),
		tab(3), chromedp.KeyEvent("127.0.0.1"), tab(1), chromedp.KeyEvent("1"), tab(1), chromedp.KeyEvent("off"), tab(2), chromedp.KeyEvent("billing"), tab(1), focused)
	if err != nil || at != "s.password" {
		t.Fatal(err, at)
	}
	err = chromedp.Do(ctx, chromedp.KeyEvent("hunter2\r"), chromedp.WaitVisible(chromedp.CSS(`form[action^="/drafts/"]`)),
		into(&broken, eye.faults()),
		chromedp.Focus(chromedp.CSS(`form[action^="/drafts/"] button`)), chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS(".said")), into(&text, chromedp.Text(chromedp.CSS(".said"))))
	if err != nil || broken != "" {
		t.Fatal(err, broken, said())
	}
	if !strings.Contains(text, "Upstream office is in force, from ") || f.config.Upstreams["office"] == nil {
		t.Error(text)
	}
	if text := said(); text != "" {
		t.Error(text)
	}
}

// Without JavaScript everything can be read and done.
func testWithoutScripts(t *testing.T, ctx context.Context) {
	f, s, id, _ := browsed(t)
	b := open(t, s, "")
	var life string
	err := chromedp.Do(ctx, noScripts, signInTo(b.base, "operate"),
		chromedp.Navigate(b.base+"/messages/"+id.String()), chromedp.Click(chromedp.CSS("#timeline a")),
		chromedp.WaitVisible(chromedp.CSS(".life")), into(&life, chromedp.Text(chromedp.CSS(".life"))),
		chromedp.Navigate(b.base+"/queue"), chromedp.Click(chromedp.CSS(`input[value="`+id.String()+`"]`)),
		chromedp.Click(chromedp.CSS(`button[formaction="/queue/release"]`)), chromedp.WaitVisible(chromedp.CSS(".said")))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(life, "450 try later") {
		t.Errorf("%q", life)
	}
	if done := f.noted(); done != fmt.Sprintf("release [%s] by console:operate ", id) {
		t.Errorf("done: %q", done)
	}
}

// Lines come by themselves, and nothing in them runs. The first page goes on by
// itself, too; a session that is over leads to the form, and does not show it in
// its place.
func testLiveParts(t *testing.T, ctx context.Context, said func() string) {
	said()
	f, s, _, _ := browsed(t)
	b := open(t, s, "")
	var live, text string
	var drawn bool
	err := chromedp.Do(ctx, signInTo(b.base, "look"), chromedp.Click(chromedp.CSS(`nav a[href="/events"]`)), chromedp.WaitVisible(chromedp.CSS("#lines")))
	if err != nil {
		t.Fatal(err)
	}
	logged(s, "warn", "mail-refused", "text", hostile)
	err = chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#lines .level-warn")), into(&text, chromedp.Text(chromedp.CSS("#lines"))), into(&live, chromedp.Text(chromedp.CSS("#said"))))
	if err != nil || !strings.Contains(text, `<script>alert(1)</script>`) || live != "Goes on by itself." {
		t.Fatal(err, text, live)
	}
	err = chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`nav a[href="/"]`)), chromedp.WaitVisible(chromedp.CSS("#live")))
	if err != nil {
		t.Fatal(err)
	}
	err = chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#charts .u-legend")), into(&drawn, chromedp.Evaluate[bool](`[...document.querySelectorAll("#charts canvas")].length === 2 &&
		[...document.querySelectorAll("#charts canvas")].every(c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v !== 0))`)))
	if err != nil || !drawn {
		t.Fatal("no chart is drawn", err, said())
	}
	f.put(t, envelope("later@example.com", "ann@example.org"), "x")
	f.mu.Lock()
	f.lanes = append(slices.Clone(f.lanes), control.Lane{Upstream: "new-one"})
	f.mu.Unlock()
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`#live a[href="/upstreams/new-one"]`))); err != nil {
		t.Fatal(err)
	}
	if text := said(); text != "" {
		t.Error(text)
	}
	s.Use(withPassword(f, "look", "another"))
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#password"))); err != nil { // within the five seconds of the overview
		t.Fatal(err)
	}
}
