package eventlog

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// reluctant is a writer that takes lines only while it is open.
type reluctant struct {
	mu   sync.Mutex
	cond *sync.Cond
	open bool
	got  bytes.Buffer
}

func newReluctant() *reluctant {
	r := &reluctant{}
	r.cond = sync.NewCond(&r.mu)
	return r
}

func (r *reluctant) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.open {
		r.cond.Wait()
	}
	return r.got.Write(p)
}

func (r *reluctant) set(open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = open
	r.cond.Broadcast()
}

func (r *reluctant) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

func (r *reluctant) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got.String()
}

// Lines wait in their order while nobody takes them, and what does not fit is
// dropped and told, debug first.
func TestSinkNeverWaits(t *testing.T) {
	w := newReluctant()
	w.set(true)
	s := newSink(w)
	s.ready = w.ready
	told := make(chan int, 1)
	s.lost = func(n int, _ time.Time) { told <- n }
	s.write([]byte("line 0\n"), false)
	if w.text() != "line 0\n" {
		t.Fatal("a line was held back")
	}
	w.set(false)
	line := strings.Repeat("x", 1023) + "\n"
	for range maxBacklog / 1024 / 2 {
		s.write([]byte(line), true)
	}
	s.write([]byte(line), true) // the half of debug is full, perhaps but for what is being written
	for range maxBacklog / 1024 {
		s.write([]byte(line), false)
	}
	lag := s.lag()
	if lag.Dropped == 0 {
		t.Error("nothing was dropped")
	}
	w.set(true)
	s.close(10 * time.Second)
	select {
	case n := <-told:
		if n != lag.Dropped {
			t.Errorf("told of %d, dropped %d", n, lag.Dropped)
		}
	case <-time.After(10 * time.Second):
		t.Error("not told")
	}
	s.write([]byte("last\n"), false)
	if text := w.text(); !strings.HasPrefix(text, "line 0\nxxx") || !strings.HasSuffix(text, "last\n") {
		t.Error("the order is wrong")
	}
}

// A real pipe: the first line that does not fit makes nobody wait, and none is
// torn.
func TestSinkOverAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(w)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			s.write([]byte(fmt.Sprintf("%06d %s\n", i, strings.Repeat("x", 90))), false)
		}
		s.write([]byte(strings.Repeat("y", 3*atomicWrite)+"\n"), false)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for a reader")
	}
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(r)
		got <- all
	}()
	s.close(10 * time.Second)
	w.Close()
	lines := strings.Split(strings.TrimSuffix(string(<-got), "\n"), "\n")
	if len(lines) != 2001 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines[:2000] {
		if !strings.HasPrefix(line, fmt.Sprintf("%06d ", i)) || len(line) != 97 {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}
