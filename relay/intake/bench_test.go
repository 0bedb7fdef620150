package intake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	smtp "github.com/emersion/go-smtp"

	"postern/config"
	"postern/config/wire"
	"postern/spool"
)

// sink is an Acceptor that keeps nothing.
type sink struct{}

type sinkDraft struct{}

func (sink) Create(context.Context) (spool.Draft, error)        { return sinkDraft{}, nil }
func (sink) Known(context.Context, *spool.Key) error            { return nil }
func (sinkDraft) ID() spool.ID                                  { return 1 }
func (sinkDraft) Write(p []byte) (int, error)                   { return len(p), nil }
func (sinkDraft) Commit(context.Context, *spool.Envelope) error { return nil }
func (sinkDraft) Discard()                                      {}

// BenchmarkMessage takes one message over an established connection in
// memory: MAIL, RCPT and DATA in one write, then the content.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("engine/%dK", size>>10), func(b *testing.B) { benchEngine(b, size) })
		b.Run(fmt.Sprintf("stock/%dK", size>>10), func(b *testing.B) { benchStock(b, size) })
	}
}

func benchServer(b *testing.B) (*Server, *config.Listener) {
	s := newServer(sink{}, nil, nil)
	b.Cleanup(func() { s.Close() })
	use(b, s, testRoutes(b))
	l := testListener()
	l.Syntax, l.RepairHeaders = "lenient", true // as on loopback
	return s, &l
}

func benchEngine(b *testing.B, size int) {
	s, l := benchServer(b)
	set, err := newSettings(l, s.shared)
	if err != nil {
		b.Fatal(err)
	}
	d := newListener(listenerKey{})
	d.settings.Store(set)
	client, server := newPipe("127.0.0.1:40000")
	s.admit(d, server)
	benchClient(b, client, size)
}

func benchStock(b *testing.B, size int) {
	s, l := benchServer(b)
	be, _, err := s.Stock(l)
	if err != nil {
		b.Fatal(err)
	}
	srv := smtp.NewServer(be)
	srv.Domain = "mx.example.com"
	ln := newOneListener("127.0.0.1:40000")
	go srv.Serve(ln)
	b.Cleanup(func() { srv.Close() })
	benchClient(b, ln.client, size)
}

// oneListener hands out a single connection.
type oneListener struct {
	client net.Conn
	ch     chan net.Conn
}

func newOneListener(addr string) *oneListener {
	client, server := newPipe(addr)
	l := &oneListener{client, make(chan net.Conn, 1)}
	l.ch <- server
	return l
}

func (l *oneListener) Accept() (net.Conn, error) {
	if c, ok := <-l.ch; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *oneListener) Close() error   { close(l.ch); return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

func benchClient(b *testing.B, nc net.Conn, size int) {
	defer nc.Close()
	head := []byte("MAIL FROM:<a@example.com> BODY=8BITMIME\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
	body := benchBody(size)
	buf := make([]byte, 4096)
	wait := func(codes ...string) {
		got := ""
		for {
			n, err := nc.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			got += string(buf[:n])
			if i := strings.Index(got, codes[len(codes)-1]); i >= 0 && strings.HasSuffix(got, "\n") {
				return
			}
		}
	}
	wait("220 ")
	io.WriteString(nc, "EHLO a.example.com\r\n")
	wait("250 ")
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		nc.Write(head)
		wait("354 ")
		nc.Write(body)
		wait("250 2.0.0 queued")
	}
}

func benchBody(size int) []byte {
	var w bytes.Buffer
	w.WriteString("From: a@example.com\r\nTo: b@example.net\r\nSubject: benchmark\r\nDate: Mon, 01 Jan 2001 00:00:00 +0000\r\nMessage-ID: <x@example.com>\r\n\r\n")
	line := strings.Repeat("abcdefghij", 7) + "\r\n"
	for w.Len() < size {
		w.WriteString(line)
	}
	w.WriteString(".\r\n")
	return w.Bytes()
}

// BenchmarkLines: the check for bare newlines and the end of data alone.
func BenchmarkLines(b *testing.B) {
	body := benchBody(100 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		l := wire.Lines{Dots: wire.RemoveDots}
		for rest := body; ; {
			_, used, why := l.Next(rest)
			rest = rest[used:]
			if why == wire.End {
				break
			}
			if why == wire.Bare || len(rest) == 0 {
				b.Fatal("no end")
			}
		}
	}
}
