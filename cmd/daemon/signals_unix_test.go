//go:build unix

package daemon

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
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
