package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"postern/cmd/alert"
	"postern/cmd/control"
	"postern/cmd/history"
	"postern/cmd/trend"
	"postern/config"
	"postern/queue"
	"postern/spool"
)

// TestPictures makes the pictures of docs/console.md, in the folder that
// POSTERN_PICTURES names, or in one that is thrown away. Each one stands in the
// page, and is as small as it can be.
func TestPictures(t *testing.T) {
	ctx, said := chromium(t)
	dir := cmp.Or(os.Getenv("POSTERN_PICTURES"), t.TempDir())
	page, err := os.ReadFile("../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	_, s, id := pictured(t)
	b := open(t, s, "")
	window := call(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 1180, Height: 1100, DeviceScaleFactor: 1})
	if err := chromedp.Do(ctx, window, signInTo(b.base, "define")); err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, path := range map[string]string{
		"overview": "/", "queue": "/queue", "message": "/messages/" + id.String(), "upstream": "/upstreams/office",
		"captured": "/captured/" + capturedName(1), "define": "/definitions/upstream", "book": "/books/team/group?group=Sales", "write": "/message-files/reminder",
	} {
		var made string
		show := []chromedp.Action[chromedp.Void]{chromedp.Navigate(b.base + path)}
		switch name {
		case "overview":
			show = append(show, chromedp.WaitVisible(chromedp.CSS("#charts .u-legend")))
		case "write": // what the form makes
			form := `"/message-files/reminder", {"c.name": "Eve", "c.email": "eve@example.net", "c.invoice": "7", "c.text": "Please pay within a week.", "rows": "invoice\n7\n8"}`
			show = append(show, into(&made, chromedp.Evaluate[string](`((path, form) => fetch(path, {method: "POST", body: new URLSearchParams(form)}).then(r => r.url))(`+form+`)`, chromedp.EvalAwaitPromise)),
				chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
					_, err := chromedp.Navigate(made)(ctx, t)
					return err
				}))
		case "message":
			show = append(show, chromedp.WaitVisible(chromedp.CSS(".life")))
		}
		if err := chromedp.Do(ctx, show...); err != nil {
			t.Fatalf("%s: %v: %s", name, err, said())
		}
		shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		small, err := reduced(shot)
		if err != nil {
			t.Fatal(err)
		}
		total += len(small)
		if err := os.WriteFile(filepath.Join(dir, name+".png"), small, 0o644); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(page, []byte("](pictures/"+name+".png)")) {
			t.Errorf("docs/console.md does not show pictures/%s.png", name)
		}
	}
	if total > 1<<20 {
		t.Errorf("the pictures have %d bytes", total)
	}
	if text := said(); text != "" {
		t.Error(text)
	}
}

// reduced is a picture of 256 colours: those that it has the most of, and for the
// others the nearest of them.
func reduced(content []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	area := full.Bounds()
	area.Max.Y = min(area.Max.Y, area.Min.Y+1500) // the beginning of a long page
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(full.At(x, y)).(color.RGBA) }
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	palette, index := color.Palette{}, map[color.RGBA]uint8{}
	for _, c := range most[:min(len(most), 256)] {
		palette = append(palette, c)
	}
	for _, c := range most {
		index[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(area, palette)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			out.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, out)
	return b.Bytes(), err
}

