package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"postern/cmd/control"
	"postern/config"
)

// fileSystem is one as it was found.
type fileSystem struct {
	Err        error
	Kind       string // "ext4", "tmpfs"; empty: the system does not say
	ReadOnly   bool
	Free       int64 // bytes for users other than root
	Total      int64
	FreeInodes int64
	Inodes     int64 // 0: it has no limit, or the system does not say
}

// volatile says what is wrong with a file system for a spool.
var volatile = map[string]string{
	"tmpfs":   "lies in memory: a restart of the machine loses every message in it",
	"ramfs":   "lies in memory: a restart of the machine loses every message in it",
	"overlay": "is the layer of a container: the mail goes with the container",
	"nfs":     "lies on another machine: a sync is only as good as that one's, and its locks have to work",
	"cifs":    "lies on another machine: a sync is only as good as that one's, and its locks have to work",
	"9p":      "belongs to the host of this virtual machine: whether a sync reaches its disk is the host's choice",
	"fuse":    "is made by a program: a sync is only as good as that",
}

func judgeFileSystem(dir string, d *fileSystem) Finding {
	f := Finding{ID: SpoolFileSystem, Status: OK, Subject: dir, Facts: map[string]any{"type": d.Kind}, Text: "it lies on " + d.Kind}
	switch {
	case d.Err != nil:
		f.Status, f.Text = Skipped, "its file system cannot be looked at: "+reason(d.Err)
	case d.ReadOnly:
		f.Status, f.Text = Failed, "its file system is mounted read-only"
		f.Remedy = "The kernel does that after an error of the disk: look at its log (dmesg). Otherwise mount it for writing."
	case volatile[d.Kind] != "":
		f.Status, f.Text = Warning, "its file system ("+d.Kind+") "+volatile[d.Kind]
		f.Remedy = "Give spool.dir a place on a local disk; in a container, on a volume."
	case d.Kind == "":
		f.Status, f.Text = Skipped, "this system does not say what file system it lies on"
	}
	return f
}

func judgeSpace(dir string, d *fileSystem, minFree int64, st *control.Status) Finding {
	f := Finding{ID: SpoolSpace, Status: OK, Subject: dir, Facts: map[string]any{"free_bytes": d.Free, "total_bytes": d.Total, "min_free_bytes": minFree}}
	if d.Err != nil {
		f.Status, f.Text, f.Facts = Skipped, "its free space cannot be told: "+reason(d.Err), nil
		return f
	}
	f.Text = fmt.Sprintf("%s of %s are free; min_free is %s", bytes(d.Free), bytes(d.Total), config.FormatSize(minFree))
	switch {
	case d.Total < minFree:
		f.Status, f.Remedy = Failed, "Set spool.min_free lower: the whole file system is smaller, so that all mail is answered 452."
	case d.Free < minFree:
		f.Status, f.Remedy = Failed, "Make room on the disk: new mail is answered 452, and delivery goes on."
	case st != nil && st.Spool.Full && st.Spool.MaxMessages > 0 && st.Spool.Messages >= st.Spool.MaxMessages:
		f.Status, f.Text = Failed, fmt.Sprintf("the spool holds spool.max_messages = %d messages", st.Spool.MaxMessages)
		f.Remedy = "Find out why mail does not go (`postern status`), or raise spool.max_messages."
	case st != nil && st.Spool.Full:
		f.Status, f.Text = Failed, "the spool has reached spool.max_size = "+config.FormatSize(st.Spool.MaxSize)
		f.Remedy = "Find out why mail does not go (`postern status`), or raise spool.max_size."
	case d.Free < 2*minFree:
		f.Status, f.Remedy = Warning, "Make room on the disk: below min_free new mail is answered 452."
	}
	return f
}

// fewInodes is how many free inodes are a warning: each message of 256 KiB or
// more needs one, and each segment.
const fewInodes = 1000

func judgeInodes(dir string, d *fileSystem) Finding {
	f := Finding{ID: SpoolInodes, Status: OK, Subject: dir, Facts: map[string]any{"free": d.FreeInodes, "total": d.Inodes},
		Text: fmt.Sprintf("%d of %d inodes are free", d.FreeInodes, d.Inodes)}
	switch {
	case d.FreeInodes < 10:
		f.Status, f.Remedy = Failed, "Remove files from this file system, or make it anew with more inodes."
	case d.FreeInodes < fewInodes:
		f.Status, f.Remedy = Warning, "Remove files from this file system: large messages need a file each."
	}
	return f
}

