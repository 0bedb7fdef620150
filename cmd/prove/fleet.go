//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/spool/postgres"
	"postern/spool/postgres/postgrestest"
)

// fleetReport is what a run with several relays prints.
type fleetReport struct {
	report
	Relays        int `json:"relays"`
	Stopped       int `json:"stopped_beyond_their_lease"`
	DatabaseKills int `json:"database_kills"`
	// Takeovers are those that the logs tell of.
	Takeovers int `json:"takeovers"`
}

// fleet has several relays share a queue in a database of its own, and kills,
// stops and restarts relays and database at random.
type fleet struct {
	plan    *plan
	stderr  io.Writer
	server  *postgrestest.Server
	daemons []*daemon
	rep     fleetReport
}

func (p *plan) fleetOfRelays(ctx context.Context, stderr io.Writer) (rep fleetReport, err error) {
	dir := p.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "prove-"); err != nil {
			return rep, err
		}
		defer func() {
			if err == nil {
				os.RemoveAll(dir)
			} else {
				fmt.Fprintln(stderr, "kept for a look:", dir)
			}
		}()
	}
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
	f := &fleet{plan: p, stderr: stderr}
	if err := f.comeUp(ctx, dir, s.addr); err != nil {
		return f.rep, err
	}
	defer f.server.Stop()
	began := time.Now()
	loadCtx, endLoad := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for i := range p.senders {
		c := &sender{name: fmt.Sprintf("s%d", i), addr: f.daemons[i%len(f.daemons)].addr, books: b, big: p.big, pause: p.pause}
		senders.Go(func() { c.run(loadCtx) })
	}
	err = f.trouble(ctx, b, s)
	endLoad()
	senders.Wait()
	if err != nil {
		return f.rep, err
	}
	s.fail(0)
	f.rep.ArrivedASecond = float64(b.whole()) / time.Since(began).Seconds()
	drain := time.Now()
	if err := waitEmpty(ctx, b, stallLimit, 3*time.Minute); err != nil {
		fmt.Fprintln(stderr, "prove:", err)
	}
	f.rep.DrainedInSeconds = time.Since(drain).Seconds()
	return f.rep, f.settle(b, began)
}

// comeUp starts the database and the relays.
func (f *fleet) comeUp(ctx context.Context, dir, sink string) error {
	place, err := os.MkdirTemp("/tmp", "prove-pg-") // the path of a socket is short
	if err != nil {
		return err
	}
	if f.server, err = postgrestest.New(place); err != nil {
		return err
	}
	url := f.server.URL("postgres")
	if _, err := postgres.Migrate(ctx, url); err != nil {
		return err
	}
	for i := range f.plan.relays {
		own := filepath.Join(dir, fmt.Sprintf("relay%d", i))
		d, err := newDaemon(f.plan.binary, own, own, sink)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(d.config())
		if err != nil {
			return err
		}
		spool := fmt.Sprintf("[spool]\nurl = %q\nrelay = \"relay%d\"\n", url, i)
		shared := strings.Replace(string(text), fmt.Sprintf("[spool]\ndir = \"%s/spool\"\nmin_free = \"16MiB\"\n", own), spool, 1)
		if shared == string(text) {
			return fmt.Errorf("the configuration has no spool")
		}
		if err := os.WriteFile(d.config(), []byte(shared), 0o600); err != nil {
			return err
		}
		if err := d.start(ctx); err != nil {
			return err
		}
		f.daemons = append(f.daemons, d)
	}
	f.rep.Relays = len(f.daemons)
	return nil
}

// trouble breaks things until the time of the plan is over.
func (f *fleet) trouble(ctx context.Context, b *books, s *sink) error {
	for end := time.Now().Add(f.plan.length); time.Now().Before(end) && ctx.Err() == nil; {
		s.fail(f.plan.failing * float64(rand.IntN(3)))
		pause(ctx, time.Duration(500+rand.IntN(2500))*time.Millisecond)
		d := f.daemons[rand.IntN(len(f.daemons))]
		b.killed()
		var err error
		switch rand.IntN(8) {
		case 0, 1, 2:
			d.kill()
			f.rep.Kills++
			pause(ctx, time.Duration(rand.IntN(2000))*time.Millisecond)
			err = f.again(ctx, d)
		case 3:
			if err = d.stop(); err == nil {
				err = f.again(ctx, d)
			}
		case 4: // beyond its lease of 15 s, and back
			_ = d.cmd.Process.Signal(syscall.SIGSTOP)
			pause(ctx, time.Duration(5+rand.IntN(20))*time.Second)
			_ = d.cmd.Process.Signal(syscall.SIGCONT)
			f.rep.Stopped++
		case 5, 6:
			f.server.Stop()
			f.rep.DatabaseKills++
			pause(ctx, time.Duration(rand.IntN(3000))*time.Millisecond)
			err = f.server.Run()
		case 7:
			_, _ = fmt.Fprintf(f.stderr, "%d kills, %d of the database, %d still owed\n", f.rep.Kills, f.rep.DatabaseKills, b.owed())
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// again starts a relay, which may have to wait for the database.
func (f *fleet) again(ctx context.Context, d *daemon) error {
	f.rep.Restarts++
	return d.start(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// settle ends the relays and closes the books over all of them.
func (f *fleet) settle(b *books, began time.Time) error {
	doubt := map[string]int{}
	for _, d := range f.daemons {
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
	f.rep.balance = b.close(doubt)
	f.rep.Seconds = time.Since(began).Seconds()
	return f.rep.verdict()
}
