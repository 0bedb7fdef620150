//go:build unix

package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Follow makes a standby of s in a folder, which is empty and has a short path,
// and starts it. The setting primary_conninfo says how it asks for what is new;
// without it, it asks at the socket of s.
func (s *Server) Follow(dir string, settings ...string) (*Server, error) {
	f := &Server{dir: dir, bin: s.bin}
	if err := f.own(); err != nil {
		return nil, err
	}
	out, err := f.command("pg_basebackup", "-D", filepath.Join(dir, "data"), "-h", s.dir, "-U", "postern",
		"--checkpoint=fast", "--wal-method=stream", "--no-sync", "-R").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return f, f.Run(settings...)
}

// Promote makes a primary of a standby.
func (s *Server) Promote(ctx context.Context) error {
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var done bool
	if err := c.QueryRow(ctx, `SELECT pg_promote(true, 60)`).Scan(&done); err != nil {
		return err
	}
	if !done {
		return errors.New("the standby was not promoted within a minute")
	}
	return nil
}

// Followed waits until a standby has connected that commits wait for.
func (s *Server) Followed(ctx context.Context) error {
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		var n int
		if err := c.QueryRow(ctx, `SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')`).Scan(&n); err != nil || n > 0 {
			return err
		}
	}
	return errors.New("no standby followed within a minute")
}

// Socket is the path of the socket at which s listens.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// Remove stops a server and removes its data.
func (s *Server) Remove() error {
	s.Stop()
	return os.RemoveAll(filepath.Join(s.dir, "data"))
}

// Freeze stops all processes of a server where they are, and Thaw lets them go on.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw is the end of Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

// signal tells the server's first process and its children, each of which is a
// session of its own.
func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.cmd.Process.Pid, s.cmd.Process.Pid))
	var pid int
	for rest := string(children); ; {
		if n, _ := fmt.Sscan(rest, &pid); n == 0 {
			return
		}
		_ = syscall.Kill(pid, sig)
		rest = rest[len(fmt.Sprint(pid)):]
		for len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
	}
}

// RequireStandby makes the server of a database wait for a standby of this name at
// each commit, or for none where name is "", and returns when it does.
func RequireStandby(t testing.TB, url, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + name + "'", "SELECT pg_reload_conf()"} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	// Each process of the server reads the file when it comes to it. A commit that
	// waits shows that those did who decide of it.
	for waits := name == ""; !waits; {
		probe, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := probe.Exec(ctx, `SELECT pg_logical_emit_message(true, 'probe', '')`)
			ended <- err
		}()
		for over := false; !over; {
			select {
			case err := <-ended:
				if over = true; err != nil && !waits {
					t.Fatal(err)
				}
				continue
			case <-time.After(5 * time.Millisecond):
			}
			var ends bool // one that waits is ended
			if err := admin.QueryRow(ctx, `SELECT COALESCE((SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'), false)`, probe.PgConn().PID()).Scan(&ends); err != nil {
				t.Fatal(err)
			}
			waits = waits || ends
		}
		_ = probe.Close(ctx)
	}
}
