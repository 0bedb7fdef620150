// Package trend keeps what a relay did in each minute of the last day, for charts.
//
// It is bounded: a sample a minute, for 24 hours. A file holds it over a restart;
// what is lost of it in a crash is some minutes of a chart.
package trend

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"postern/spool/statefile"
)

const (
	// Every is how often a sample is to be added.
	Every = time.Minute
	// kept is for how long one is.
	kept = 24 * time.Hour
	// maxSamples bounds them, also where somebody adds more often.
	maxSamples = 24*60 + 1
	// fileName and maxFile are of the file, in bytes.
	fileName = "day"
	maxFile  = 1 << 20
)

// Totals are what was counted since the start of the process.
type Totals struct {
	Accepted            int64 // messages
	Delivered, Deferred int64 // attempts, counted for each recipient
}

// Sample is what happened since the one before, and what waited at its time.
type Sample struct {
	At        int64 `json:"t"` // seconds since 1970
	Accepted  int64 `json:"a,omitempty"`
	Delivered int64 `json:"d,omitempty"`
	Deferred  int64 `json:"f,omitempty"`
	Queue     int   `json:"q,omitempty"` // deliveries
}

// Day is the last 24 hours. Its methods may be called concurrently.
type Day struct {
	folder *statefile.Folder

	mu      sync.Mutex // guards what follows
	samples []Sample   // by time
	last    Totals
}

// Open reads what a folder has. An error is about that; the Day is empty then, and
// can be used.
func Open(dir string, now time.Time) (*Day, error) {
	d := &Day{folder: &statefile.Folder{Dir: dir}}
	text, err := d.folder.Read(fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	var list []Sample
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return d, err
	}
	for _, s := range list {
		if n := len(d.samples); s.Accepted < 0 || s.Delivered < 0 || s.Deferred < 0 || s.Queue < 0 || n > 0 && s.At <= d.samples[n-1].At || s.At > now.Unix() {
			continue // a clock was set, or somebody else has written it
		}
		d.samples = append(d.samples, s)
	}
	d.trim(now)
	return d, nil
}

// Add notes what was counted until now, and how many deliveries wait. Those of a
// time that is yet to come, as the clock was set back, are forgotten.
func (d *Day) Add(now time.Time, t Totals, queued int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.samples = slices.DeleteFunc(d.samples, func(s Sample) bool { return s.At >= now.Unix() })
	d.samples = append(d.samples, Sample{now.Unix(), t.Accepted - d.last.Accepted, t.Delivered - d.last.Delivered, t.Deferred - d.last.Deferred, queued})
	d.last = t
	d.trim(now)
}

// trim forgets what is too old.
func (d *Day) trim(now time.Time) {
	first := now.Add(-kept).Unix()
	drop := max(0, len(d.samples)-maxSamples)
	for drop < len(d.samples) && d.samples[drop].At < first {
		drop++
	}
	d.samples = slices.Delete(d.samples, 0, drop)
}

// Samples are those of the last day, by time.
func (d *Day) Samples() []Sample {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.samples)
}

// Save writes the file.
func (d *Day) Save() error {
	text, _ := json.Marshal(d.Samples()) // of numbers
	if err := d.folder.Prepare(); err != nil {
		return err
	}
	return d.folder.Write(fileName, text)
}

// Hour is what happened in one hour.
type Hour struct {
	Begins                        time.Time
	Accepted, Delivered, Deferred int64
	Queue                         int // the most at any time
}

// Hours adds samples up, by the hours of a clock, the latest first. An hour without
// a sample is none of them.
func Hours(list []Sample, zone *time.Location) (hours []Hour) {
	for _, s := range slices.Backward(list) {
		// A sample tells of the minute before it.
		at := time.Unix(s.At-1, 0).In(zone)
		begins := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), 0, 0, 0, zone)
		if n := len(hours); n == 0 || !hours[n-1].Begins.Equal(begins) {
			hours = append(hours, Hour{Begins: begins})
		}
		h := &hours[len(hours)-1]
		h.Accepted, h.Delivered, h.Deferred, h.Queue = h.Accepted+s.Accepted, h.Delivered+s.Delivered, h.Deferred+s.Deferred, max(h.Queue, s.Queue)
	}
	return hours
}
