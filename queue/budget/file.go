package budget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"postern/config"
	"postern/spool"
)

// record is the file of a budget. Times are of the wall clock, in nanoseconds
// since 1970.
type record struct {
	Version int          `json:"version"` // 1
	Rates   []rateRecord `json:"rates"`
}

type rateRecord struct {
	Rate string `json:"rate"`
	// Ahead is what may have been used after this was written.
	Ahead int         `json:"ahead"`
	Used  []useRecord `json:"used"` // oldest first
}

type useRecord struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	N     int   `json:"n"`
}

// fileVersion is the form that is written.
const fileVersion = 1

// maxUses bounds each number in the file, so that no sum of them overflows: no
// rate counts that far.
const maxUses = 1 << 30

// snapshotLocked is what is to be on disk before what ahead says is taken, for
// each window.
func (b *Budget) snapshotLocked(now time.Time, ahead []int) *record {
	r := &record{Version: fileVersion}
	for i, w := range b.windows {
		w.expire(now)
		w.taken = 0
		one := rateRecord{Rate: w.rate.String(), Ahead: w.flying + ahead[i], Used: []useRecord{}}
		for _, u := range w.used {
			one.Used = append(one.Used, useRecord{wall(now, u.first), wall(now, u.last), u.n})
		}
		r.Rates = append(r.Rates, one)
	}
	return r
}

// wall is t as the clock of now would have shown it: its age is true also
// where the clock was set since.
func wall(now, t time.Time) int64 { return now.Add(-now.Sub(t)).UnixNano() }

// saveLocked writes r; writing is what has to be locked.
func (b *Budget) saveLocked(r *record) error {
	if b.state == nil {
		return nil
	}
	content, err := json.Marshal(r)
	if err == nil {
		err = b.state.Write(context.Background(), b.fact, append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("the budget cannot be kept over a restart: %w", err)
	}
	return nil
}

// load reads what was used before the start. crashed says that some of it may
// have been used after the file was written.
func (b *Budget) load(now time.Time) (crashed bool, err error) {
	if b.state == nil {
		return false, nil
	}
	content, err := b.state.Read(context.Background(), b.fact)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		b.windows, crashed, err = decode(content, now)
	}
	if err == nil {
		return crashed, nil
	}
	err = fmt.Errorf("what the upstream was sent before is not known: %w", err)
	if errors.Is(err, spool.ErrAway) {
		return false, err // it may be there and well
	}
	aside, failed := b.state.SetAside(context.Background(), b.fact)
	if failed != nil {
		return false, fmt.Errorf("%w; it cannot be set aside: %w", err, failed)
	}
	return false, fmt.Errorf("%w; what was there is kept as %s", err, aside)
}

// decode turns a file into windows. What may have been used after it was
// written counts as used at now; so does what lies in the future, because the
// clock was set back: no window is blocked for longer than its period.
func decode(content []byte, now time.Time) (windows []*window, crashed bool, err error) {
	var r record
	if err := spool.DecodeFact(content, &r); err != nil {
		return nil, false, err
	}
	if r.Version != fileVersion {
		return nil, false, fmt.Errorf("the file %w: version %d", spool.ErrForm, r.Version)
	}
	for _, one := range r.Rates {
		rate, err := config.ParseRate(one.Rate)
		if err != nil || one.Ahead < 0 || one.Ahead > maxUses {
			return nil, false, fmt.Errorf("the file %w: rate %q, %d ahead", spool.ErrForm, one.Rate, one.Ahead)
		}
		w := &window{rate: rate}
		for _, u := range one.Used {
			if u.N < 0 || u.N > maxUses || u.First > u.Last {
				return nil, false, fmt.Errorf("the file %w: %d uses from %d to %d", spool.ErrForm, u.N, u.First, u.Last)
			}
			w.remember(now, u)
		}
		w.add(now, one.Ahead)
		crashed = crashed || one.Ahead > 0
		windows = append(windows, w)
	}
	return windows, crashed, nil
}

// remember takes over a use of another process. Going by age, it has a
// monotonic reading from then on.
func (w *window) remember(now time.Time, u useRecord) {
	at := func(ns int64) time.Time {
		age := time.Duration(now.UnixNano() - ns)
		switch {
		case ns >= now.UnixNano():
			age = 0
		case age < 0: // longer ago than can be said
			age = math.MaxInt64
		}
		return now.Add(-age)
	}
	first, last := at(u.First), at(u.Last)
	if i := len(w.used) - 1; i >= 0 && last.Before(w.used[i].last) {
		last = w.used[i].last // oldest first, whatever the file says
	}
	if now.Sub(last) < w.rate.Per {
		w.used = append(w.used, use{first, last, u.N})
		w.sum += u.N
	}
}