// Disk looks at the file system of a spool, its space and its inodes, without
// writing anything. It is for a daemon that watches itself.
func Disk(dir string, minFree int64) []Finding {
	d := lookAtDisk(dir)
	out := []Finding{judgeFileSystem(dir, &d), judgeSpace(dir, &d, minFree, nil)}
	if d.Inodes > 0 {
		out = append(out, judgeInodes(dir, &d))
	}
	return out
}

const (
	syncFor     = 2 * time.Second // how long syncs are measured at most
	syncSamples = 200
	syncBytes   = 1024 // of each write: a small message
	slowSync    = 20 * time.Millisecond
	// lyingSync is faster than any disk or flash with a cache that survives a
	// power cut answers.
	lyingSync = 30 * time.Microsecond
)

// syncs is how long syncs of small appended writes took, in ascending order.
type syncs struct {
	Took []time.Duration
	Err  error
}

// measureSync appends to a file in dir and syncs it, again and again, as the
// spool does for a client that sends alone. The file has no name: whatever
// happens, nothing is left.
func measureSync(ctx context.Context, dir string) syncs {
	file, forget, err := nameless(dir)
	if err != nil {
		return syncs{Err: err}
	}
	defer forget()
	block := make([]byte, syncBytes)
	var s syncs
	for end := time.Now().Add(syncFor); len(s.Took) < syncSamples && time.Now().Before(end) && ctx.Err() == nil; {
		if _, s.Err = file.Write(block); s.Err != nil {
			return s
		}
		began := time.Now()
		if s.Err = dataSync(file); s.Err != nil {
			return s
		}
		s.Took = append(s.Took, time.Since(began))
	}
	slices.Sort(s.Took)
	return s
}

// nameless makes a file that is gone with this process.
func nameless(dir string) (file *os.File, forget func(), err error) {
	file, err = os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, nil, err
	}
	gone := os.Remove(file.Name()) == nil // not on Windows, while it is open
	return file, func() {
		_ = file.Close()
		if !gone {
			_ = os.Remove(file.Name())
		}
	}, nil
}

func judgeSync(dir string, s syncs) Finding {
	f := Finding{ID: SpoolSync, Status: OK, Subject: dir}
	if s.Err != nil {
		f.Status, f.Text = Failed, "nothing can be written and synced there: "+reason(s.Err)
		switch {
		case errors.Is(s.Err, syscall.ENOSPC):
			f.Remedy = "Make room on the disk."
		case errors.Is(s.Err, fs.ErrPermission):
			f.Status, f.Remedy = Skipped, "Run this command as the user of the daemon, or as root."
		case errors.Is(s.Err, syscall.EROFS):
			f.Remedy = "Mount it for writing; after an error of the disk the kernel mounts it read-only (dmesg)."
		default:
			f.Remedy = "Look at the disk: smartctl, and the kernel's log."
		}
		return f
	}
	if len(s.Took) == 0 {
		f.Status, f.Text = Skipped, "there was no time to measure how long a sync takes"
		return f
	}
	p50, p99 := s.Took[len(s.Took)/2], s.Took[len(s.Took)*99/100]
	f.Took = took(p50)
	f.Facts = map[string]any{"p50_us": p50.Microseconds(), "p99_us": p99.Microseconds(), "samples": len(s.Took)}
	f.Text = fmt.Sprintf("a sync takes %s, one in a hundred %s or more", brief(p50), brief(p99))
	switch {
	case p50 > slowSync:
		f.Status = Warning
		f.Remedy = "Each message waits for one: put the spool on a faster disk, or one that others use less."
	case p50 < lyingSync:
		f.Status = Warning
		f.Text += ": faster than a disk can be"
		f.Remedy = "Something on the way answers without writing (tmpfs, a disk without barriers, eatmydata, a virtual disk with cache=unsafe): a power cut then loses accepted mail."
	}
	return f
}

func brief(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// bytes is a size as a person says it.
func bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
