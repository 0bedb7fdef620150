//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool/postgres/postgrestest"
)

// imageEntry does what the entry point of PostgreSQL's image does in a first start:
// it makes the data, runs the scripts of the folder at a server without a network,
// and starts the server.
const imageEntry = `#!/usr/bin/env bash
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=trust --no-sync -E UTF8 --locale=C
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w start -o "${*:2} -c listen_addresses="
  createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  for f in "$INIT"/*.sh; do bash "$f"; done
  pg_ctl -w stop -m fast
fi
exec "$@"
`

// composeDatabases are db1 and db2 of the compose file, each with an address of its
// own in place of the name that Docker would give it.
type composeDatabases struct {
	t    *testing.T
	dir  string
	port int
	cred *syscall.SysProcAttr
}

var composeAddress = map[string]string{"db1": "127.0.0.1", "db2": "127.0.0.2"}

func newComposeDatabases(t *testing.T) *composeDatabases {
	t.Helper()
	postgrestest.Require(t)
	dir, err := os.MkdirTemp("/tmp", "postern-pg-") // the paths of its sockets are short
	if err == nil {
		err = os.Chmod(dir, 0o755) // another user may enter it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &composeDatabases{t: t, dir: dir, port: freePort(t, composeAddress["db2"])}
	d.write("bin/docker-entrypoint.sh", imageEntry)
	d.write("password", "secret")
	for name, as := range map[string]string{"database.sh": "database.sh", "primary.sh": "init/primary.sh"} {
		text, err := os.ReadFile(filepath.Join(fleetFiles, name))
		if err != nil {
			t.Fatal(err)
		}
		d.write(as, string(text))
	}
	if u, err := user.Lookup("postgres"); os.Getuid() == 0 && err == nil {
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		d.cred = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	for name := range composeAddress {
		d.volume(name)
	}
	return d
}

// volume makes an empty one for a database.
func (d *composeDatabases) volume(name string) {
	d.t.Helper()
	for _, f := range []string{name, filepath.Join(name, "data")} {
		f = filepath.Join(d.dir, f)
		if err := os.MkdirAll(f, 0o700); err != nil {
			d.t.Fatal(err)
		}
		if d.cred == nil {
			continue
		}
		if err := os.Chown(f, int(d.cred.Credential.Uid), int(d.cred.Credential.Gid)); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *composeDatabases) write(name, text string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		d.t.Fatal(err)
	}
}

// freePort is one that nobody listens at, at this address of the loopback and at
// 127.0.0.1.
func freePort(t *testing.T, address string) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", address+":0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		other, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		l.Close()
		if err == nil {
			other.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// command is what Docker would run as db1 or db2.
func (d *composeDatabases) command(name, primary string) *exec.Cmd {
	cmd := exec.CommandContext(d.t.Context(), "bash", filepath.Join(d.dir, "database.sh"),
		"-c", "wal_keep_size=1GB", "-c", "cluster_name="+name)
	if name == primary { // the entry point is given what to start
		cmd.Args = append(cmd.Args, "-c", "fsync=off")
	}
	cmd.Args = append(cmd.Args, "-c", "listen_addresses="+composeAddress[name], "-c", fmt.Sprint("port=", d.port), "-c", "unix_socket_directories="+filepath.Join(d.dir, name))
	cmd.Dir, cmd.SysProcAttr = "/", d.cred
	cmd.Env = []string{
		"PATH=" + filepath.Join(d.dir, "bin") + ":" + postgrestest.Bin() + ":" + os.Getenv("PATH"),
		"PGDATA=" + filepath.Join(d.dir, name, "data"), "PGHOST=" + filepath.Join(d.dir, name), fmt.Sprint("PGPORT=", d.port),
		"INIT=" + filepath.Join(d.dir, "init"),
		// The addresses stand for the names.
		"NAME=" + composeAddress[name], "PRIMARY=" + composeAddress[primary], fmt.Sprint("PRIMARY_PORT=", d.port),
		"POSTGRES_USER=postern", "POSTGRES_DB=postern",
		"POSTGRES_PASSWORD_FILE=" + filepath.Join(d.dir, "password"), "PASSWORD_FILE=" + filepath.Join(d.dir, "password"),
	}
	return cmd
}

// start runs a database until the test or stop ends it.
func (d *composeDatabases) start(name, primary string) (stop func()) {
	d.t.Helper()
	cmd := d.command(name, primary)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(syscall.SIGINT) // a fast shutdown, as of "docker compose stop"
			<-ended
		}
	}
	d.t.Cleanup(func() {
		stop()
		if d.t.Failed() {
			d.t.Logf("%s:\n%s", name, out.String())
		}
	})
	return stop
}

// ask is the answer of a database to a query, as text, when it has one that is
// wanted; ask waits for it.
func (d *composeDatabases) ask(name, sql, want string) {
	d.t.Helper()
	var got string
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		got, err = d.once(name, sql)
		if err == nil && got == want {
			return
		}
	}
	d.t.Fatalf("%s: %s: %q, %v; want %q", name, sql, got, err, want)
}

