//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// pausing pauses the upstream "halted" at one relay, and resumes it at all of
// them, again and again. At the end it is resumed.
func (f *fleet) pausing(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, 5*time.Second)
		if ctx.Err() != nil {
			return
		}
		paused := f.operate(ctx, "pause") == nil // else it may be all the same
		s := span{from: time.Now()}
		if paused {
			pause(ctx, 15*time.Second)
		}
		s.to = time.Now()            // from here on it may be resumed
		for _, r := range f.relays { // one that could not record a pause has it alone
			for f.operateAt(context.WithoutCancel(ctx), r, "resume") != nil {
				time.Sleep(time.Second)
			}
		}
		if paused {
			f.pauses = append(f.pauses, s)
		}
	}
}

// operate has any relay do something about the upstream.
func (f *fleet) operate(ctx context.Context, verb string) error {
	return f.operateAt(ctx, f.any(), verb)
}

func (f *fleet) operateAt(ctx context.Context, r *member, verb string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, f.plan.binary, "upstream", verb, "halted", "--config", r.config()).Run()
}

// pauseReaches is how soon a pause holds at a relay that was not told of it.
const pauseReaches = 6 * time.Second

// whilePaused counts what arrived in spite of a pause, and apart from that what was
// sent by a relay that came back: as soon after the end of a fault, which had begun
// before the pause was to hold, as it has to hear of it.
func whilePaused(arrivals []seen, pauses, broken []span) (n, underWay int) {
	for _, p := range pauses {
		holds := p.from.Add(pauseReaches)
		for _, a := range arrivals {
			if !a.at.After(holds) || !a.at.Before(p.to) {
				continue
			}
			if slices.ContainsFunc(broken, func(f span) bool {
				return f.from.Before(holds) && a.at.After(f.to.Add(-time.Second)) && a.at.Before(f.to.Add(pauseReaches))
			}) {
				underWay++
			} else {
				n++
			}
		}
	}
	return n, underWay
}

// mostWithin is the most that arrived within any period.
func mostWithin(arrivals []seen, period time.Duration) (most int) {
	first := 0
	for i, a := range arrivals {
		for a.at.Sub(arrivals[first].at) >= period {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// settle ends the relays and closes the books over all of them.
func (f *fleet) settle(began time.Time) error {
	doubt := map[string]int{}
	for _, d := range f.relays {
		if err := d.stop(); err != nil {
			return fmt.Errorf("orderly end: %w; see %s", err, d.log)
		}
		own, err := d.inDoubt()
		if err != nil {
			return err
		}
		for id, n := range own {
			doubt[id] += n
		}
		log, err := os.ReadFile(d.log)
		if err != nil {
			return err
		}
		f.rep.Takeovers += strings.Count(string(log), `"event":"lane-taken-over"`)
	}
	var err error
	if f.rep.Queued, err = f.queued(); err != nil {
		return fmt.Errorf("what is left in the database: %w", err)
	}
	slices.Sort(f.rep.Tries)
	slices.Sort(f.rep.Gaps)
	f.rep.MostInPeriod = mostWithin(f.sinks["paced"].all(), pacedPeriod)
	f.rep.Pauses = len(f.pauses)
	f.rep.WhilePaused, f.rep.UnderWay = whilePaused(f.sinks["halted"].all(), f.pauses, f.broken)
	f.rep.balance = f.books.close(doubt)
	f.rep.Seconds = time.Since(began).Seconds()
	return f.rep.verdict()
}

// verdict is nil when every promise was kept, those of a fleet, too.
func (r *fleetReport) verdict() error {
	broken := []error{r.balance.verdict()}
	if r.Queued > 0 {
		broken = append(broken, fmt.Errorf("%d messages were still in the database when the time to deliver them was over: they are not lost, and counted so above", r.Queued))
	}
	if r.MostInPeriod > r.Allowed {
		broken = append(broken, fmt.Errorf("an upstream got %d within a period in which its rate allows %d", r.MostInPeriod, r.Allowed))
	}
	if r.WhilePaused > 0 {
		broken = append(broken, fmt.Errorf("%d messages arrived at an upstream that was paused", r.WhilePaused))
	}
	return errors.Join(broken...)
}

// queued counts the messages that the database holds, once the relays have ended.
func (f *fleet) queued() (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, f.servers[f.primary].URL("postgres"))
	if err != nil {
		return 0, err
	}
	defer c.Close(ctx)
	err = c.QueryRow(ctx, `SELECT count(*) FROM message`).Scan(&n)
	return n, err
}

// keep copies what the servers have said to the folder of the run.
func (f *fleet) keep(dir string) {
	for i, from := range f.folders {
		if text, err := os.ReadFile(filepath.Join(from, "log")); err == nil {
			_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("postgres%d.log", i)), text, 0o600)
		}
	}
}
