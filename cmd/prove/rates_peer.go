//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool/postgres"
	"postern/spool/postgres/postgrestest"
)

// peer is a program that is measured. It is started anew, with an empty queue, for
// each cell.
type peer struct {
	name string
	// start starts it in an empty folder. What it returns ends it, and tells how to
	// reach it.
	start func(ctx context.Context, dir, upstream string) (*running, error)
}

// running is a peer that runs.
type running struct {
	addrs []string
	stop  func()
	// sql is a connection to the database of its queue; nil: it has none.
	sql *pgx.Conn
}

const ratesConfiguration = `hostname = "prove.postern.test"
state_dir = %[1]q
[spool]
%[2]s
[control]
socket = "%[1]s/control.sock"
[log]
format = "json"
[[listener]]
address = %[3]q
[upstream.sink]
%[4]s
max_connections = 50
[[route]]
from = ["*"]
upstream = ["sink"]
`

// journal is a relay with a spool of its own.
func (r *rates) journal() peer {
	return peer{"journal", func(ctx context.Context, dir, upstream string) (*running, error) {
		d, err := r.relay(ctx, filepath.Join(dir, "relay"), upstream, func(home string) string { return fmt.Sprintf("dir = \"%s/spool\"", home) })
		if err != nil {
			return nil, err
		}
		return &running{addrs: []string{d.addr}, stop: d.kill}, nil
	}}
}

// relay starts one with its queue where queue says, for the folder that it has.
func (r *rates) relay(ctx context.Context, home, upstream string, queue func(home string) string) (*daemon, error) {
	if err := os.MkdirAll(filepath.Join(home, "spool"), 0o700); err != nil {
		return nil, err
	}
	d := &daemon{binary: r.plan.binary, dir: home, addr: ownAddress(), log: filepath.Join(home, "log")}
	text := fmt.Sprintf(ratesConfiguration, home, queue(home), d.addr, upstreamAt(upstream))
	if err := os.WriteFile(d.config(), []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := d.start(ctx); err != nil {
		if !d.gone() {
			d.kill()
		}
		return nil, err
	}
	return d, nil
}

// shared is relays with one queue in a new database of a server.
func (r *rates) shared(name string, server *postgrestest.Server, relays int) peer {
	return peer{name, func(ctx context.Context, dir, upstream string) (_ *running, err error) {
		admin, err := pgx.Connect(ctx, server.URL("postgres"))
		if err != nil {
			return nil, err
		}
		r.databases++
		database := fmt.Sprintf("rates%d", r.databases)
		on := &running{}
		var members []*daemon
		on.stop = func() {
			for _, d := range members {
				d.kill()
			}
			end := context.WithoutCancel(ctx)
			if on.sql != nil {
				on.sql.Close(end)
			}
			_, _ = admin.Exec(end, "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
			admin.Close(end)
		}
		defer func() {
			if err != nil {
				on.stop()
			}
		}()
		if _, err = admin.Exec(ctx, "CREATE DATABASE "+database); err != nil {
			return nil, err
		}
		url := server.URL(database)
		if _, err = postgres.Migrate(ctx, url); err != nil {
			return nil, err
		}
		if on.sql, err = pgx.Connect(ctx, url); err != nil {
			return nil, err
		}
		for i := range relays {
			name := fmt.Sprintf("relay%d", i)
			d, err := r.relay(ctx, filepath.Join(dir, name), upstream, func(string) string { return fmt.Sprintf("url = %q\nrelay = %q", url, name) })
			if err != nil {
				return nil, err
			}
			members = append(members, d)
			on.addrs = append(on.addrs, d.addr)
		}
		return on, nil
	}}
}

const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example
mydestination =
local_transport = error:nobody is here
mynetworks = 127.0.0.0/8
relayhost = [%[2]s]:%[3]s
disable_dns_lookups = yes
smtpd_peername_lookup = no
maillog_file = %[1]s/log/maillog
maillog_file_prefixes = /
message_size_limit = 104857600
alias_maps =
alias_database =
`

const postfixMaster = `%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// postfix is Debian's, with its defaults, configuration and queue in the folder of
// the cell. An error: it can't be run here.
func (r *rates) postfix() (peer, error) {
	u, err := user.Lookup("postfix")
	if _, missing := os.Stat("/usr/lib/postfix/sbin/master"); err != nil || missing != nil || os.Getuid() != 0 {
		return peer{}, errors.New("no Postfix: it needs root and Debian's postfix")
	}
	uid, _ := strconv.Atoi(u.Uid)
	return peer{"postfix", func(ctx context.Context, dir, upstream string) (*running, error) {
		addr := ownAddress()
		host, port, _ := strings.Cut(upstream, ":")
		for _, name := range []string{"etc", "spool", "data", "log"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				return nil, err
			}
		}
		if err := os.Chown(filepath.Join(dir, "data"), uid, -1); err != nil {
			return nil, err
		}
		etc := filepath.Join(dir, "etc")
		for name, text := range map[string]string{"main.cf": fmt.Sprintf(postfixMain, dir, host, port), "master.cf": fmt.Sprintf(postfixMaster, addr)} {
			if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		for _, name := range []string{"postfix-files", "dynamicmaps.cf"} { // what Debian has them look for
			if text, err := os.ReadFile(filepath.Join("/etc/postfix", name)); err == nil {
				_ = os.WriteFile(filepath.Join(etc, name), text, 0o644)
			}
		}
		cmd := exec.Command("/usr/sbin/postfix", "-c", etc, "start-fg")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
		log, err := os.Create(filepath.Join(dir, "said"))
		if err != nil {
			return nil, err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		on := &running{addrs: []string{addr}, stop: func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			_ = cmd.Wait()
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}}
		if err := answers(ctx, addr); err != nil {
			on.stop()
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("start: %w: %s", err, said)
		}
		return on, nil
	}}, nil
}

// answers waits until somebody listens.
func answers(ctx context.Context, addr string) (err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 20*time.Millisecond) {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", addr, time.Second); err == nil {
			return c.Close()
		}
	}
	return err
}
