//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// job is a program that sends one message for each of its rows, each with a
// key. It remembers nothing: after it was cut off it sends all of them again.
type job struct {
	n      int
	name   string
	addr   string
	books  *books
	bodies [][]byte
	before *atomic.Int64 // messages of which it was told that they were queued before
}

func (p *plan) newJob(n int, addr string, b *books, before *atomic.Int64) *job {
	j := &job{n: n, name: fmt.Sprintf("job%d", n), addr: addr, books: b, before: before}
	for range p.rows {
		j.bodies = append(j.bodies, makeBody(p.big))
	}
	return j
}

// number is what a row is called in the books.
func (j *job) number(row int) string { return fmt.Sprintf("%s-%d", j.name, row) }

// run sends all rows over so many connections, and returns nil where each was
// accepted. When ctx ends, the connections end at whatever point they are at,
// as those of a process do that is killed.
func (j *job) run(ctx context.Context, connections int) error {
	var all sync.WaitGroup
	failed := make([]error, connections)
	for n := range connections {
		all.Go(func() {
			s := &sender{name: j.name, addr: j.addr, books: j.books}
			raw, c, err := s.open(ctx)
			if err != nil {
				failed[n] = err
				return
			}
			defer context.AfterFunc(ctx, func() { raw.Close() })()
			defer raw.Close()
			for row := n; row < len(j.bodies) && failed[n] == nil; row += connections {
				raw.SetDeadline(time.Now().Add(time.Minute))
				number := j.number(row)
				header := fmt.Sprintf("Date: %s\r\nPostern-Idempotency-Key: %s\r\n", time.Now().Format(time.RFC1123Z), number)
				text, err := s.hand(c, number, header, j.bodies[row])
				switch failed[n] = err; {
				case err == nil && text == "":
					failed[n] = errors.New("refused for now")
				case text == "queued before":
					j.before.Add(1)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// again runs jobs and kills them or the daemon, or both, at random, and runs
// each job again until all of its messages are queued.
func (p *plan) again(ctx context.Context, stderr io.Writer, b *books, s *sink, d *daemon, rep *report) error {
	var before atomic.Int64
	defer func() { rep.QueuedBefore = before.Load() }()
	jobs := 0
	for rep.Kills+rep.ClientKills < p.cycles && ctx.Err() == nil {
		j := p.newJob(jobs, d.addr, b, &before)
		jobs++
		rep.Rows += p.rows
		for done := false; !done; {
			s.fail(p.failing * float64(rand.IntN(3)))
			running, kill := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() {
				if p.program {
					ended <- j.runProgram(running, d)
				} else {
					ended <- j.run(running, p.senders)
				}
			}()
			var err error
			select {
			case err = <-ended:
				done = err == nil
			case <-time.After(time.Duration(rand.IntN(int(p.within)))):
				err = p.killSome(ctx, b, d, rep, kill)
				if e := <-ended; err == nil {
					done = e == nil // nothing of it was cut off
					if errors.Is(e, errBroken) {
						err = e
					}
				}
			}
			kill()
			if errors.Is(err, errBroken) {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && !done && d.gone() {
				return err
			}
		}
		fmt.Fprintf(stderr, "%d jobs, %d kills of the daemon and %d of clients\n", jobs, rep.Kills, rep.ClientKills)
	}
	return ctx.Err()
}

// killSome kills the client, the daemon, or both, and starts the daemon again.
func (p *plan) killSome(ctx context.Context, b *books, d *daemon, rep *report, killClient func()) error {
	what := rand.IntN(3)
	if what != 0 {
		killClient()
		rep.ClientKills++
	}
	if what == 1 {
		return nil
	}
	b.killed()
	d.kill()
	rep.Kills++
	rep.Restarts++
	return d.start(ctx)
}

// once is nil where each row was queued exactly once, and arrived.
func (r *report) once() error {
	switch {
	case r.Twice > 0:
		return fmt.Errorf("%d messages were queued twice", r.Twice)
	case r.Arrived != r.Rows || r.Promised != r.Rows:
		return fmt.Errorf("of %d messages %d were accepted and %d arrived", r.Rows, r.Promised, r.Arrived)
	}
	return nil
}
