//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// slowReport is what a run with slow clients prints.
type slowReport struct {
	Slow            int     `json:"slow_connections"`
	Messages        int     `json:"ordinary_messages"`
	TurnedAway      int     `json:"ordinary_turned_away"` // with a 421, and came again at once
	MedianMillis    float64 `json:"ordinary_median_ms"`
	WidestMillis    float64 `json:"ordinary_widest_ms"`
	WidestAlone     float64 `json:"ordinary_widest_alone_ms"`
	ResidentBefore  int64   `json:"resident_before_bytes"`
	ResidentDuring  int64   `json:"resident_during_bytes"`
	BytesConnection int64   `json:"resident_bytes_a_connection"`
}

// slowClients holds thousands of connections whose clients say a byte now and
// then, stop in the middle of a message, or never read, and measures what an
// ordinary client has to wait meanwhile, from its connection to its 250.
func (p *plan) slowClients(ctx context.Context, stderr io.Writer) (rep slowReport, err error) {
	if err := raiseFiles(uint64(2*p.slow + 500)); err != nil {
		return rep, err
	}
	dir, err := os.MkdirTemp(p.dir, "postern-slow-")
	if err != nil {
		return rep, err
	}
	defer os.RemoveAll(dir)
	if p.binary == "" {
		if p.binary, err = build(ctx, dir, "postern", static); err != nil {
			return rep, err
		}
	}
	b := newBooks()
	s, err := startSink(b)
	if err != nil {
		return rep, err
	}
	defer s.close()
	d, err := newDaemon(p.binary, dir, dir, s.addr)
	if err != nil {
		return rep, err
	}
	if p.limit == 0 {
		p.limit = p.slow + 100
	}
	if err := d.allow(p.limit); err != nil {
		return rep, err
	}
	if err := d.start(ctx); err != nil {
		return rep, err
	}
	defer d.kill()
	if err := rep.measure(ctx, p, b, d); err != nil {
		return rep, err
	}
	if err := waitEmpty(ctx, b, stallLimit, time.Minute); err != nil {
		return rep, err
	}
	return rep, b.close(nil).verdict()
}

// allow lets the daemon take so many connections at once.
func (d *daemon) allow(connections int) error {
	text, err := os.ReadFile(d.config())
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("[[listener]]"), fmt.Appendf(nil, "[[listener]]\nmax_connections = %d", connections), 1)
	return os.WriteFile(filepath.Join(d.dir, "postern.toml"), text, 0o600)
}

// raiseFiles lets this process, and those that it starts, open so many files.
func raiseFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= n {
		return nil
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files are needed: %w", n, err)
	}
	return nil
}

func (rep *slowReport) measure(ctx context.Context, p *plan, b *books, d *daemon) error {
	alone, _, err := ordinary(ctx, b, d.addr, "alone", p.messages)
	if err != nil {
		return fmt.Errorf("before the slow ones: %w", err)
	}
	rep.ResidentBefore = d.resident()
	slow, err := connectSlow(ctx, d.addr, p.slow, p.origins)
	defer func() {
		for _, c := range slow {
			c.Close()
		}
	}()
	if err != nil {
		return err
	}
	drip, stop := context.WithCancel(ctx)
	var dripping sync.WaitGroup
	dripping.Go(func() { dripAll(drip, slow) })
	waits, turnedAway, err := ordinary(ctx, b, d.addr, "beside", p.messages)
	rep.ResidentDuring = d.resident()
	stop()
	dripping.Wait()
	if err != nil {
		return fmt.Errorf("beside %d slow ones: %w", len(slow), err)
	}
	rep.Slow, rep.Messages, rep.TurnedAway = len(slow), len(waits), turnedAway
	rep.MedianMillis, rep.WidestMillis = millis(waits[len(waits)/2]), millis(waits[len(waits)-1])
	rep.WidestAlone = millis(alone[len(alone)-1])
	rep.BytesConnection = (rep.ResidentDuring - rep.ResidentBefore) / int64(max(len(slow), 1))
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// The kinds of slow clients: what each says before it drips.
var slowBeginnings = []string{
	"",                             // says nothing
	"EH",                           // a command that never ends
	"EHLO slow.client.example\r\n", // greets, and is idle
	"EHLO slow.client.example\r\nMAIL FROM:<slow@client.example>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\nSubject: slo",                                                         // a message that never ends
	"EHLO slow.client.example\r\nMAIL FROM:<slow@client.example>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\n" + strings.Repeat("X-Slow: "+strings.Repeat("slow", 200)+"\r\n", 40), // a header that never ends
	"EHLO slow.client.example\r\nAUTH PLAIN AHNsb3cAd3Jvbmc=\r\n",                                                                                                             // gives a wrong password, and waits
	strings.Repeat("EHLO slow.client.example\r\n", 60),                                                                                                                        // asks, and never reads
}

// connectSlow opens the slow connections. They are those of other users of this
// machine than the ordinary client: the kernel takes the owner of a socket for
// that, and root may give one away.
func connectSlow(ctx context.Context, addr string, n, origins int) (conns []net.Conn, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("connections of other users need root")
	}
	for i := range n {
		dialer := net.Dialer{Timeout: 10 * time.Second}
		dialer.Control = func(_, _ string, c syscall.RawConn) (err error) {
			if controlled := c.Control(func(fd uintptr) { err = syscall.Fchown(int(fd), 60000+i%max(1, origins), -1) }); controlled != nil {
				return controlled
			}
			return err
		}
		// One address of loopback has too few ports for more than 20,000.
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%250))}
		c, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return conns, fmt.Errorf("slow connection %d: %w", i, err)
		}
		conns = append(conns, c)
		// One that had to make room already can't be written to, and one that
		// never reads takes no more at some time.
		c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c, slowBeginnings[i%len(slowBeginnings)])
	}
	return conns, nil
}

// dripAll has a few clients say a byte every millisecond.
func dripAll(ctx context.Context, conns []net.Conn) {
	for i := 0; ctx.Err() == nil; i++ {
		for k := range 5 {
			// Those whose connection has ended don't matter.
			_, _ = conns[(i*5+k)%len(conns)].Write([]byte("x"))
		}
		time.Sleep(time.Millisecond)
	}
}

// ordinary sends messages, each over a connection of its own, and returns how
// long each took, in order of duration. Who is turned away by a 421 comes
// again, and has waited since the first time.
func ordinary(ctx context.Context, b *books, addr, name string, n int) (waits []time.Duration, turnedAway int, err error) {
	for i := range n {
		s := &sender{name: fmt.Sprintf("%s%d", name, i), addr: addr, books: b}
		for began := time.Now(); ; turnedAway++ {
			err := s.one(ctx)
			if err == nil {
				waits = append(waits, time.Since(began))
				break
			}
			if refused, ok := errors.AsType[*textproto.Error](err); !ok || refused.Code != 421 || time.Since(began) > time.Minute {
				return waits, turnedAway, err
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	slices.Sort(waits)
	return waits, turnedAway, nil
}
