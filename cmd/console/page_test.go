package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/spool"
)

func newAsk(path, secret, live string) (*http.Request, *httptest.ResponseRecorder) {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil)
	r.AddCookie(cookie(secret, r.Host, false))
	if live != "" {
		r.Header.Set("HX-Request", "true")
		r.Header.Set("X-Live", live)
	}
	return r, httptest.NewRecorder()
}

// What is embedded, and others have written, is what a record names.
func TestScriptsAreThoseOnRecord(t *testing.T) {
	for name, record := range map[string]string{"htmx.min.js": "0058-console.md", "uPlot.iife.min.js": "0065-live-at-the-console.md", "uPlot.min.css": "0065-live-at-the-console.md"} {
		content, err := files.ReadFile("assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("../../docs/decisions/" + record)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if !strings.Contains(string(text), hex.EncodeToString(sum[:])) {
			t.Errorf("%s does not have %x, of %s", record, sum, name)
		}
	}
}

var messageLink = regexp.MustCompile(`href="(/messages/[^"/]+)"`)
var nextLink = regexp.MustCompile(`href="([^"]+)" rel="next"`)

// Pages of the queue show each message once, in order, also those whose shares
// would lie on both sides of an end.
func TestPaging(t *testing.T) {
	f, s := newRelay(t)
	var want []string
	for i := range 2*perPage + 7 {
		env := envelope("a@example.com", "b@example.org")
		if i == perPage-1 {
			env.Recipients = append(env.Recipients, spool.Recipient{Address: "c@example.org", Upstreams: []string{"backup"}})
		}
		want = append(want, "/messages/"+f.put(t, env, "x").String())
	}
	b := open(t, s, "look")
	var got []string
	pages := 0
	for path := "/queue"; path != ""; pages++ {
		code, _, body := b.get(path)
		if code != http.StatusOK {
			t.Fatal(code)
		}
		for _, m := range messageLink.FindAllStringSubmatch(body, -1) {
			if len(got) == 0 || got[len(got)-1] != m[1] {
				got = append(got, m[1])
			}
		}
		path = ""
		if m := nextLink.FindStringSubmatch(body); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") || pages != 3 {
		t.Errorf("%d pages, %d of %d messages", pages, len(got), len(want))
	}
}

