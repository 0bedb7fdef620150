//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// report is what a run prints.
type report struct {
	balance
	Kills           int      `json:"kills"`
	Restarts        int      `json:"restarts"`
	Rows            int      `json:"rows,omitempty"`           // again: messages that there were to send
	ClientKills     int      `json:"client_kills,omitempty"`   // again
	CopiesMissing   []string `json:"copies_missing,omitempty"` // -archive: promised, and not in the folder
	QueuedBefore    int64    `json:"queued_before,omitempty"`  // again: answers that told so
	Seconds         float64  `json:"seconds"`
	DuplicatesAKill float64  `json:"duplicates_a_kill"`
	// ExposedMillis is how long, in the mean, an answer that the upstream has
	// given is not on record yet: what is answered in that time before a kill
	// comes twice. Unlike DuplicatesAKill it doesn't grow with the rate.
	ExposedMillis    float64 `json:"exposed_mean_ms"`
	ArrivedASecond   float64 `json:"arrived_a_second"` // while it was under load
	ResidentAtStart  int64   `json:"resident_at_start_bytes"`
	ResidentAtEnd    int64   `json:"resident_at_end_bytes"`
	DrainedInSeconds float64 `json:"drained_in_seconds"`
}

func (p *plan) onThisMachine(ctx context.Context, stderr io.Writer) (rep report, err error) {
	dir, leave, err := p.folder("postern-prove-", stderr)
	if err != nil {
		return rep, err
	}
	defer func() { leave(err) }()
	if p.binary == "" {
		if p.binary, err = build(ctx, dir, "postern", static); err != nil {
			return rep, err
		}
	}
	b := newBooks()
	s, err := startSink(b)
	if err != nil {
		return rep, err
	}
	defer s.close()
	on := dir
	if p.mode == "cut" {
		p.disk = &disk{dir: dir, fs: p.fs, options: p.options}
		defer p.disk.unplug()
		if err := p.disk.make(ctx); err != nil {
			return rep, err
		}
		on = p.disk.mount()
	}
	d, err := newDaemon(p.binary, dir, on, s.addr)
	if err != nil {
		return rep, err
	}
	if p.forget {
		if err := d.configure("[submission]\nidempotency = \"0\"\n"); err != nil {
			return rep, err
		}
	}
	if p.archive {
		if err := d.configure(archiving(on)); err != nil {
			return rep, err
		}
	}
	if p.program {
		if err := d.configure(fmt.Sprintf("[http]\nsocket = %q\n", filepath.Join(dir, "submit.sock"))); err != nil {
			return rep, err
		}
	}
	if p.loseSyncs {
		d.under = losingSyncs
	}
	unix.Sync() // the folder of the spool is the administrator's, and there
	began := time.Now()
	if err := p.underLoad(ctx, stderr, b, s, d, &rep); err != nil {
		return rep, err
	}
	s.fail(0)
	rep.ArrivedASecond = float64(b.whole()) / time.Since(began).Seconds()
	drain := time.Now()
	limit := stallLimit
	if p.loseSyncs {
		limit /= 8 // it waits for what can't come
	}
	if err := waitEmpty(ctx, b, limit, 3*time.Minute); err != nil {
		fmt.Fprintln(stderr, "prove:", err)
	}
	rep.DrainedInSeconds = time.Since(drain).Seconds()
	rep.ResidentAtEnd = d.resident()
	if err := d.stop(); err != nil {
		return rep, fmt.Errorf("orderly end: %w; see %s", err, d.log)
	}
	doubt, err := d.inDoubt()
	if err != nil {
		return rep, err
	}
	rep.balance = b.close(doubt)
	if p.disk != nil {
		// What happened in the last 20 ms, a final dot for one, is allowed to
		// be forgotten with the machine: these are counted, not explained.
		rep.Unexplained = nil
	}
	rep.Seconds = time.Since(began).Seconds()
	if rep.Kills > 0 {
		rep.DuplicatesAKill = float64(rep.Duplicates) / float64(rep.Kills)
		rep.ExposedMillis = 1000 * float64(rep.BeforeDeath) / float64(rep.Kills) / rep.ArrivedASecond
	}
	if err := rep.verdict(); err != nil {
		return rep, err
	}
	if p.archive {
		return rep, rep.checkCopies(b, on)
	}
	if p.mode != "again" {
		return rep, nil
	}
	return rep, rep.once()
}

