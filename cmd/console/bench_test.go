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

	"postern/spool"
	"postern/spool/journal"
)

// BenchmarkPages answers pages of a relay with 100,000 queued messages.
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
	secret := s.sessions.begin("look", f.config.Console.Users["look"].Password, "", time.Now())
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
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.census.next = time.Time{}
				r, w := newAsk(path, secret, "")
				if s.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
