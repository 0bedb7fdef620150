//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// daemon is the real binary, run again and again on the same spool.
type daemon struct {
	binary string
	dir    string
	addr   string
	log    string
	cmd    *exec.Cmd
	exited chan error
	// under is a program that the daemon runs under, with its arguments; the
	// process that is started has to become the daemon.
	under []string
	as    *syscall.Credential // nil: the user who runs this
}

const configuration = `hostname = "prove.postern.test"
state_dir = %[1]q
[spool]
dir = "%[5]s/spool"
min_free = "16MiB"
[control]
socket = "%[1]s/control.sock"
[log]
format = "json"
[[listener]]
address = %[2]q
users = { proof = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }
[upstream.sink]
host = %[3]q
port = %[4]s
tls = "off"
auth = "none"
[[route]]
from = ["*"]
upstream = ["sink"]
[retry]
backoff = ["1s", "2s"]
warn_after = "0"
`

// newDaemon writes a configuration into dir, with the spool below disk.
func newDaemon(binary, dir, disk, sinkAddr string) (*daemon, error) {
	d := &daemon{binary: binary, dir: dir, addr: ownAddress(), log: filepath.Join(dir, "log")}
	host, port, err := net.SplitHostPort(sinkAddr)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(disk, "spool"), 0o700); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(configuration, dir, d.addr, host, port, disk)
	return d, os.WriteFile(d.config(), []byte(text), 0o600)
}

// configure adds to the configuration, for the next start.
func (d *daemon) configure(text string) error {
	f, err := os.OpenFile(d.config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

var addresses atomic.Int32

// ownAddress is an address of loopback that nobody else has, also while the
// daemon that listens there is dead: a free port of 127.0.0.1 could be
// anybody's by then.
func ownAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d:%d", 64+pid>>16&63, pid>>8&255, pid&255, 2525+addresses.Add(1))
}

func (d *daemon) config() string { return filepath.Join(d.dir, "postern.toml") }

// losingSyncs is a world in which a sync does nothing, so that a check can
// show that it notices.
var losingSyncs = []string{"strace", "-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf",
	"-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:retval=0"}

// start runs the daemon and waits until it listens.
func (d *daemon) start(ctx context.Context) error {
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	args := append(slices.Clone(d.under), d.binary, "serve", "--config", d.config())
	d.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = out, out
	if d.as != nil {
		d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.as}
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	d.exited = make(chan error, 1)
	go func() { d.exited <- d.cmd.Wait() }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		select {
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("the daemon ended at its start: %v; see %s", err, d.log)
		case <-time.After(5 * time.Millisecond):
		}
		if c, err := net.DialTimeout("tcp", d.addr, time.Second); err == nil {
			c.Close()
			return nil
		}
	}
	return fmt.Errorf("the daemon did not listen within a minute; see %s", d.log)
}

// gone tells whether the daemon has ended by itself.
func (d *daemon) gone() bool {
	select {
	case err := <-d.exited:
		d.exited <- err
		return true
	default:
		return false
	}
}

// kill sends SIGKILL and waits for the end.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	_ = d.reap()
}

// reap waits for the end of the daemon.
func (d *daemon) reap() error {
	err := <-d.exited
	d.exited <- err // it stays known
	return err
}

// stop sends an interrupt and waits for an orderly end.
func (d *daemon) stop() error {
	d.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-d.exited:
		d.exited <- err
		return err
	case <-time.After(60 * time.Second):
		d.kill()
		return fmt.Errorf("the daemon did not end within 60 s")
	}
}

// resident is the resident memory of the daemon in bytes, 0 where unknown.
func (d *daemon) resident() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", d.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	fmt.Sscan(string(b), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// inDoubt reads from the log how often it says of a queue ID that a duplicate
// is possible.
func (d *daemon) inDoubt() (map[string]int, error) {
	f, err := os.Open(d.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readDoubts(f)
}

func readDoubts(log io.Reader) (map[string]int, error) {
	ids := map[string]int{}
	s := bufio.NewScanner(log)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if !bytes.Contains(s.Bytes(), []byte(`"in-doubt"`)) {
			continue
		}
		var line struct{ Event, ID string }
		if json.Unmarshal(s.Bytes(), &line) == nil && line.Event == "in-doubt" {
			ids[line.ID]++
		}
	}
	return ids, s.Err()
}