// underLoad starts the daemon and the senders and breaks things until the
// plan is fulfilled; it returns with the daemon running and no load.
func (p *plan) underLoad(ctx context.Context, stderr io.Writer, b *books, s *sink, d *daemon, rep *report) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	if p.mode == "again" {
		return p.again(ctx, stderr, b, s, d, rep)
	}
	loadCtx, endLoad := context.WithCancel(ctx)
	var senders sync.WaitGroup
	defer senders.Wait()
	defer endLoad()
	for i := range p.senders {
		c := &sender{name: fmt.Sprintf("s%d", i), addr: d.addr, books: b, big: p.big, pause: p.pause}
		senders.Go(func() { c.run(loadCtx) })
	}
	time.Sleep(time.Second)
	rep.ResidentAtStart = d.resident()
	if p.mode == "soak" {
		return p.soak(ctx, stderr, b, s, d, rep)
	}
	return p.kills(ctx, stderr, b, s, d, rep)
}

func (p *plan) kills(ctx context.Context, stderr io.Writer, b *books, s *sink, d *daemon, rep *report) error {
	for rep.Kills < p.cycles && ctx.Err() == nil {
		s.fail(p.failing * float64(rand.IntN(3)))
		if p.loseSyncs {
			s.fail(1) // what arrived before the cut can't be lost by it
		}
		time.Sleep(time.Duration(50+rand.IntN(700)) * time.Millisecond)
		b.killed()
		if err := p.end(ctx, d); err != nil {
			return err
		}
		rep.Kills++
		if err := d.start(ctx); err != nil {
			return err
		}
		rep.Restarts++
		if rep.Kills%20 == 0 {
			fmt.Fprintf(stderr, "%d of %d, %d still owed\n", rep.Kills, p.cycles, b.owed())
		}
	}
	return ctx.Err()
}

// end ends the daemon without warning, and its disk with it where that is
// wanted. What a client was promised by then has to be on it.
func (p *plan) end(ctx context.Context, d *daemon) error {
	if p.disk == nil {
		d.kill()
		return nil
	}
	d.cmd.Process.Kill()
	err := p.disk.cut()
	d.reap()
	if err != nil {
		return err
	}
	return p.disk.comeBack(ctx)
}

// soak alternates calm, a failing upstream, orderly restarts and kills.
func (p *plan) soak(ctx context.Context, stderr io.Writer, b *books, s *sink, d *daemon, rep *report) error {
	for end := time.Now().Add(p.length); time.Now().Before(end) && ctx.Err() == nil; {
		s.fail(p.failing * float64(rand.IntN(4)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(2+rand.IntN(8)) * time.Second):
		}
		switch rand.IntN(6) {
		case 0:
			b.killed()
			d.kill()
			rep.Kills++
		case 1:
			if err := d.stop(); err != nil {
				return fmt.Errorf("orderly restart: %w; see %s", err, d.log)
			}
		default:
			continue
		}
		if err := d.start(ctx); err != nil {
			return err
		}
		rep.Restarts++
		fmt.Fprintf(stderr, "%d restarts, %d still owed, %d MB resident\n", rep.Restarts, b.owed(), d.resident()>>20)
	}
	return ctx.Err()
}

// stallLimit is how long what is owed may stay the same before a run stops
// waiting for it.
const stallLimit = 40 * time.Second

// waitEmpty waits until everything promised has arrived, and a little longer
// so that a late duplicate is seen.
func waitEmpty(ctx context.Context, b *books, stall, most time.Duration) error {
	began, moved, last := time.Now(), time.Now(), b.owed()
	for last > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if now := b.owed(); now != last {
			moved, last = time.Now(), now
		}
		if time.Since(moved) > stall || time.Since(began) > most {
			return fmt.Errorf("%d messages still owed after %v", last, time.Since(began).Round(time.Second))
		}
	}
	time.Sleep(2 * time.Second)
	return nil
}
