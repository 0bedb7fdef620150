package alert

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
)

// answering is a receiver that does as it likes with each request; evil is told
// of every one that comes to another server.
func answering(t *testing.T, answer func(c net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 64<<10))
				answer(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// on says first once, and then more without end.
func on(first, more string, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		for _, err := io.WriteString(c, first); err == nil; _, err = io.WriteString(c, more) {
			time.Sleep(pause)
		}
	}
}

// TestHostileReceivers: an Alertmanager and the services end with their time,
// whatever they answer, and nobody else hears of an alert, a password or an
// address.
func TestHostileReceivers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("elsewhere is told: %s %s, %q", r.Method, r.URL, r.Header)
	}))
	defer elsewhere.Close()
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		want   string // of the error; "": what was sent counts as told
	}{
		{"a redirect", on("HTTP/1.1 307 Go\r\nLocation: "+elsewhere.URL+"/x\r\nContent-Length: 0\r\n\r\n", "x", time.Millisecond), "answered 307"},
		{"another", on("HTTP/1.1 301 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "x", time.Millisecond), "answered 301"},
		{"header without end", on(ok, "X: "+strings.Repeat("x", 1000)+"\r\n", 0), "exceeded"},
		{"early hints without end", on("", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 0), "exceeded"},
		{"nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "deadline"},
		{"a byte now and then", on(ok+"X: ", "x", 20*time.Millisecond), "deadline"},
		{"no HTTP", on("220 ESMTP\r\n", "x", time.Millisecond), "malformed"},
		{"words that move the cursor", on("HTTP/1.1 400 \x1b[2J\r\nContent-Length: 9\r\n\r\n\x1b[2J\r\n\r\n\r\n", "x", time.Millisecond), "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := answering(t, c.answer)
			for _, r := range []Receiver{
				Alertmanager{"http://" + address, "me", config.NewSecret("hunter2")},
				service("generic+http://" + address + "/s3cretpath?token=S3cretValue"),
			} {
				limit := 5 * time.Second
				if c.want == "deadline" {
					limit = 500 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				began := time.Now()
				err := r.Send(ctx, "r", example)
				cancel()
				if took := time.Since(began); took > limit+3*time.Second {
					t.Errorf("%T: it took %v", r, took)
				}
				text := fmt.Sprint(err)
				if err == nil || !strings.Contains(text, c.want) || strings.Contains(text, "hunter2") ||
					strings.Contains(strings.ToLower(text), "s3cret") || strings.ContainsAny(harmless(text), "\x1b\r\n") {
					t.Errorf("%T: %q", r, text)
				}
			}
		})
	}
}

// TestEndlessAnswer: an Alertmanager that took what was told, and talks on.
func TestEndlessAnswer(t *testing.T) {
	for _, pause := range []time.Duration{0, 20 * time.Millisecond} {
		address := answering(t, on("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 100), pause))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := (Alertmanager{"http://" + address, "", config.Secret{}}).Send(ctx, "r", example); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
