package daemon

import (
	"context"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notices are on their way to the service manager. A socket that is full makes
// the sender wait, so a goroutine does, and what does not fit is dropped.
var notices = make(chan string, 16)

// notify tells the service manager, where there is one. A manager that
// cannot be told is no reason to stop, or to wait: it will notice by itself.
func notify(state string) {
	telling.Do(func() {
		go func() {
			for state := range notices {
				_, _ = sd.SdNotify(false, state)
				told.Done()
			}
		}()
	})
	told.Add(1)
	select {
	case notices <- state:
	default:
		told.Done()
	}
}

var (
	telling sync.Once
	told    sync.WaitGroup // notices that are on their way
)

// notified waits until the service manager was told, for so long at most.
func notified(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		told.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// notifyReload tells that a reload begins, as Type=notify-reload wants it.
func notifyReload() { notify(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec()) }

// watchdog feeds the service manager's watchdog, where it is set, each time
// that touch came back: touch goes through the locks of spool and queue, so
// that a deadlock starves the dog. It ends with ctx.
func watchdog(ctx context.Context, wg *sync.WaitGroup, touch func()) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	wg.Go(func() {
		tick := time.NewTicker(interval / 2)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				touch()
				notify(sd.SdNotifyWatchdog)
			}
		}
	})
}
