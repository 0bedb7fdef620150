package daemon

import (
	"testing"
	"testing/fstest"
)

// The memory limit of a unit or container is found, whichever group sets it.
func TestMemoryLimitOfTheGroup(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"none":      {fstest.MapFS{}, 0},
		"unlimited": {fstest.MapFS{"proc/self/cgroup": file("0::/a"), "sys/fs/cgroup/a/memory.max": file("max")}, 0},
		"unit": {fstest.MapFS{
			"proc/self/cgroup":                                      file("0::/system.slice/postern.service"),
			"sys/fs/cgroup/system.slice/memory.max":                 file("400000000"),
			"sys/fs/cgroup/system.slice/postern.service/memory.max": file("max"),
		}, 400000000},
		"container":   {fstest.MapFS{"proc/self/cgroup": file("0::/"), "sys/fs/cgroup/memory.max": file("100000000")}, 100000000},
		"of the host": {fstest.MapFS{"proc/self/cgroup": file("0::/../../docker/x"), "sys/fs/cgroup/memory.max": file("100000000")}, 100000000},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup":                           file("4:cpu:/\n3:memory:/docker/x"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("50000000"),
		}, 50000000},
		"version 1, unlimited": {fstest.MapFS{
			"proc/self/cgroup": file("3:memory:/"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712"),
		}, 0},
	} {
		if got := cgroupLimit(c.files); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	for limit, want := range map[int64]int64{0: 64 << 20, 1 << 40: 64 << 20, 128 << 20: 16 << 20, 1 << 20: 1 << 20} {
		if got := transactionMemory(limit); got != want {
			t.Errorf("of %d open transactions get %d, want %d", limit, got, want)
		}
	}
}