// pictured is a relay on an ordinary day: one upstream is refused its password.
func pictured(t *testing.T) (f *relay, s *Server, id spool.ID) {
	f, s = newRelay(t)
	f.problems = []string{"the upstream \"office\" is parked: 535 5.7.8 Username and Password not accepted"}
	definable(t, f)
	withBooks(t, f)
	files := reminderFiles()
	logo, err := base64.StdEncoding.DecodeString(dot)
	if err != nil {
		t.Fatal(err)
	}
	files["logo.png"] = string(logo)
	withFiles(t, f, files)
	catch(t, s, "Subject: Backup of db1 is done\r\n\r\nHello\r\n", newsletter(`<h1>Thank you</h1><p>It comes tomorrow.</p>`))
	since, probe, now := time.Now().Add(-25*time.Minute), time.Now().Add(4*time.Minute), time.Now()
	f.cause = spool.Outcome{Code: 535, Enhanced: "5.7.8", Text: "Username and Password not accepted", Remote: "192.0.2.25:587"}
	f.lanes = []control.Lane{
		{Upstream: "office", Address: "smtp.example.com:587", State: queue.Parked, Since: &since, DownSince: &since, NextProbe: &probe, Queued: 4, OldestDue: &since, TLS: "verify", Auth: "plain", Username: "relay@example.com",
			MaxConnections: 10, Reason: "sign-in: 535 5.7.8 Username and Password not accepted"},
		{Upstream: "newsletters", Address: "mail.example.net:465", State: queue.Up, Since: &since, Sessions: 3, Queued: 212, TLS: "verify", Auth: "plain", Username: "news", MaxConnections: 10},
	}
	parked := alert.Open{Trouble: alert.Trouble{Key: alert.Key{Kind: "upstream-parked", Subject: "office"}, Severity: alert.Critical, Since: since, Waiting: 4, Text: "the upstream \"office\" is parked: it fails in a way that somebody has to mend",
		Words: "192.0.2.25:587 answered 535 5.7.8 Username and Password not accepted", Meaning: "The upstream does not accept this username and password, or this token.",
		Remedy: "Check username and password. Where the account signs in with a second factor, it needs a password made for this application.", Command: "postern upstream test office"}, Told: map[string]time.Time{"oncall": since.Add(time.Minute)}}
	f.troubles, f.receivers = []alert.Open{parked}, []string{"oncall", "ops"}
	f.queue = control.Queue{Deliveries: 216, Due: 3, Deferred: 212, Held: 1, OldestDue: &since}
	f.config.Listeners = []config.Listener{{Name: "apps"}}
	for i, c := range []struct{ from, to string }{{"shop@example.com", "ann@example.org"}, {"cron@db1.example.com", "ops@example.com"}, {"billing@example.com", "bob@example.net"}, {"shop@example.com", "carol@example.org"}} {
		env := envelope(c.from, c.to)
		env.Accepted, env.Hold, env.MessageID, env.Peer, env.Listener = now.Add(-time.Duration(7*i+2)*time.Minute), i == 1, fmt.Sprintf("<%d@example.com>", i), "127.0.0.1:4711", "apps"
		if one := f.put(t, env, "Subject: Your order\r\n\r\nHello\r\n"); i == 0 {
			id = one
		}
	}
	h := history.New(history.Options{Dir: f.history, Keep: time.Hour, MaxSize: 64 << 20})
	line := func(ago time.Duration, format string, args ...any) {
		h.Add(fmt.Appendf(nil, `{"time":%q,"id":%q,`+format+"}\n", append([]any{now.Add(-ago).UTC().Format(time.RFC3339Nano), id}, args...)...))
	}
	line(2*time.Minute, `"event":"message-accepted","from":"shop@example.com","peer":"127.0.0.1:4711","listener":"apps","recipients":1,"size":2310`)
	line(119*time.Second, `"event":"delivery-attempt","to":"ann@example.org","upstream":"office","result":"deferred","stage":"auth","code":535,"text":"Username and Password not accepted"`)
	h.Close(time.Second)
	f.storms = []control.Storm{{ID: "18c5", From: "cron@db1.example.com", To: "ops@example.com", Subject: "disk is full", Recipients: 1, Began: since, Latest: now, Held: 40, Waiting: 38}}
	const day = 24 * 60
	var sum trend.Totals
	for i := range day {
		busy := 40 * (1 + math.Sin(float64(i)/170))
		sum.Accepted, sum.Delivered = sum.Accepted+int64(busy)+int64(i%5), sum.Delivered+int64(busy)+int64(i%7)
		if i > day-25 {
			sum.Deferred += 4
		}
		s.Trend.Add(now.Add(time.Duration(i-day)*time.Minute), sum, int(busy)+i%17+max(0, 8*(i-day+25)))
	}
	return f, s, id
}
