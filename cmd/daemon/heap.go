package daemon

import (
	"context"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
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
	debug.SetGCPercent(100) // a command may have begun with more
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

// memoryLimit is how many bytes this process may use: what GOMEMLIMIT says, or
// the limit of its unit or container (cgroup v2 and v1); 0: nobody says.
func memoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	return cgroupLimit(os.DirFS("/"))
}

// cgroupLimit is the smallest memory limit of the control groups that this
// process is in, as cgroups(7) has it; 0: there is none.
func cgroupLimit(root fs.FS) (limit int64) {
	text, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		dir, file := "sys/fs/cgroup", "memory.max"
		if controllers == "memory" {
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if controllers != "" {
			continue
		}
		// A group is bound by those above it, too. In a container the path may
		// be one of the host's; what can be seen is then at the top.
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			b, err := fs.ReadFile(root, path.Join(dir, group, file))
			n, bad := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			if err == nil && bad == nil && n > 0 && n < noCgroupLimit && (limit == 0 || n < limit) {
				limit = n
			}
			if group == "/" {
				break
			}
		}
	}
	return limit
}

// noCgroupLimit and more is how cgroup v1 writes that there is no limit.
const noCgroupLimit = 1 << 60

// transactionMemory is how many bytes the open transactions of clients may
// hold together: 64 MiB, or an eighth of less than 512 MiB.
func transactionMemory(limit int64) int64 {
	const most = 64 << 20
	if limit <= 0 {
		return most
	}
	return max(min(limit/8, most), 1<<20)
}

// requestMemory is how many bytes the bodies of HTTP requests that are not
// streamed may hold together: 256 MiB, or a quarter of less than 1 GiB.
func requestMemory(limit int64) int64 {
	const most = 256 << 20
	if limit <= 0 {
		return most
	}
	return max(min(limit/4, most), 1<<20)
}

// heedLimit lets the collector work harder near the limit of the unit or
// container, where nobody has set GOMEMLIMIT: the kernel kills beyond it. A
// tenth is left for what the collector doesn't see.
func heedLimit() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		if limit := cgroupLimit(os.DirFS("/")); limit > 0 {
			debug.SetMemoryLimit(limit - limit/10)
		}
	}
}
