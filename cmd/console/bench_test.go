package console

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/cmd/history"
	"postern/spool"
	"postern/spool/journal"
)

// BenchmarkPages answers pages of a relay with 100,000 queued messages, as many of
// which the history knows, and 50,000 captured ones.
func BenchmarkPages(b *testing.B) {
	store, err := journal.Open(journal.Options{Dir: filepath.Join(b.TempDir(), "spool"), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	const messages, writers = 100_000, 64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < messages; i += writers {
				d, err := store.Create(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				io.WriteString(d, "Subject: x\r\n\r\nx\r\n")
				env := envelope(fmt.Sprintf("shop%d@example.com", i), fmt.Sprintf("ann%d@example.org", i))
				env.Accepted = time.Now().Add(-time.Duration(i) * time.Second)
				if i%10 == 0 {
					env.Hold = true
				}
				if err := d.Commit(context.Background(), env); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	f, s := newRelayFor(b)
	s.Store = store
	letters := make([]string, 50_000)
	for i := range letters {
		letters[i] = fmt.Sprintf("From: shop%d@example.com\r\nSubject: order %d\r\n\r\nThank you.\r\n", i, i)
	}
	catch(b, s, letters...)
	h := history.New(history.Options{Dir: f.history, Keep: time.Hour, MaxSize: 256 << 20})
	for i := range messages { // slower than the relay tells, so that nothing is dropped
		at, id := time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf("1hv%07d", i)
		h.Add(fmt.Appendf(nil, `{"time":%q,"event":"message-accepted","id":%q,"from":"shop%d@example.com","message_id":"<%d@example.com>","peer":"127.0.0.1:4711","listener":"apps","recipients":1,"size":23}`+"\n", at, id, i, i))
		h.Add(fmt.Appendf(nil, `{"time":%q,"event":"delivery-attempt","id":%q,"from":"shop%d@example.com","to":"ann%d@example.org","upstream":"office","result":"delivered","code":250,"text":"queued"}`+"\n", at, id, i, i))
		if i%500 == 499 {
			time.Sleep(time.Millisecond)
		}
	}
	h.Close(time.Minute)
	if n := h.Dropped(); n > 0 {
		b.Fatal(n, "lines were dropped")
	}
	secret := s.sessions.begin("define", f.config.Console.Users["define"].Password, "", time.Now())
	var middle spool.ID
	n := 0
	_ = store.Find(context.Background(), spool.Query{}, func(sum spool.Summary) bool {
		n++
		middle = sum.ID
		return n < messages/2
	})
	for name, path := range map[string]string{
		"overview": "/", "queue": "/queue", "queue-middle": "/queue?after=" + middle.String(), "queue-held": "/queue?state=held", "queue-upstream": "/queue?upstream=office",
		"search-one": "/queue?from=" + url.QueryEscape("shop99999@"), "search-none": "/queue?to=nobody", "message": "/messages/" + middle.String(), "upstreams": "/upstreams",
		"captured": "/captured", "captured-middle": "/captured?after=" + capturedName(25_000), "captured-search": "/captured?q=nobody", "captured-oldest": capturedPath(capturedName(0)),
		"captured-newer": capturedPath(capturedName(0)) + "/newer", "captured-gone": capturedPath("nobody"),
		"life": "/messages/" + middle.String() + "/life", "trace": "/trace?q=" + url.QueryEscape("ann50000@example.org"), "trace-many": "/trace?q=" + url.QueryEscape("@example.org"),
		"events": "/events", "routes": "/routes", "definitions": "/definitions",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.census.next = time.Time{}
				r, w := newAsk(path, secret, "")
				if s.ServeHTTP(w, r); w.Code != http.StatusOK && name != "captured-gone" {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