func (d *composeDatabases) once(name, sql string) (text string, err error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	// As a relay does: over the network, with the password.
	c, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postern:secret@%s:%d/postern?sslmode=disable", composeAddress[name], d.port))
	if err != nil {
		return "", err
	}
	defer c.Close(context.WithoutCancel(ctx))
	rows, err := c.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	text, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	if err == pgx.ErrNoRows {
		return "", nil
	}
	return text, err
}

// TestFleetDatabases runs the scripts of the compose file's databases through what
// docs/fleet.md says of them: a standby that follows and is waited for, its
// promotion, the primary that was and is refused, its copy as a standby, and a
// start of the new primary.
func TestFleetDatabases(t *testing.T) {
	if os.Getenv("POSTERN_LONG") == "" {
		t.Skip("makes three databases: POSTERN_LONG=1")
	}
	d := newComposeDatabases(t)
	const standby = "SELECT coalesce(string_agg(application_name || ' ' || sync_state, ', '), 'none') FROM pg_stat_replication"
	stop1 := d.start("db1", "db1")
	stop2 := d.start("db2", "db1") // and waits for its primary
	d.ask("db1", standby, "db2 quorum")
	d.ask("db1", "CREATE TABLE kept (text text)", "")
	d.ask("db1", "INSERT INTO kept VALUES ('accepted') RETURNING text", "accepted")
	d.ask("db2", "SELECT string_agg(text, ' ') FROM kept", "accepted")

	// docker compose stop db1, and db2 goes on.
	stop1()
	d.ask("db2", "SELECT pg_promote()::text", "true")
	// Without this a commit waits for a standby: psql is asked in the order of the page.
	d.ask("db2", "ALTER SYSTEM RESET synchronous_standby_names", "")
	d.ask("db2", "SELECT pg_reload_conf()::text", "true")
	d.ask("db2", "SELECT current_setting('synchronous_standby_names')", "")
	d.ask("db2", "INSERT INTO kept VALUES ('later') RETURNING text", "later")

	// PRIMARY=db2: the primary that was is no second one.
	out, err := d.command("db1", "db2").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "has the data of a primary") {
		t.Fatalf("the primary that was starts: %v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(d.dir, "db1", "data")); err != nil {
		t.Fatal(err)
	}
	d.volume("db1")
	d.start("db1", "db2")
	d.ask("db2", standby, "db1 async")
	d.ask("db2", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (db1, db2)'", "")
	d.ask("db2", "SELECT pg_reload_conf()::text", "true")
	d.ask("db2", standby, "db1 quorum")
	d.ask("db1", "SELECT string_agg(text, ' ') FROM kept", "accepted later")

	// The new primary starts as one.
	stop2()
	d.start("db2", "db2")
	d.ask("db2", "INSERT INTO kept VALUES ('last') RETURNING text", "last")
	d.ask("db1", "SELECT string_agg(text, ' ') FROM kept", "accepted later last")
}
