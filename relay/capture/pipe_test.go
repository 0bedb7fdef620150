package capture

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What goes in at one end comes out at the other, in both directions at a time,
// however the reads and writes are cut.
func TestPipeCarriesBytes(t *testing.T) {
	a, b := pipe()
	content := make([]byte, 3<<20)
	rand.New(rand.NewSource(1)).Read(content)
	var all sync.WaitGroup
	for _, e := range []*end{a, b} {
		all.Go(func() {
			for rest := content; len(rest) > 0; {
				n, err := e.Write(rest[:min(len(rest), 1+rand.Intn(100_000))])
				if rest = rest[n:]; err != nil {
					t.Error(err)
					return
				}
			}
		})
		all.Go(func() {
			got := make([]byte, len(content))
			if _, err := io.ReadFull(e, got); err != nil || !bytes.Equal(got, content) {
				t.Errorf("other bytes, %v", err)
			}
		})
	}
	all.Wait()
	// What was written before a Close can be read after it.
	other, last := pipe()
	other.Write([]byte("bye"))
	other.Close()
	if got, err := io.ReadAll(last); string(got) != "bye" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := last.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("written to nobody: %v", err)
	}
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read from a closed end: %v", err)
	}
	if _, err := other.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written to a closed end: %v", err)
	}
}

// Deadlines end a wait that has begun, hold for what follows, and can be taken
// back.
func TestPipeHasDeadlines(t *testing.T) {
	a, b := pipe()
	defer b.Close()
	full := make([]byte, 2*pipeSize)
	for name, c := range map[string]struct {
		do  func() error
		set func(time.Time) error
	}{
		"read":  {func() error { _, err := a.Read(full); return err }, a.SetReadDeadline},
		"write": {func() error { _, err := a.Write(full); return err }, a.SetWriteDeadline},
	} {
		c.set(time.Now().Add(30 * time.Millisecond))
		if err := c.do(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		c.set(time.Time{})
		waited := make(chan error)
		go func() { waited <- c.do() }()
		select {
		case err := <-waited:
			t.Errorf("%s without a deadline: %v", name, err)
		case <-time.After(30 * time.Millisecond):
		}
		c.set(time.Unix(1, 0))
		if err := <-waited; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s, interrupted: %v", name, err)
		}
	}
	a.SetDeadline(time.Time{})
	waited := make(chan error)
	go func() { _, err := a.Read(full); waited <- err }()
	time.Sleep(10 * time.Millisecond)
	a.Close()
	if err := <-waited; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
