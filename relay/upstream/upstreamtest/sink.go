package upstreamtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Sink is an upstream on a loopback port that takes everything and keeps
// nothing. Set the fields before Start.
type Sink struct {
	Extensions []string
	// TLS, if set, is offered by STARTTLS, or begins with the first byte.
	TLS      *tls.Config
	Implicit bool
	// RTT is how long each group of replies takes.
	RTT time.Duration
	// Pieces makes each reply a write of its own, and small ones wait for
	// acknowledgements (Nagle's algorithm), as with a server that doesn't care.
	Pieces bool

	Messages    atomic.Int64
	Bytes       atomic.Int64 // of content, as it came
	Connections atomic.Int64

	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
}

// Start listens until the test ends, and returns host and port.
func (s *Sink) Start(t testing.TB) (string, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.conns = l, map[net.Conn]struct{}{}
	s.work.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.CloseConnections()
		s.work.Wait()
	})
	addr := l.Addr().(*net.TCPAddr)
	return addr.IP.String(), addr.Port
}

// CloseConnections closes what is open, as a restart would.
func (s *Sink) CloseConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

func (s *Sink) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.Connections.Add(1)
		if tcp, ok := conn.(*net.TCPConn); ok && s.Pieces {
			_ = tcp.SetNoDelay(false)
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.work.Go(func() {
			defer func() {
				conn.Close()
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.conns, conn)
			}()
			s.serve(conn)
		})
	}
}

func (s *Sink) serve(conn net.Conn) {
	if s.Implicit {
		conn = tls.Server(conn, s.TLS)
	}
	in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	secure := s.Implicit
	reply := func(text string) bool {
		_, _ = out.WriteString(text)
		if in.Buffered() > 0 && !s.Pieces {
			return true // more of the group is here
		}
		time.Sleep(s.RTT)
		return out.Flush() == nil
	}
	if !reply("220 sink\r\n") {
		return
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(string(line[:min(len(line), 4)]))
		ok := true
		switch verb {
		case "EHLO":
			ok = reply(s.ehlo(secure))
		case "STAR":
			ok = reply("220 go\r\n")
			encrypted := tls.Server(conn, s.TLS)
			conn, secure = encrypted, true
			in.Reset(encrypted)
			out.Reset(encrypted)
		case "DATA":
			ok = reply("354 go\r\n") && s.data(in) && reply("250 2.0.0 kept\r\n")
		case "BDAT":
			ok = s.chunk(in, line) && reply("250 2.0.0 ok\r\n")
		case "QUIT":
			reply("221 bye\r\n")
			return
		default:
			ok = reply("250 2.1.0 ok\r\n")
		}
		if !ok {
			return
		}
	}
}

func (s *Sink) ehlo(secure bool) string {
	lines := append([]string{"sink"}, s.Extensions...)
	if s.TLS != nil && !secure {
		lines = append(lines, "STARTTLS")
	}
	var b strings.Builder
	for i, line := range lines {
		if i == len(lines)-1 {
			b.WriteString("250 " + line + "\r\n")
		} else {
			b.WriteString("250-" + line + "\r\n")
		}
	}
	return b.String()
}

func (s *Sink) data(in *bufio.Reader) bool {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
		if string(line) == ".\r\n" {
			s.Messages.Add(1)
			return true
		}
		s.Bytes.Add(int64(len(line)))
	}
}

func (s *Sink) chunk(in *bufio.Reader, line []byte) bool {
	n := int64(0)
	for _, c := range bytes.Fields(line)[1] {
		n = n*10 + int64(c-'0')
	}
	last := bytes.HasSuffix(bytes.ToUpper(bytes.TrimSpace(line)), []byte(" LAST"))
	if _, err := io.CopyN(io.Discard, in, n); err != nil {
		return false
	}
	s.Bytes.Add(n)
	if last {
		s.Messages.Add(1)
	}
	return true
}
