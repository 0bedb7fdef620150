package control

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/spool"
)

// hasty is a server that waits for its clients as long as said, for everything.
func hasty(f *fake, wait time.Duration) *Server {
	s := f.server()
	for _, h := range []*http.Server{s.control, s.metrics, s.reading} {
		h.ReadHeaderTimeout, h.ReadTimeout, h.IdleTimeout = wait, wait, wait
	}
	s.stall = wait
	return s
}

func dial(t *testing.T, network, at, say string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// Whoever connects and does not go on is not waited for.
func TestSilentClientsAreSentAway(t *testing.T) {
	f := newFake()
	const wait = 300 * time.Millisecond
	_, socket := serveAs(t, f, Places, hasty(f, wait))
	for name, say := range map[string]string{
		"nothing":       "",
		"half a header": "GET /healthz HTTP/1.1\r\nHost: postern\r\nX-",
		"half a body":   "POST /v1/queue/hold HTTP/1.1\r\nHost: postern\r\nContent-Length: 50\r\n\r\n{",
		"keep-alive":    "GET /healthz HTTP/1.1\r\nHost: postern\r\n\r\n",
	} {
		for _, at := range []string{"unix " + socket, "tcp " + f.status.Hostname} {
			network, address, _ := strings.Cut(at, " ")
			began := time.Now()
			if _, err := io.Copy(io.Discard, dial(t, network, address, say)); err != nil {
				t.Errorf("%s, %s: %v", network, name, err)
			}
			if took := time.Since(began); took < wait/2 && name != "half a body" {
				t.Errorf("%s, %s: sent away after %s", network, name, took)
			}
		}
	}
}

// What is set where nobody changes it.
func TestEveryWaitIsBounded(t *testing.T) {
	s := newFake().server()
	for _, h := range []*http.Server{s.control, s.metrics, s.reading} {
		if h.ReadHeaderTimeout <= 0 || h.ReadTimeout <= 0 || h.IdleTimeout <= 0 {
			t.Errorf("%v, %v, %v", h.ReadHeaderTimeout, h.ReadTimeout, h.IdleTimeout)
		}
	}
	if s.stall <= 0 || s.metrics.WriteTimeout <= 0 {
		t.Error("whoever reads no answer is waited for")
	}
}

// long is a daemon with a long queue and a long message; gets are requests for
// them.
func long() (f *fake, gets map[string]string) {
	f = newFake()
	for i := range 20_000 {
		f.add(spool.ID(i+1), "from@example.com", "office", spool.RecipientState{}, "to@example.org")
	}
	f.body = strings.Repeat(strings.Repeat("x", 76)+"\r\n", 60_000)
	get := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: postern\r\nConnection: close\r\n\r\n"
	}
	return f, map[string]string{"list": get("/v1/queue"), "content": get("/v1/messages/" + spool.ID(1).String() + "/content")}
}

// A long answer that is not taken ends; one that is taken slowly does not,
// however long it takes.
func TestLongAnswers(t *testing.T) {
	f, gets := long()
	const wait = 500 * time.Millisecond
	_, socket := serveAs(t, f, Places, hasty(f, wait))
	for name, get := range gets {
		dead := dial(t, "unix", socket, get)
		slow := dial(t, "unix", socket, get)
		began := time.Now()
		in, n := bufio.NewReader(slow), int64(0)
		for {
			k, err := io.CopyN(io.Discard, in, 300<<10)
			if n += k; err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s, slow: %v after %d bytes and %s", name, err, n, time.Since(began))
			}
			time.Sleep(wait / 5)
		}
		if took := time.Since(began); took < 2*wait || n < 3<<20 {
			t.Errorf("%s, slow: %d bytes in %s, which shows nothing", name, n, took)
		}
		got, err := io.Copy(io.Discard, dead)
		if err == nil && got >= n {
			t.Errorf("%s, dead: it got all %d bytes", name, got)
		}
	}
	if _, err := Dial(socket).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// An answer that is larger than what the socket holds arrives whole.
func TestLongAnswerIsWhole(t *testing.T) {
	f, _ := long()
	client, _ := serve(t, f)
	var got strings.Builder
	if err := client.Content(t.Context(), 1, &got); err != nil || got.String() != f.body {
		t.Errorf("%d bytes of %d, %v", got.Len(), len(f.body), err)
	}
	f.status.Problems = []string{strings.Repeat("p", 3<<20)}
	if st, err := client.Status(t.Context()); err != nil || len(st.Problems) != 1 || len(st.Problems[0]) != 3<<20 {
		t.Errorf("%+.100v, %v", strconv.Itoa(len(st.Problems)), err)
	}
}
