package daemon

import (
	"runtime"
	"testing"
)

func TestGarbageIsBoundedBesideALargeHeap(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {4 << 20, 100}, {garbage, 100}, {2 * garbage, 50}, {10 * garbage, 10}, {100 * garbage, 5}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MB: %d, want %d", c.live>>20, got, c.want)
		}
	}
	index := make([]byte, 3*garbage)
	runtime.GC()
	if got := gcPercent(liveHeap()); got > 34 {
		t.Errorf("with %d MB alive: %d", len(index)>>20, got)
	}
	runtime.KeepAlive(index)
}
