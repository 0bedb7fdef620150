//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// asks: one relay has another one do something and gets its answer, or is told in
// time that there is none, and whether something may have been done.
func asks(t *testing.T, url string) {
	one, two := relayOf(t, url, "one"), relayOf(t, url, "two")
	two.OnAsk(func(_ context.Context, request []byte) []byte {
		if string(request) == "much" {
			return make([]byte, askMost+1)
		}
		return append([]byte("done: "), request...)
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			question := fmt.Sprintf("number %d", i)
			if answer, err := one.Ask(t.Context(), "two", []byte(question)); err != nil || string(answer) != "done: "+question {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
	all.Wait()
	if answer, err := one.Ask(t.Context(), "two", []byte("much")); err != nil || len(answer) != 0 {
		t.Errorf("an answer that is too long: %d bytes, %v", len(answer), err)
	}

	wantGone := func(what string, err error, begun bool, text string) {
		t.Helper()
		var gone *Gone
		if !errors.As(err, &gone) || gone.Begun != begun || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Nobody of that name; one that answers nobody, such as an older program; one
	// that has ended.
	_, err := one.Ask(t.Context(), "three", []byte("?"))
	wantGone("nobody", err, false, "three is gone, and nothing was done")
	one.begins = 100 * time.Millisecond
	_, err = two.Ask(t.Context(), "two", []byte("?"))
	if err != nil {
		t.Errorf("itself: %v", err)
	}
	three := relayOf(t, url, "three")
	_, err = one.Ask(t.Context(), "three", []byte("?"))
	wantGone("an older program", err, false, "three does not answer, and nothing was done")
	called := make(chan struct{}, 1)
	three.OnAsk(func(context.Context, []byte) []byte { called <- struct{}{}; return nil })
	if _, err := one.pool.Exec(t.Context(), `INSERT INTO ask (relay, at, request) VALUES ('three', now() - interval '11 s', '')`); err != nil {
		t.Fatal(err)
	}
	three.answerAsks()
	select {
	case <-called:
		t.Error("it began with what nobody waits for any more")
	default:
	}
	if err := three.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = one.Ask(t.Context(), "three", []byte("?"))
	wantGone("one that has ended", err, false, "three is gone")

	// One that ends in the midst, and whoever asks gives up in the midst.
	one.begins = askBegins
	begun, over := make(chan struct{}, 1), make(chan struct{})
	stuck := func(ctx context.Context, _ []byte) []byte {
		begun <- struct{}{}
		select {
		case <-over:
		case <-ctx.Done():
		}
		return nil
	}
	two.OnAsk(stuck)
	for range 30 { // some give up before they have heard that the question is written
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		_, err = one.Ask(ctx, "two", []byte("?"))
		wantGone("given up", err, true, "some of it may be done")
		over <- struct{}{}
	}
	go func() {
		<-begun
		two.abandon()
		one.pool.Exec(t.Context(), `UPDATE relay SET until = now() WHERE name = 'two'`)
	}()
	_, err = one.Ask(t.Context(), "two", []byte("?"))
	wantGone("one that ends in the midst", err, true, "two is gone, and some of it may be done")
}

func relayOf(t *testing.T, url, name string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url, Relay: name, Term: time.Minute, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
