package daemon

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// garbage is how many bytes of it may gather between two collections where
	// what lives is more than that.
	garbage = 16 << 20
	// paceEvery is how often the pace is looked at. In that time a spool that
	// fills as fast as it can adds about 10 MB to its index.
	paceEvery = 5 * time.Second
)

// paceHeap bounds the garbage beside the index of a deep queue until ctx is
// done. The runtime lets as much gather as lives, which at a million messages
// is as much memory again; but that index holds no pointers, so collecting
// beside it costs no more than beside an empty one. An operator who has set
// GOGC is left alone.
func paceHeap(ctx context.Context, running *sync.WaitGroup) {
	if os.Getenv("GOGC") != "" {
		return
	}
	running.Go(func() {
		ticker := time.NewTicker(paceEvery)
		defer ticker.Stop()
		for last := 100; ; {
			// Setting it stops everybody for a moment: not for little.
			if p := gcPercent(liveHeap()); p*10 < last*9 || last*11 < p*10 {
				debug.SetGCPercent(p)
				last = p
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
}

// gcPercent is the GOGC that lets no more than garbage gather beside live
// bytes, and no more than live.
func gcPercent(live uint64) int {
	if live <= garbage {
		return 100
	}
	return max(5, int(100*garbage/live))
}

// liveHeap is how many bytes the last collection has kept.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
