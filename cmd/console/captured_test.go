package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"postern/config"
	"postern/relay/capture"
	"postern/spool"
)

// catch keeps messages as the capture server does; their names are those of
// capturedName.
func catch(t testing.TB, s *Server, contents ...string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "capture")
	for _, folder := range []string{"", "new", "cur", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, content := range contents {
		text := "Return-Path: <shop@example.com>\r\nDelivered-To: ann@example.org\r\nDelivered-To: bob@example.org\r\nX-Postern-Upstream: office\r\n" + content
		if err := os.WriteFile(filepath.Join(dir, "new", capturedName(i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Captured = capture.NewBox(dir)
}

func capturedName(i int) string { return fmt.Sprintf("%d.M%dP1Q%d.relay", 1764400000+i, i, i) }

const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==" // a picture of one pixel

// newsletter is a message with all that a page shows.
func newsletter(html string) string {
	return "From: =?utf-8?q?Shop_=C3=BC?= <shop@example.com>\r\nTo: ann@example.org\r\nSubject: Your order\r\nDate: Sun, 29 Nov 2026 06:00:00 +0000\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
		"--a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThank you.\r\nIt comes tomorrow.\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + "\r\n--a--\r\n" +
		"--r\r\nContent-Type: image/png\r\nContent-ID: <logo@shop>\r\nContent-Transfer-Encoding: base64\r\n\r\n" + dot + "\r\n--r--\r\n" +
		"--m\r\nContent-Type: text/html; name=bill.html\r\nContent-Disposition: attachment; filename=\"..\\\\b\u00fcll.html\"\r\n\r\n<script>alert(1)</script>\r\n--m--\r\n"
}

func TestCapturedMail(t *testing.T) {
	f, s := newRelay(t)
	f.config.Upstreams = map[string]*config.Upstream{"here": {Provider: config.CaptureProvider}, "office": {}}
	catch(t, s, "Subject: plain\r\n\r\nHello\r\n", newsletter(`<p>Thank <b>you</b></p><img src="cid:logo@shop"><img src='CID:nobody'>`), "\r\nNo header\r\n")
	b := open(t, s, "operate")
	path := func(i int) string { return "/captured/" + capturedName(i) }
	_, _, body := b.get("/captured")
	if i, j := strings.Index(body, path(1)), strings.Index(body, path(0)); i < 0 || j < i || !strings.Contains(body, "Your order") || !strings.Contains(body, "(no subject)") || !strings.Contains(body, `href="/captured" aria-current`) {
		t.Errorf("%s", body)
	}
	for query, want := range map[string]string{"ORDER": "1", "ann@": "012", "shop ü": "1", "office": "012", "nothing": ""} {
		_, _, body := b.get("/captured?q=" + url.QueryEscape(query))
		got := ""
		for i := range 3 {
			if strings.Contains(body, path(i)+`"`) {
				got += fmt.Sprint(i)
			}
		}
		if got != want {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
	_, h, body := b.get(path(1))
	for _, want := range []string{"Shop ü", "Thank you.\nIt comes tomorrow.", "&lt;shop@example.com&gt; to &lt;ann@example.org&gt;, &lt;bob@example.org&gt;, by office", "parts/4", "büll.html", `sandbox=""`, "<option>office</option>", path(1) + "/html"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(body, "<option>here") || h.Get("Content-Security-Policy") != policy+"; frame-src 'self'" {
		t.Errorf("%s", h)
	}
	_, h, body = b.get(path(1) + "/html")
	if h.Get("Content-Security-Policy") != mailPolicy || h.Get("X-Frame-Options") != "SAMEORIGIN" || !strings.Contains(body, `<img src="data:image/png;base64,`+dot+`"><img src='CID:nobody'>`) {
		t.Errorf("%v %s", h, body)
	}
	_, h, body = b.get(path(1) + "/parts/4")
	if h.Get("Content-Type") != "application/octet-stream" || h.Get("Content-Disposition") != `attachment; filename="b_ll.html"; filename*=UTF-8''b%C3%BCll.html` || body != "<script>alert(1)</script>" {
		t.Errorf("%v %s", h, body)
	}
	if _, h, _ = b.get(path(1) + "/parts/3"); h.Get("Content-Type") != "image/png" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment;") {
		t.Errorf("%v", h)
	}
	if _, h, body = b.get(path(0) + "/source"); h.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(body, "\r\n\r\nHello\r\n") || !strings.HasPrefix(body, "Return-Path: <shop@") {
		t.Errorf("%v %q", h, body)
	}
	if _, _, body = b.get(path(0) + "/newer"); !strings.Contains(body, "2 new messages") {
		t.Errorf("%s", body)
	}
	for _, bad := range []string{"/captured/nobody", path(0) + "/parts/9", path(0) + "/parts/x", path(0) + "/parts/-1", "/captured/nobody/html", "/captured/nobody/source"} {
		if code, _, _ := b.get(bad); code != http.StatusNotFound {
			t.Errorf("%s: %d", bad, code)
		}
	}
	b.post("/captured/remove", url.Values{"name": {capturedName(0), "../../etc/passwd", capturedName(0)}, "back": {"/captured"}})
	if _, _, body = b.get("/captured"); !strings.Contains(body, "1 message: removed. 2 were not there any more.") || strings.Contains(body, path(0)+`"`) {
		t.Errorf("%s", body)
	}
	removed := f.events[len(f.events)-1].(*CaptureRemoved)
	if removed.User != "operate" || removed.Name != capturedName(0) {
		t.Errorf("%+v", removed)
	}
}

// A captured message is handed to an upstream once, as it came, and marked.
func TestRelease(t *testing.T) {
	f, s := newRelay(t)
	f.config.Upstreams = map[string]*config.Upstream{"here": {Provider: config.CaptureProvider}, "office": {}}
	catch(t, s, "Subject: plain\r\n\r\nHello\r\n")
	b := open(t, s, "operate")
	path := "/captured/" + capturedName(0)
	release := func(upstream string) (code int, said string) {
		code, _, _ = b.post(path+"/release", url.Values{"upstream": {upstream}, "back": {path}})
		_, _, body := b.get(path)
		return code, body
	}
	code, body := release("office")
	want := `release ` + capturedName(0) + ` from shop@example.com to ann@example.org bob@example.org by office for console:operate: "Subject: plain\r\n\r\nHello\r\n"`
	if got := f.noted(); code != http.StatusSeeOther || got != want || !strings.Contains(body, "It goes to office as the message "+spool.ID(77).String()) || !strings.Contains(body, "and sent on") {
		t.Errorf("%d %s %s", code, got, body)
	}
	if e := f.events[len(f.events)-1].(*CaptureReleased); e.ID != 77 || e.Upstream != "office" || e.Recipients != 2 || e.User != "operate" {
		t.Errorf("%+v", e)
	}
	f.repeated = &spool.Repeated{ID: 77}
	if _, body := release("office"); !strings.Contains(body, "is not sent twice") {
		t.Errorf("%s", body)
	}
	f.noted()
	for _, bad := range []string{"here", "", "nowhere", hostile} {
		if code, _ := release(bad); code != http.StatusBadRequest || f.noted() != "" {
			t.Errorf("%q: %d", bad, code)
		}
	}
}

// Whatever a captured message says in any field, of itself or of its parts, is text
// on the pages, and its names of files are names.
func TestHostileCapturedMail(t *testing.T) {
	_, s := newRelay(t)
	encoded := "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(hostile)) + "?="
	var header string
	for _, name := range []string{"From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID"} {
		header += name + ": " + encoded + "\r\n" + name + ": " + strings.ReplaceAll(hostile, "\x1b", "") + "\r\n"
	}
	catch(t, s, header+"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"+hostile+"\r\n--b\r\nContent-Type: image/<script>alert(1)</script>; name=\""+encoded+"\"\r\nContent-ID: "+hostile+
		"\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n"+hostile+"\r\n--b\r\nbroken "+hostile+"\r\n\r\n",
		strings.ReplaceAll(header, "Subject", "X-Subject")+"\r\n")
	b := open(t, s, "operate")
	q := url.QueryEscape(hostile)
	for _, path := range []string{"/captured", "/captured?q=" + q, "/captured?after=" + q, "/captured/" + capturedName(0), "/captured/" + capturedName(1), "/captured/" + url.PathEscape(hostile),
		"/captured/" + url.PathEscape(hostile) + "/newer", "/captured/" + capturedName(0) + "/parts/" + url.PathEscape(hostile)} {
		_, h, body := b.get(path)
		if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s", path, h.Get("Content-Type"))
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "\x1b", "\u202e"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q: %.300s", path, bad, body[max(0, strings.Index(body, bad)-200):])
			}
		}
	}
	for part := range 4 {
		_, h, _ := b.get(fmt.Sprintf("/captured/%s/parts/%d", capturedName(0), part))
		if c := h.Get("Content-Disposition"); strings.ContainsAny(c, "<>\x1b\u202e\r\n") || h.Get("Content-Type") == "text/html" || strings.Contains(h.Get("Content-Type"), "script") {
			t.Errorf("%d: %v", part, h)
		}
	}
}

// No name leads out of the Maildir.
func TestCapturedTraversal(t *testing.T) {
	_, s := newRelay(t)
	catch(t, s, "Subject: x\r\n\r\n")
	b := open(t, s, "operate")
	for _, name := range []string{"..%2f..%2f..%2fetc%2fpasswd", "..", "new%2f" + capturedName(0), "%2e%2e%2fnew%2f" + capturedName(0), "%00", capturedName(0) + "%00", capturedName(0) + ":2,S", ".", "%2fetc%2fpasswd", `..%5c..%5cx`} {
		for _, more := range []string{"", "/source", "/html", "/parts/1"} {
			code, h, body := b.get("/captured/" + name + more)
			if code != http.StatusNotFound && code != http.StatusSeeOther || strings.Contains(body, "root:") {
				t.Errorf("%s%s: %d %v", name, more, code, h)
			}
		}
	}
	r, _ := http.NewRequest(http.MethodGet, b.base+"/captured/"+capturedName(0)+"/html", nil)
	r.Header.Set("Sec-Fetch-Dest", "document") // by itself, not in its frame
	if code, h, _ := b.do(r); code != http.StatusSeeOther || h.Get("Location") != "/captured/"+capturedName(0) {
		t.Errorf("%d %v", code, h)
	}
}

// What the HTML of a message is framed by is bounded.
func TestFramed(t *testing.T) {
	big := map[string]picture{"x": {"image/png", strings.Repeat("A", maxPicture)}}
	if n := len(framed(strings.Repeat(`<img src="cid:x">`, 1000), big)); n > maxFramed {
		t.Errorf("%d bytes", n)
	}
	got := framed(`<LINK rel=preconnect href=//x><meta http-equiv=refresh></META><b><base href=x><a href=//x>l</a><A href=x><abbr><sCript>1</scripT><iframe><img src="cid:a%40b&amp;c">`, map[string]picture{"a@b&c": {"image/gif", "R0lG"}})
	want := `<x-LINK rel=preconnect href=//x><x-meta http-equiv=refresh></x-META><b><x-base href=x><x-a href=//x>l</x-a><x-A href=x><abbr><x-sCript>1</x-scripT><x-iframe><img src="data:image/gif;base64,R0lG">`
	if got != want {
		t.Errorf("%s", got)
	}
}

// testMailInAFrame has a message do in Chromium whatever could have it ask another
// machine, run something, or leave its frame.
func testMailInAFrame(t *testing.T, ctx context.Context, said func() string) {
	evil, asked := listening(t)
	_, s := newRelay(t)
	catch(t, s, newsletter(`<a style="display:block;height:2000px;background:#00ff00" href="http://`+evil+`/link" ping="http://`+evil+`/ping">Read me</a><base href="http://`+evil+`/"><meta http-equiv="refresh" content="0;url=http://`+evil+`/refresh"><link rel=preconnect href="http://`+evil+`"><link rel="dns-prefetch" href="//`+evil+
		`"><link rel=stylesheet href="http://`+evil+`/css"><style>@import "http://`+evil+`/import"; @font-face{font-family:f;src:url(http://`+evil+`/font)} p{font-family:f;background:url(http://`+evil+`/bg)}</style>`+
		`<script>parent.document.title="broken"; fetch("http://`+evil+`/fetch")</script><img src="http://`+evil+`/img" onerror="top.location='http://`+evil+`/top'"><img srcset="http://`+evil+`/srcset 2x">`+
		`<video autoplay src="http://`+evil+`/video" poster="http://`+evil+`/poster"></video><audio autoplay src="http://`+evil+`/a"></audio><object data="http://`+evil+`/o"></object><embed src="http://`+evil+`/e">`+
		`<iframe src="http://`+evil+`/iframe"></iframe><svg><image href="http://`+evil+`/svg"/><script href="http://`+evil+`/s"/></svg><input type=image src="http://`+evil+`/input" autofocus onfocus="alert(1)">`+
		`<form id=f action="http://`+evil+`/form"><button id=send>x</button></form><body background="http://`+evil+`/body"><img src="cid:logo@shop">`))
	b := open(t, s, "")
	page := b.base + "/captured/" + capturedName(0)
	var title string
	if err := chromedp.Do(ctx, signInTo(b.base, "operate"), chromedp.EmulateViewport(1000, 1000), chromedp.Navigate(page), chromedp.WaitVisible(chromedp.CSS("iframe.mail")), chromedp.Sleep(300*time.Millisecond),
		into(&title, chromedp.Title())); err != nil {
		t.Fatal(err)
	}
	if title != "Your order · relay.example.com" {
		t.Errorf("the title is %q", title)
	}
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if !hasGreen(t, picture) {
		t.Error("the frame does not show the message")
	}
	// By mouse, in the frame: the link.
	var drawn string
	err = chromedp.Do(ctx, into(&drawn, chromedp.Evaluate[string](`(() => { const f = document.querySelector("iframe.mail"); return String(f.contentDocument) + " " + f.src })()`)),
		chromedp.Click(chromedp.CSS("iframe.mail")), chromedp.Sleep(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if drawn != "null "+page+"/html" { // another origin, which no script sees into
		t.Errorf("%s", drawn)
	}
	if list := asked(); list != "" {
		t.Errorf("another machine was asked: %s", list)
	}
	said()
}

// hasGreen tells whether a picture has the green of the message in it.
func hasGreen(t *testing.T, picture []byte) bool {
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			if r, g, b, _ := img.At(x, y).RGBA(); r == 0 && g == 0xffff && b == 0 {
				return true
			}
		}
	}
	return false
}
