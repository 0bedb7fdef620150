//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The files in the root of a machine that its host reads.
const (
	machineLedger = "ledger"
	machineReady  = "ready" // the daemon listens
	machineLog    = "log"
)

// asMachine is what runs inside the machine, as its first process: upstream,
// daemon and clients. It ends with the power.
func (p *plan) asMachine(ctx context.Context, stderr io.Writer) (rep report, err error) {
	defer func() {
		if err != nil {
			// The first process of a kernel must not end.
			fmt.Fprintln(stderr, "machine:", err)
			_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		}
	}()
	if err := p.comeUp(); err != nil {
		return rep, err
	}
	b := newBooks()
	if b.ledger, err = openLedger("/" + machineLedger); err != nil {
		return rep, err
	}
	s, err := startSink(b)
	if err != nil {
		return rep, err
	}
	defer s.close()
	// Every boot has a folder of its own for the socket, in memory.
	d, err := newDaemon("/postern", "/mnt", "/mnt/disk", s.addr)
	if err != nil {
		return rep, err
	}
	d.log = "/" + machineLog
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
	if err := os.WriteFile("/"+machineReady, nil, 0o600); err != nil {
		return rep, err
	}
	if p.clock && p.length > 0 {
		senders.Go(func() { jump(ctx, stderr) })
	}
	senders.Wait()
	<-ctx.Done()
	return rep, ctx.Err()
}

// comeUp does for the machine what a system does at its start. /dev is there
// already.
func (p *plan) comeUp() error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /mnt: %w", err)
	}
	if err := os.Mkdir("/mnt/disk", 0o700); err != nil {
		return err
	}
	// The file system's own recovery from the cut happens here.
	if err := unix.Mount("/dev/ubda", "/mnt/disk", p.fs, 0, p.options); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return loopbackUp()
}

// loopbackUp gives the machine its 127.0.0.1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// jump sets the clock of the machine by up to twelve hours, both ways, again
// and again.
func jump(ctx context.Context, stderr io.Writer) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(300+rand.IntN(1200)) * time.Millisecond)
		to := time.Now().Add(time.Duration(rand.IntN(24*3600)-12*3600) * time.Second)
		ts := unix.NsecToTimespec(to.UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			fmt.Fprintln(stderr, "machine: the clock can't be set:", err)
			return
		}
	}
}
