//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A power cut is the end of a User-Mode Linux guest (Debian's package
// user-mode-linux) by SIGKILL: its kernel dies with everything that it had
// not yet handed to its disk. The spool lies on a disk of the guest; clients,
// daemon and upstream run inside it, and the ledger lies on the host.

// bootScript is the guest's first program.
const bootScript = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /mnt
mkdir /mnt/disk
ip link set lo up
mount -t %[1]s %[2]s /dev/ubda /mnt/disk || { echo "no disk"; halt -f; }
exec %[3]s guest -binary %[4]s -dir %[5]s -senders %[6]d -big %[7]g -failing %[8]g -for %[9]s -clock=%[10]t
`

func (p *plan) inGuest(ctx context.Context, stderr io.Writer) (rep report, err error) {
	dir := p.dir
	if dir == "" {
		// Not below /tmp: the guest has one of its own.
		if dir, err = os.MkdirTemp("/var/tmp", "postern-power-"); err != nil {
			return rep, err
		}
		defer func() {
			if err == nil {
				os.RemoveAll(dir)
			}
		}()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return rep, err
	}
	if strings.HasPrefix(dir, "/tmp/") {
		return rep, fmt.Errorf("-dir %s: the guest sees another /tmp; use a folder elsewhere", dir)
	}
	g := &guest{plan: p, dir: dir, image: filepath.Join(dir, "disk.img")}
	if err := g.prepare(ctx); err != nil {
		return rep, err
	}
	began := time.Now()
	for rep.Kills < p.cuts && ctx.Err() == nil {
		if err := g.boot(ctx, "24h", g.underLoad); err != nil {
			return rep, err
		}
		rep.Kills++
		fmt.Fprintf(stderr, "%d cuts on %s %s, ledger %d bytes\n", rep.Kills, p.fs, p.options, g.ledgerSize())
	}
	if err := g.boot(ctx, "0s", g.quiet); err != nil {
		return rep, err
	}
	b, err := readLedger(g.ledger())
	if err != nil {
		return rep, err
	}
	rep.balance = b.close(nil)
	rep.Seconds = time.Since(began).Seconds()
	rep.DuplicatesAKill = float64(rep.Duplicates) / float64(max(rep.Kills, 1))
	// A power cut also forgets the log and the last 20 ms of what was
	// delivered, so these duplicates have no line; they are counted.
	rep.Unexplained = nil
	return rep, rep.verdict()
}

// underLoad tells, at a random moment, that mail has been promised and
// received since the guest was ready.
func (g *guest) underLoad() bool {
	before := g.ledgerSize()
	for end := time.Now().Add(60 * time.Second); g.ledgerSize() < before+1000 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Duration(rand.IntN(3000)) * time.Millisecond)
	return true
}

type guest struct {
	plan  *plan
	dir   string
	image string
	self  string
}

func (g *guest) ledger() string { return filepath.Join(g.dir, "ledger") }

func (g *guest) ledgerSize() int64 {
	st, err := os.Stat(g.ledger())
	if err != nil {
		return 0
	}
	return st.Size()
}

// prepare makes the disk and the programs that the guest runs.
func (g *guest) prepare(ctx context.Context) (err error) {
	for _, tool := range []string{"linux.uml", "mkfs." + g.plan.fs} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed (apt-get install user-mode-linux e2fsprogs xfsprogs btrfs-progs): %w", tool, err)
		}
	}
	if err := os.WriteFile(g.image, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(g.image, 2<<30); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mkfs."+g.plan.fs, "-q", g.image).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.%s: %w: %s", g.plan.fs, err, out)
	}
	g.self = filepath.Join(g.dir, "prove")
	me, err := os.Executable()
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", me, g.self).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", me, err, out)
	}
	if g.plan.binary == "" {
		g.plan.binary, err = build(ctx, g.dir)
		return err
	}
	g.plan.binary, err = filepath.Abs(g.plan.binary)
	return err
}

// boot runs the guest until enough says so, asked once the load is running,
// and cuts its power.
func (g *guest) boot(ctx context.Context, load string, enough func() bool) error {
	options := ""
	if g.plan.options != "" {
		options = "-o " + g.plan.options
	}
	script := filepath.Join(g.dir, "init")
	text := fmt.Sprintf(bootScript, g.plan.fs, options, g.self, g.plan.binary, g.dir, g.plan.senders, g.plan.big, g.plan.failing, load, g.plan.clock)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		return err
	}
	console, err := os.OpenFile(filepath.Join(g.dir, "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := exec.CommandContext(ctx, "linux.uml", "mem=768M", "root=/dev/root", "rootfstype=hostfs", "rw",
		"init="+script, "ubda="+g.image, "con=null", "con0=fd:0,fd:1", "quiet")
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ready := filepath.Join(g.dir, "ready")
	os.Remove(ready)
	if err := cmd.Start(); err != nil {
		return err
	}
	cut := func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}
	defer cut()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("the guest was not ready in time; see %s", console.Name())
		}
	}
	for !enough() {
		time.Sleep(100 * time.Millisecond)
	}
	return ctx.Err()
}

// quiet tells that everything promised has arrived, or that nothing has
// happened for a long while.
func (g *guest) quiet() bool {
	still := time.Now()
	for size := g.ledgerSize(); time.Since(still) < 40*time.Second; time.Sleep(500 * time.Millisecond) {
		if now := g.ledgerSize(); now != size {
			size, still = now, time.Now()
			continue
		}
		if b, err := readLedger(g.ledger()); err == nil && b.owed() == 0 && time.Since(still) > 3*time.Second {
			break
		}
	}
	return true
}