// A list shows what is asked for.
func TestSearchOfTheQueue(t *testing.T) {
	f, s := newRelay(t)
	held := envelope("ann@example.com", "b@example.org")
	held.Hold = true
	later := envelope("<>", "c@example.org")
	later.From, later.NotBefore = "", time.Now().Add(time.Hour)
	ids := []string{f.put(t, held, "x").String(), f.put(t, envelope("bob@example.com", "b@example.net", "d@example.net"), "x").String(), f.put(t, later, "x").String()}
	b := open(t, s, "look")
	for query, want := range map[string]string{
		"": "123", "state=held": "1", "state=scheduled": "3", "state=deferred": "", "from=ANN": "1", "from=%3C%3E": "3", "to=example.net": "2",
		"to=example.org&state=held": "1", "upstream=office": "123", "upstream=nowhere": "", "after=" + ids[0]: "23",
	} {
		_, _, body := b.get("/queue?" + query)
		got := ""
		for i, id := range ids {
			if strings.Contains(body, "/messages/"+id) {
				got += string(rune('1' + i))
			}
		}
		if got != want {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"state=x", "after=../x"} {
		if code, _, _ := b.get("/queue?" + query); code != http.StatusBadRequest {
			t.Errorf("%q: %d", query, code)
		}
	}
}

// An operation is carried out under the name of whoever asks, and said once.
func TestOperations(t *testing.T) {
	f, s := newRelay(t)
	id := f.put(t, envelope("a@example.com", "b@example.org"), "Subject: x\r\n\r\nsource text\r\n").String()
	b := open(t, s, "operate")
	page := "/messages/" + id
	for op, want := range map[string]string{
		"retry": "retry [ID] by console:operate ", "hold": "hold [ID] by console:operate ", "release": "release [ID] by console:operate ",
		"remove": "remove [ID] by console:operate ", "bounce": "bounce [ID] by console:operate no longer wanted",
	} {
		code, h, _ := b.post("/queue/"+op, url.Values{"id": {id}, "back": {page}, "reason": {" no longer\r\n wanted "}})
		if code != http.StatusSeeOther || h.Get("Location") != page {
			t.Errorf("%s: %d to %q", op, code, h.Get("Location"))
		}
		if got := f.noted(); got != strings.ReplaceAll(want, "ID", id) {
			t.Errorf("%s: %q", op, got)
		}
		_, _, once := b.get(page)
		_, _, twice := b.get(page)
		if text := "1 message: " + done[control.Op(op)]; !strings.Contains(once, text) || strings.Contains(twice, text) {
			t.Errorf("%s is not said once", op)
		}
	}
	for _, form := range []url.Values{{"id": {id}}, {"id": {id}, "reason": {"  "}}, {"reason": {"x"}}} {
		b.post("/queue/bounce", form)
	}
	b.post("/queue/eat", url.Values{"id": {id}})
	b.post("/queue/hold", url.Values{"id": {"../" + id}})
	b.post("/queue/bounce", url.Values{"id": {id}, "reason": {strings.Repeat("x", maxReason+1)}})
	if got := f.noted(); got != "" {
		t.Errorf("done: %q", got)
	}
	if _, _, body := b.get(page + "/source"); body != "Subject: x\r\n\r\nsource text\r\n" {
		t.Errorf("%q", body)
	}
	b.post("/upstreams/office/pause", nil)
	b.post("/upstreams/office/resume", nil)
	b.post("/upstreams/office/eat", nil)
	if code, _, _ := b.post("/upstreams/nowhere/pause", nil); code != http.StatusNotFound {
		t.Error(code)
	}
	if got := f.noted(); got != "pause office by console:operate\nresume office by console:operate" {
		t.Errorf("%q", got)
	}
}

// The overview counts by cause and age, and kinds of one cause together.
func TestCensus(t *testing.T) {
	f, s := newRelay(t)
	now := time.Now()
	for i, accepted := range []time.Time{now, now.Add(-2 * time.Hour), now.Add(-48 * time.Hour)} {
		env := envelope("a@example.com", "b@example.org")
		env.Accepted, env.Hold = accepted, i == 1
		f.put(t, env, "x")
	}
	other := envelope("a@example.com", "b@example.org")
	other.Recipients[0].Upstreams = []string{"spare"}
	f.put(t, other, "x")
	got := s.countQueue(t.Context(), now.Add(time.Hour))
	if got.Looked != 4 || got.Partial || len(got.Groups) != 3 {
		t.Fatalf("%+v", got)
	}
	parked, held, due := got.Groups[0], got.Groups[1], got.Groups[2]
	if parked.Count != 2 || !strings.Contains(parked.Cause, "is parked") || parked.Ages[0] != 1 || parked.Ages[4] != 1 || !parked.Oldest.Before(now.Add(-47*time.Hour)) {
		t.Errorf("%+v", parked)
	}
	if held.Count != 1 || !strings.Contains(held.Cause, "on hold") || held.Link != "/queue?state=held&upstream=office" || held.Ages[2] != 1 {
		t.Errorf("%+v", held)
	}
	if due.Upstream != "spare" || due.Count != 1 {
		t.Errorf("%+v", due)
	}
	if late := s.countQueue(t.Context(), now.Add(-time.Hour)); late.Looked != 4 {
		t.Errorf("%+v", late) // fewer than are looked at before the clock is
	}
	// Nobody has it counted again while the last count is fresh.
	first := s.census.count(t.Context(), s)
	f.put(t, envelope("a@example.com", "b@example.org"), "x")
	if s.census.count(t.Context(), s) != first {
		t.Error("it was counted twice")
	}
}

// The page of an upstream tells when its certificate ends.
func TestCertificateOfAnUpstream(t *testing.T) {
	f, s := newRelay(t)
	end := time.Now().Add(30*24*time.Hour + time.Hour)
	f.lanes[0].CertificateEnds = &end
	b := open(t, s, "look")
	if _, _, body := b.get("/upstreams/office"); !strings.Contains(body, `<dt>Certificate</dt><dd>ends on <time datetime="`+end.UTC().Format(time.RFC3339)) || !strings.Contains(body, "(in 30 days)") {
		t.Error(body)
	}
}
