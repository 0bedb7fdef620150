package daemon

import (
	"context"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager, where there is one. A manager that
// cannot be told is no reason to stop: it will notice by itself.
func notify(state string) { _, _ = sd.SdNotify(false, state) }

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
