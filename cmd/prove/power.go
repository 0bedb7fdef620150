//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A power cut is the end of a User-Mode Linux machine (Debian's package
// user-mode-linux) by SIGKILL: its kernel dies with everything that it had
// not yet handed to its disk. The spool lies on a disk of the machine; clients,
// daemon and upstream run inside it. The machine's root is a folder of the host,
// where the ledger outlives it and where nothing is but the two programs: this
// one is the first process, so there is no system to boot.

func (p *plan) inMachine(ctx context.Context, stderr io.Writer) (rep report, err error) {
	dir, leave, err := p.folder("postern-power-", stderr)
	if err != nil {
		return rep, err
	}
	defer func() { leave(err) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return rep, err
	}
	g := &machine{plan: p, dir: dir}
	if err := g.prepare(ctx); err != nil {
		return rep, err
	}
	began := time.Now()
	for rep.Kills < p.cuts && ctx.Err() == nil {
		if err := g.boot(ctx, 24*time.Hour, g.underLoad); err != nil {
			return rep, err
		}
		rep.Kills++
		fmt.Fprintf(stderr, "%d cuts on %s %s, ledger %d bytes, the last boot took %.1f s\n",
			rep.Kills, p.fs, p.options, g.ledgerSize(), g.cameUp.Seconds())
	}
	if err := g.boot(ctx, 0, g.quiet); err != nil {
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
// received since the machine was ready.
func (g *machine) underLoad() bool {
	before := g.ledgerSize()
	for end := time.Now().Add(60 * time.Second); g.ledgerSize() < before+1000 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Duration(rand.IntN(3000)) * time.Millisecond)
	return true
}

// machine is a virtual one whose files are below dir: root is its root, disk.img its
// disk.
type machine struct {
	plan   *plan
	dir    string
	env    []string      // of the machine's process; nil: as this one's
	cameUp time.Duration // how long the last boot took until the daemon listened
}

func (g *machine) root() string   { return filepath.Join(g.dir, "root") }
func (g *machine) image() string  { return filepath.Join(g.dir, "disk.img") }
func (g *machine) ledger() string { return filepath.Join(g.root(), machineLedger) }

func (g *machine) ledgerSize() int64 {
	st, err := os.Stat(g.ledger())
	if err != nil {
		return 0
	}
	return st.Size()
}

// prepare makes the disk, and the root with the programs that the machine runs.
func (g *machine) prepare(ctx context.Context) error {
	for _, tool := range []string{"linux.uml", "mkfs." + g.plan.fs} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed (apt-get install user-mode-linux e2fsprogs xfsprogs btrfs-progs): %w", tool, err)
		}
	}
	if err := g.completeStates(ctx); err != nil {
		return err
	}
	if err := sparse(g.image(), 1<<30); err != nil {
		return err
	}
	if err := command(ctx, "mkfs."+g.plan.fs, "-q", g.image()); err != nil {
		return err
	}
	for _, at := range []string{"dev", "proc", "mnt"} { // where the machine mounts something
		if err := os.MkdirAll(filepath.Join(g.root(), at), 0o700); err != nil {
			return err
		}
	}
	if _, err := build(ctx, g.root(), "prove", static); err != nil {
		return err
	}
	if g.plan.binary == "" {
		_, err := build(ctx, g.root(), "postern", static)
		return err
	}
	return command(ctx, "cp", g.plan.binary, filepath.Join(g.root(), "postern"))
}

// xstate says itself what it is for.
//
//go:embed machine/xstate.c
var xstate []byte

// completeStates makes a machine start on a processor with AMX.
func (g *machine) completeStates(ctx context.Context) error {
	if processor, err := os.ReadFile("/proc/cpuinfo"); err != nil || !bytes.Contains(processor, []byte(" amx_tile")) {
		return err
	}
	source, library := filepath.Join(g.dir, "xstate.c"), filepath.Join(g.dir, "xstate.so")
	if err := os.WriteFile(source, xstate, 0o600); err != nil {
		return err
	}
	if err := command(ctx, "cc", "-shared", "-fPIC", "-O2", "-o", library, source); err != nil {
		return fmt.Errorf("a C compiler is needed on this processor: %w", err)
	}
	g.env = append(os.Environ(), "LD_PRELOAD="+library)
	return nil
}

// boot runs the machine until enough says so, asked once the load is running,
// and cuts its power.
func (g *machine) boot(ctx context.Context, load time.Duration, enough func() bool) error {
	console, err := os.OpenFile(filepath.Join(g.dir, "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := exec.CommandContext(ctx, "linux.uml", "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags="+g.root(), "rw",
		"uml_dir="+g.dir, "ubda="+g.image(), "con=null", "con0=fd:0,fd:1", "quiet", "init=/prove", "--",
		"machine", "-fs", g.plan.fs, "-options="+g.plan.options, "-for", load.String(),
		"-senders", fmt.Sprint(g.plan.senders), "-big", fmt.Sprint(g.plan.big), "-failing", fmt.Sprint(g.plan.failing),
		fmt.Sprintf("-clock=%t", g.plan.clock))
	cmd.Env, cmd.Stdout, cmd.Stderr = g.env, console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ready := filepath.Join(g.root(), machineReady)
	os.Remove(ready)
	if err := cmd.Start(); err != nil {
		return err
	}
	began := time.Now()
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}()
	end := time.After(5 * time.Minute)
	for {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
			continue
		case err := <-exited:
			exited <- err
		case <-end:
		}
		return fmt.Errorf("the machine did not come up; see %s", console.Name())
	}
	g.cameUp = time.Since(began)
	for !enough() {
		time.Sleep(100 * time.Millisecond)
	}
	return ctx.Err()
}

// quiet tells that everything promised has arrived, or that nothing has
// happened for a long while.
func (g *machine) quiet() bool {
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
