//go:build unix

package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/cmd/eventlog"
	"postern/config"
)

// However many SIGHUP come while nobody looks, those to stop are not lost, and
// of the others one is kept.
func TestSignalsToStopHavePlacesOfTheirOwn(t *testing.T) {
	s := Heed()
	defer s.Forget()
	signal.Notify(s.stop, syscall.SIGTERM)
	send := func(sig syscall.Signal, arrived func() bool) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); !arrived(); time.Sleep(time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("%v did not come", sig)
			}
		}
	}
	hungUp := func() bool { return len(s.hangup) == 1 }
	for range 50 {
		send(syscall.SIGHUP, hungUp)
	}
	send(syscall.SIGTERM, func() bool { return len(s.stop) == 1 })
	send(syscall.SIGTERM, func() bool { return len(s.stop) == 2 })
	send(syscall.SIGPIPE, func() bool { return len(s.unread) == 1 })
	s.again()
	if len(s.hangup) != 1 {
		t.Errorf("%d SIGHUP are kept", len(s.hangup))
	}
	if why := (&daemon{}).serve(t.Context(), &Signals{stop: s.stop, hangup: make(chan os.Signal)}); why != "signal: terminated" {
		t.Error(why)
	}
}

// A reload that hangs, on a disk or a file server that does, holds up neither the
// first signal to stop nor the end; SIGHUP that come meanwhile are one.
func TestHungReloadHoldsUpNoStop(t *testing.T) {
	log, err := eventlog.New(io.Discard, eventlog.Options{Level: "info", Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	begun, hang, loads := make(chan struct{}), make(chan struct{}), atomic.Int32{}
	d := &daemon{log: log, events: log.Process(), reloading: make(chan struct{}, 1)}
	d.state.Store(&state{cfg: &config.Config{}})
	d.load = func() (*config.Config, error) {
		loads.Add(1)
		begun <- struct{}{}
		<-hang
		return nil, errors.New("it hung")
	}
	s := &Signals{stop: make(chan os.Signal, 2), hangup: make(chan os.Signal, 1)}
	why := make(chan string)
	go func() { why <- d.serve(t.Context(), s) }()
	s.hangup <- syscall.SIGHUP
	<-begun
	for range 3 {
		s.hangup <- syscall.SIGHUP
	}
	hang <- struct{}{}
	<-begun // the one that was asked for meanwhile
	s.stop <- syscall.SIGTERM
	if got := <-why; got != "signal: terminated" {
		t.Error(got)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	d.close(over) // which returns, though the reload does not
	close(hang)
	d.reloading <- struct{}{} // it has ended
	if n := loads.Load(); n != 2 {
		t.Errorf("%d reloads", n)
	}
}
