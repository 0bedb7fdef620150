//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// asGuest is what runs inside the guest, as its first process: upstream,
// daemon and clients. It ends with the power.
func (p *plan) asGuest(ctx context.Context, stderr io.Writer) (rep report, err error) {
	defer func() {
		if err != nil {
			// The first process of a kernel must not end: say why, and wait
			// for the cut.
			fmt.Fprintln(stderr, "guest:", err)
			time.Sleep(time.Hour)
		}
	}()
	b := newBooks()
	if b.ledger, err = openLedger(filepath.Join(p.dir, "ledger")); err != nil {
		return rep, err
	}
	s, err := startSink(b)
	if err != nil {
		return rep, err
	}
	defer s.close()
	// Every boot has a folder of its own for log and socket, in memory.
	d, err := newDaemon(p.binary, "/mnt", "/mnt/disk", s.addr)
	if err != nil {
		return rep, err
	}
	d.log = filepath.Join(p.dir, "log")
	if err := d.start(ctx); err != nil {
		return rep, err
	}
	if p.length > 0 {
		s.fail(p.failing)
	}
	var senders sync.WaitGroup
	boot := time.Now().UnixNano()
	for i := range p.senders {
		if p.length <= 0 {
			break
		}
		c := &sender{name: fmt.Sprintf("b%d-%d", boot, i), addr: d.addr, books: b, big: p.big}
		senders.Go(func() { c.run(ctx) })
	}
	if err := os.WriteFile(filepath.Join(p.dir, "ready"), nil, 0o600); err != nil {
		return rep, err
	}
	if p.clock && p.length > 0 {
		senders.Go(func() { jump(ctx, stderr) })
	}
	senders.Wait()
	<-ctx.Done()
	return rep, ctx.Err()
}

// jump sets the clock of the guest by up to twelve hours, both ways, again
// and again.
func jump(ctx context.Context, stderr io.Writer) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(300+rand.IntN(1200)) * time.Millisecond)
		to := time.Now().Add(time.Duration(rand.IntN(24*3600)-12*3600) * time.Second)
		ts := unix.NsecToTimespec(to.UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			fmt.Fprintln(stderr, "guest: the clock can't be set:", err)
			return
		}
	}
}
