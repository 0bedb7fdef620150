// Package history keeps what was told of messages after they have left the
// queue: the lines of the log about them, in JSON, in files of a folder that
// are bounded in age and size. Search finds the life of a message among them.
//
// Nobody waits for it: lines lie in memory for up to a second, and are dropped
// and counted where the disk is slower than the relay. What was told within the
// last second before a crash is in the log alone. Who searches beside a relay that
// runs has what waits written first, by Flush.
package history

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
)

// Options say what is kept.
type Options struct {
	Dir     string        // made where it is missing
	Keep    time.Duration // lines stay for so long, and for a day more; 0: nothing is kept
	MaxSize int64         // bytes of all files; at least the size of one is used
	// Failed is told when lines can't be written, and not again before they
	// can; nil: nobody is.
	Failed func(error)
}

const (
	// maxBuffer is how many bytes of lines wait to be written; what comes beyond
	// it is dropped.
	maxBuffer = 1 << 20
	// flushAfter is how long a line may wait.
	flushAfter = time.Second
	// fullBuffer is when they are written at once, in bytes.
	fullBuffer = 256 << 10
	// retryAfter is how long it is given up for after a failure.
	retryAfter = time.Minute
	// maxFile and maxAge are when a file ends, in bytes as they lie on the disk.
	// It may be older where no line comes.
	maxFile = 8 << 20
	maxAge  = 24 * time.Hour
)

// suffix is that of every file. The name before it is the time of the first
// line.
const suffix = ".jsonl.s2"

// nameLayout is that of names; it sorts as time does.
const nameLayout = "20060102T150405.000000000Z"

// History writes lines. Its methods may be called concurrently.
type History struct {
	options Options

	mu      sync.Mutex
	buffer  []byte
	dropped int64
	running bool // a goroutine writes, or something waits for it
	closing bool
	flushed []chan struct{} // closed when what waits now is written, or dropped
	wake    chan struct{}
	ended   chan struct{}

	// of the goroutine that writes
	file   *os.File
	out    *s2.Writer
	begun  time.Time
	failed time.Time // zero: it works
}

// New makes one. Nothing is written, and no goroutine runs, before the first
// line.
func New(o Options) *History {
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	return &History{options: o, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Add takes a line with its end, and never waits. line is not kept.
func (h *History) Add(line []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.options.Keep <= 0:
		return
	case h.closing || len(h.buffer)+len(line) > maxBuffer:
		h.dropped++
		return
	}
	before := len(h.buffer)
	h.buffer = append(h.buffer, line...)
	if !h.running {
		h.running = true
		go h.run()
		return
	}
	if before < fullBuffer && len(h.buffer) >= fullBuffer {
		h.nudge()
	}
}

func (h *History) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Dropped is how many lines are not in the files.
func (h *History) Dropped() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

// Flush has all that was added written now, and returns when it is, or was given up,
// or ctx is done.
func (h *History) Flush(ctx context.Context) {
	h.mu.Lock()
	if !h.running {
		h.mu.Unlock()
		return
	}
	done := make(chan struct{})
	h.flushed = append(h.flushed, done)
	h.mu.Unlock()
	h.nudge()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close writes what waits, for so long at most, and ends the file.
func (h *History) Close(limit time.Duration) {
	h.mu.Lock()
	h.closing = true
	running := h.running
	h.mu.Unlock()
	if !running { // and none will be
		h.end()
		return
	}
	h.nudge()
	select {
	case <-h.ended:
	case <-time.After(limit):
	}
}

// run writes lines for as long as there are some, so that an idle relay has no
// timer of ours.
func (h *History) run() {
	var spare []byte
	for {
		select {
		case <-time.After(flushAfter):
		case <-h.wake:
		}
		h.mu.Lock()
		lines, closing, flushed := h.buffer, h.closing, h.flushed
		h.buffer, h.flushed = spare[:0], nil
		h.running = len(lines) > 0 && !closing // else the next line starts it again
		more := h.running
		if !closing && !more {
			h.mu.Unlock()
			release(flushed)
			return
		}
		h.mu.Unlock()
		if err := h.write(lines); err != nil {
			h.fail(err, lines)
		}
		release(flushed)
		if !more {
			h.end()
			close(h.ended)
			return
		}
		spare = lines
	}
}

// release tells those who wait for what was added before.
func release(flushed []chan struct{}) {
	for _, done := range flushed {
		close(done)
	}
}

// fail gives up for a while. What it was called for is lost.
func (h *History) fail(err error, lines []byte) {
	h.end()
	if h.failed.IsZero() && err != errPaused {
		h.options.Failed(err)
	}
	if err != errPaused {
		h.failed = time.Now()
	}
	h.mu.Lock()
	h.dropped += int64(strings.Count(string(lines), "\n"))
	h.mu.Unlock()
}

var errPaused = errors.New("it failed a moment ago")

// write appends lines to the file, which it makes or ends as needed.
func (h *History) write(lines []byte) error {
	now := time.Now()
	if !h.failed.IsZero() && now.Sub(h.failed) < retryAfter {
		return errPaused
	}
	if h.file == nil {
		if err := h.begin(now, lines); err != nil {
			return err
		}
	}
	if _, err := h.out.Write(lines); err != nil {
		return err
	}
	if err := h.out.Flush(); err != nil {
		return err
	}
	h.failed = time.Time{}
	size, err := h.file.Seek(0, 1)
	if err == nil && (size >= maxFile || now.Sub(h.begun) >= maxAge) {
		h.end()
	}
	return err
}

// begin makes a file for lines, and room for it.
func (h *History) begin(now time.Time, lines []byte) error {
	if err := os.Mkdir(h.options.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := h.prune(now); err != nil {
		return err
	}
	first, err := time.Parse(time.RFC3339Nano, string(field(lines, timeKey))) // it has waited
	if err != nil || first.After(now) {
		first = now
	}
	name := filepath.Join(h.options.Dir, first.UTC().Format(nameLayout)+suffix)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h.file, h.begun = f, now
	if h.out == nil {
		h.out = s2.NewWriter(f, s2.WriterConcurrency(1), s2.WriterBlockSize(fullBuffer))
	} else {
		h.out.Reset(f)
	}
	return nil
}

// end ends the file.
func (h *History) end() {
	if h.file == nil {
		return
	}
	_ = h.out.Close()
	h.file.Close()
	h.file = nil
}

// prune removes files that are too old, or too many with a full one more.
func (h *History) prune(now time.Time) error {
	files, err := list(h.options.Dir)
	if err != nil {
		return err
	}
	left := h.options.MaxSize - maxFile
	for _, f := range slices.Backward(files) {
		left -= f.size
		if left < 0 || now.Sub(f.begun) > h.options.Keep+maxAge {
			if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// file is one of a folder.
type file struct {
	path  string
	begun time.Time // it has no line from before
	size  int64
}

// list is the files of a folder, the oldest first. What is not ours, and what
// is no regular file, is passed over.
func list(dir string) (files []file, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		begun, err := time.Parse(nameLayout, name)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		files = append(files, file{filepath.Join(dir, e.Name()), begun, info.Size()})
	}
	return files, nil
}
