//go:build unix

// Package postgrestest runs a PostgreSQL server for the tests of a package, on a
// unix socket in a folder of its own.
package postgrestest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is one that runs.
type Server struct {
	dir       string // the socket's
	bin       string
	cmd       *exec.Cmd
	databases atomic.Int64
}

// require is the variable that makes a missing server an error.
const require = "POSTERN_REQUIRE_INTEROP"

// Bin is the folder of PostgreSQL's programs; empty: it is not here.
func Bin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// Require skips a test without PostgreSQL.
func Require(t testing.TB) {
	t.Helper()
	if Bin() != "" {
		return
	}
	if os.Getenv(require) != "" {
		t.Fatal("PostgreSQL is required: apt-get install postgresql")
	}
	t.Skip("PostgreSQL is not here: apt-get install postgresql")
}

// Start starts a server with the settings that are given, such as
// "fsync=off". Without PostgreSQL it skips the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	Require(t)
	// Below /tmp, since the path of a socket is short, and not t.TempDir, which
	// another user may not enter.
	dir, err := os.MkdirTemp("/tmp", "postern-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := New(dir, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// New makes a server in a folder, which is empty and has a short path, and starts
// it.
func New(dir string, settings ...string) (*Server, error) {
	s := &Server{dir: dir, bin: Bin()}
	if err := s.own(); err != nil {
		return nil, err
	}
	out, err := s.command("initdb", "--pgdata", filepath.Join(dir, "data"), "--auth=trust", "--username=postern", "--no-sync", "--encoding=UTF8", "--locale=C").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.Run(settings...)
}

// own gives the folder to the user whom the server runs as.
func (s *Server) own() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return os.Chown(s.dir, uid, gid)
}

// command is a program of PostgreSQL, which refuses to run as root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = "/"
	if u, err := user.Lookup("postgres"); os.Getuid() == 0 && err == nil {
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

// Run starts a server that has stopped.
func (s *Server) Run(settings ...string) error {
	args := []string{"-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-c", "listen_addresses="}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	s.cmd = s.command("postgres", args...)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := pgx.Connect(context.Background(), s.URL("postgres"))
		if err == nil {
			c.Close(context.Background())
			return nil
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the server does not come up: %w\n%s", err, text[max(0, len(text)-4000):])
		}
	}
}

// URL is that of a database of the server; "postgres" is there from the start.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postern@/%s?host=%s", database, s.dir)
}

// Database makes a new, empty one and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	c, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err == nil {
		_, err = c.Exec(t.Context(), "CREATE DATABASE "+name)
		c.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

// Stop ends the server at once, as a power cut does.
func (s *Server) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Restart starts the server again on its data.
func (s *Server) Restart(t testing.TB, settings ...string) {
	t.Helper()
	s.Stop()
	if err := s.Run(settings...); err != nil {
		t.Fatal(err)
	}
}
