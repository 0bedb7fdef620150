package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"postern/cmd/console"
	"postern/cmd/trend"
	"postern/config"
)

// trendSaved is how often the samples of the last day are written.
const trendSaved = 10 * time.Minute

// openTrend reads what was kept of the last day for the charts of the console.
func (d *daemon) openTrend(cfg *config.Config) {
	day, err := trend.Open(filepath.Join(cfg.StateDir, "trend"), time.Now())
	if err != nil {
		d.log.Console()(&console.Failed{Text: fmt.Sprintf("the charts begin anew: %v", err)})
	}
	d.trend = day
}

// runTrend adds a sample each minute until ctx is done, and keeps them. Where that
// fails it is said once.
func (d *daemon) runTrend(ctx context.Context) {
	ticker := time.NewTicker(trend.Every)
	defer ticker.Stop()
	saved, failed := time.Now(), false
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-ticker.C:
		}
		now := time.Now()
		asking, cancel := context.WithTimeout(context.Background(), storeTimeout)
		t, err := d.store.Tally(asking, now)
		cancel()
		if err == nil { // else the chart has a gap
			d.trend.Add(now, d.log.Totals(), t.Due+t.Deferred+t.Scheduled+t.Held+t.Claimed)
		}
		if !ended && now.Sub(saved) < trendSaved {
			continue
		}
		saved = now
		err = d.trend.Save()
		if err != nil && !failed {
			d.log.Console()(&console.Failed{Text: fmt.Sprintf("the figures of the charts cannot be kept: %v", err)})
		}
		failed = err != nil
	}
}
