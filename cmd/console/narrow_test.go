package console

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"postern/spool"
)

// deferred queues a message that an upstream has put off.
func (f *relay) deferred(t *testing.T, env *spool.Envelope, o spool.Outcome) spool.ID {
	t.Helper()
	id := f.put(t, env, "x")
	lease, err := f.store.Lease(t.Context(), env.Recipients[0].Upstreams[0])
	if err != nil {
		t.Fatal(err)
	}
	taken, err := f.store.Claim(t.Context(), lease, time.Now(), 1, spool.Schedule{})
	if err != nil || len(taken) != 1 {
		t.Fatal(taken, err)
	}
	if _, err := f.store.Settle(t.Context(), taken[0], spool.Settlement{Outcomes: []spool.Outcome{o}, Due: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return id
}

// putOff are two messages for an upstream that works, the older put off in other words
// than the younger.
func putOff(t *testing.T, f *relay, words string) (oldest spool.ID) {
	t.Helper()
	for i, o := range []spool.Outcome{
		{Stage: spool.StageRcpt, Code: 450, Enhanced: "4.2.2", Text: words, Remote: "mx.example.net:25"},
		{Stage: spool.StageRcpt, Code: 451, Text: "another", Remote: "mx.example.net:25"},
	} {
		env := envelope("billing@example.com", "accounting@example.net")
		env.Accepted = time.Now().Add(-time.Duration(2-i) * time.Hour)
		env.Recipients[0].Upstreams = []string{"spare"}
		if id := f.deferred(t, env, o); i == 0 {
			oldest = id
		}
	}
	return oldest
}

// Deliveries that wait each for a reason of its own are told with the words that the
// oldest of them got, as text, beside the link to all of them.
func TestCensusHasTheWords(t *testing.T) {
	f, s := newRelay(t)
	putOff(t, f, hostile)
	got := s.countQueue(t.Context(), time.Now().Add(time.Hour))
	if len(got.Groups) != 1 || got.Groups[0].Count != 2 || got.Groups[0].Cause != tryAgain || got.Groups[0].Words != "mx.example.net:25 answered 450 4.2.2 "+hostile {
		t.Fatalf("%+v", got.Groups[0])
	}
	_, _, body := open(t, s, "look").get("/")
	if !strings.Contains(body, `tried again</a><div class="why">The oldest: mx.example.net:25 answered 450 4.2.2 `) || strings.Contains(body, hostile) {
		t.Error(body)
	}
}

// What is short stays on one line: how long ago something was, also where columns are
// narrow, and the address of a recipient on a screen.
func TestNarrowColumns(t *testing.T) {
	ctx, said := chromium(t)
	f, s := newRelay(t)
	id := putOff(t, f, strings.Repeat("the mailbox is full, and nobody has looked at it for weeks ", 4))
	b := open(t, s, "")
	if err := chromedp.Do(ctx, signInTo(b.base, "define")); err != nil {
		t.Fatal(err)
	}
	const lines = `(cells => cells.length == 0 ? "there is none" : Array.from(cells).filter(c => {
		const r = document.createRange(); r.selectNodeContents(c);
		return new Set(Array.from(r.getClientRects(), b => Math.round(b.top))).size > 1 }).map(c => c.textContent).join(", "))(document.querySelectorAll("td`
	for _, c := range []struct {
		width      int64
		path, cell string
	}{
		{1280, "/messages/" + id.String(), ".whom"}, {1280, "/messages/" + id.String(), ".ago"}, {1280, "/", ".ago"}, {1280, "/queue", ".ago"},
		{700, "/messages/" + id.String(), ".ago"}, {700, "/", ".ago"}, {700, "/queue", ".ago"}, {390, "/", ".ago"},
	} {
		var broken string
		err := chromedp.Do(ctx, call(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: c.width, Height: 900, DeviceScaleFactor: 1}),
			chromedp.Navigate(b.base+c.path), into(&broken, chromedp.Evaluate[string](lines+c.cell+`"))`)))
		if err != nil {
			t.Fatal(err, said())
		}
		if broken != "" {
			t.Errorf("%s, %d wide: the lines of %s break: %s", c.path, c.width, c.cell, broken)
		}
	}
}
