//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// counter is an upstream that counts messages and does nothing else.
type counter struct {
	listener net.Listener
	serving  sync.WaitGroup
	arrived  atomic.Int64
	last     atomic.Int64 // when, in nanoseconds since 1970

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]struct{}
}

// count listens at an address of loopback.
func count(addr string) (*counter, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	u := &counter{listener: l, conns: map[net.Conn]struct{}{}}
	u.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.conns[c] = struct{}{}
			u.mu.Unlock()
			u.serving.Go(func() {
				u.session(c)
				u.mu.Lock()
				delete(u.conns, c)
				u.mu.Unlock()
				c.Close()
			})
		}
	})
	return u, nil
}

func (u *counter) close() {
	u.listener.Close()
	u.mu.Lock()
	for c := range u.conns {
		c.Close()
	}
	u.mu.Unlock()
	u.serving.Wait()
}

// await waits until so many have arrived, but not for longer than most.
func (u *counter) await(ctx context.Context, n int64, most time.Duration) {
	for end := time.Now().Add(most); u.arrived.Load() < n && time.Now().Before(end) && ctx.Err() == nil; {
		pause(ctx, 5*time.Millisecond)
	}
}

func (u *counter) session(c net.Conn) {
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	out.WriteString(sinkGreeting)
	for {
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			out.WriteString(sinkHello)
		case "DATA":
			out.WriteString("354 go on\r\n")
			if out.Flush() != nil {
				return
			}
			for {
				if line, err = in.ReadSlice('\n'); err != nil {
					return
				}
				if string(line) == ".\r\n" {
					break
				}
			}
			u.last.Store(time.Now().UnixNano())
			u.arrived.Add(1)
			out.WriteString(sinkOK)
		case "QUIT":
			out.WriteString("221 2.0.0 bye\r\n")
			out.Flush()
			return
		default:
			out.WriteString(sinkOK)
		}
	}
}

// filler is clients who send as fast as they are let, with a connection for each
// message.
type filler struct {
	addrs    []string // of relays, which have equal parts of the sessions
	sessions int
	text     []byte // of a message, with its final dot
	// may is asked before each message; nil: always.
	may func(accepted int64) bool

	accepted atomic.Int64
	refused  atomic.Int64
	mu       sync.Mutex
	why      error // of the last one that was refused
}

// text is a message of so many bytes.
func text(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: <a@client.example>\r\nTo: <b@sink.example>\r\nSubject: rates\r\n\r\n")
	for b.Len() < size {
		b.WriteString(strings.Repeat("x", 76) + "\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// fill sends until ctx ends, and returns how long the answers took to come.
func (f *filler) fill(ctx context.Context) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	for i := range f.sessions {
		addr := f.addrs[i%len(f.addrs)]
		all.Go(func() {
			for ctx.Err() == nil {
				if f.may != nil && !f.may(f.accepted.Load()) {
					pause(ctx, time.Millisecond)
					continue
				}
				if err := f.one(addr); err != nil {
					f.refused.Add(1)
					f.mu.Lock()
					f.why = err
					f.mu.Unlock()
					pause(ctx, 10*time.Millisecond)
					continue
				}
				f.accepted.Add(1)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// one sends one message.
func (f *filler) one(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	for _, step := range []struct {
		say  []byte
		code string
	}{
		{nil, "220"}, {[]byte("EHLO client.example\r\n"), "250"}, {[]byte("MAIL FROM:<a@client.example>\r\n"), "250"},
		{[]byte("RCPT TO:<b@sink.example>\r\n"), "250"}, {[]byte("DATA\r\n"), "354"}, {f.text, "250"},
	} {
		if _, err := c.Write(step.say); err != nil {
			return err
		}
		if err := expect(in, step.code); err != nil {
			return err
		}
	}
	io.WriteString(c, "QUIT\r\n")
	return nil
}

// expect reads a reply of one or more lines.
func expect(in *bufio.Reader, code string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("%q in place of %s", strings.TrimSpace(line), code)
		}
		if len(line) < 4 || line[3] != '-' {
			return nil
		}
	}
}
