//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// binary is the real program, built once for all end-to-end tests, or the one
// that $POSTERN_BINARY names.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("POSTERN_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "postern-e2e")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "postern")
	build := exec.Command("go", "build", "-o", path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// builtIn is the folder that binary has made; empty: none.
var builtIn string

func TestMain(m *testing.M) {
	beConfined()
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// waitLimit is how long something may take on a busy machine.
const waitLimit = 40 * time.Second

// harness is one daemon with its folder. The folder's path is short: a unix
// socket's path has 103 bytes at most.
type harness struct {
	t      *testing.T
	dir    string
	config string // path of the file; empty: the embedded default
	cmd    *exec.Cmd
	log    *lockedBuffer
	notes  chan string // what it tells systemd
	exited chan struct{}
	// sockets are what systemd would hand over, by FileDescriptorName=.
	sockets []socket
	// limit is how many files the daemon may have open; 0: as many as we.
	limit int
	// wrap changes how the daemon is run; nil: nothing does.
	wrap func(*exec.Cmd)
}

type socket struct {
	name string
	file *os.File
}

func newHarness(t *testing.T, config string) *harness {
	t.Helper()
	dir, err := os.MkdirTemp("", "pst")
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, dir: dir, log: &lockedBuffer{}}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", h.log.String())
		}
		os.RemoveAll(dir)
	})
	if config != "" {
		h.config = filepath.Join(dir, "postern.toml")
		h.write(config)
		if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// write replaces the configuration; DIR in it becomes the harness's folder.
func (h *harness) write(config string) {
	h.t.Helper()
	text := strings.ReplaceAll(config, "DIR", h.dir)
	if err := os.WriteFile(h.config, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) command(ctx context.Context, args ...string) *exec.Cmd {
	h.t.Helper()
	path, err := binary()
	if err != nil {
		h.t.Fatal(err)
	}
	if h.config != "" {
		args = append(args, "--config", h.config)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+h.dir)
	return cmd
}

// start runs the daemon until it says that it is ready.
func (h *harness) start() {
	h.t.Helper()
	path := filepath.Join(h.dir, "notify")
	os.Remove(path)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.notes = make(chan string, 100)
	go readNotes(notify, h.notes)
	h.cmd = h.command(context.Background(), "serve")
	h.cmd.Env = append(h.cmd.Env, "NOTIFY_SOCKET="+path)
	confined(h.cmd)
	if h.wrap != nil {
		h.wrap(h.cmd)
	}
	h.handOver()
	if h.limit > 0 {
		h.cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, h.limit)}, h.cmd.Args...)
		h.cmd.Args[3], h.cmd.Path = h.cmd.Path, "/bin/sh"
	}
	h.cmd.Stdout, h.cmd.Stderr = h.log, h.log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	exited, cmd := make(chan struct{}), h.cmd
	h.exited = exited
	go func() {
		cmd.Wait()
		notify.Close()
		close(exited)
	}()
	h.noted("READY=1")
}

// handOver gives the sockets to the daemon as systemd does: from descriptor 3
// on, in the process that LISTEN_PID names (sd_listen_fds(3)).
func (h *harness) handOver() {
	if len(h.sockets) == 0 {
		return
	}
	var names []string
	for _, s := range h.sockets {
		names = append(names, s.name)
		h.cmd.ExtraFiles = append(h.cmd.ExtraFiles, s.file)
	}
	h.cmd.Env = append(h.cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	h.cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, h.cmd.Args...)
	h.cmd.Path = "/bin/sh"
}

func readNotes(from *net.UnixConn, notes chan<- string) {
	defer close(notes)
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		select {
		case notes <- string(b[:n]):
		default:
		}
	}
}

// noted waits until the daemon tells systemd what.
func (h *harness) noted(what string) {
	h.t.Helper()
	end := time.After(waitLimit)
	for {
		select {
		case note, ok := <-h.notes:
			if !ok {
				h.t.Fatalf("the daemon ended before it said %s:\n%s", what, h.log.String())
			}
			if strings.Contains(note, what) {
				return
			}
		case <-end:
			h.t.Fatalf("the daemon did not say %s", what)
		}
	}
}

// forget drops what the daemon has told systemd so far.
func (h *harness) forget() {
	for {
		select {
		case <-h.notes:
		default:
			return
		}
	}
}

func (h *harness) signal(s os.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
}

// wait waits for the end of the daemon and returns its exit code.
func (h *harness) wait() int {
	h.t.Helper()
	select {
	case <-h.exited:
	case <-time.After(waitLimit):
		h.t.Fatal("the daemon did not end")
	}
	return h.cmd.ProcessState.ExitCode()
}

func (h *harness) stop() {
	h.t.Helper()
	h.signal(syscall.SIGTERM)
	if code := h.wait(); code != 0 {
		h.t.Fatalf("the daemon ended with %d", code)
	}
}

func (h *harness) kill() {
	if h.exited == nil {
		return
	}
	h.cmd.Process.Kill()
	<-h.exited
}

// do runs a command to its end.
func (h *harness) do(args ...string) result {
	h.t.Helper()
	if _, err := binary(); err != nil { // which takes its time, once
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	cmd := h.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs a command that has to succeed and returns what it printed.
func (h *harness) must(args ...string) string {
	h.t.Helper()
	r := h.do(args...)
	if r.code != 0 {
		h.t.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(waitLimit); time.Now().Before(end); {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond) // another process is waited for: nothing to synchronise on
	}
	t.Fatalf("it did not come about: %s", what)
}

// freeAddr is an address that nobody listens at, and that was not given before.
// On Linux it is one of this process, so that no other one can take it before it
// is used.
func freeAddr(t *testing.T) string {
	t.Helper()
	host := "127.0.0.1"
	if pid := os.Getpid(); runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255)
	}
	for {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		if _, given := givenAddrs.LoadOrStore(address, true); !given {
			return address
		}
	}
}

// givenAddrs are those of freeAddr.
var givenAddrs sync.Map

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// sink is an upstream that takes everything, on go-smtp's stock server.
type sink struct {
	mu     sync.Mutex
	bodies []string
	froms  []string // of the messages that were begun
	refuse func(to string) error
	took   func()                     // is called before the final dot is answered; may be nil
	open   map[*sinkSession]time.Time // the sessions that last, and since when
}

func startSink(t *testing.T, addr string) *sink {
	t.Helper()
	s, _ := startSinkTLS(t, addr, nil)
	return s
}

// startSinkTLS offers STARTTLS with conf, or nothing where that is nil, until
// stop is called or the test ends.
func startSinkTLS(t *testing.T, addr string, conf *tls.Config) (s *sink, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return serveSink(t, l, conf)
}

// startImplicitSink speaks TLS from the first byte.
func startImplicitSink(t *testing.T, addr string, conf *tls.Config) *sink {
	t.Helper()
	l, err := tls.Listen("tcp", addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := serveSink(t, l, nil)
	return s
}

func serveSink(t *testing.T, l net.Listener, conf *tls.Config) (s *sink, stop func()) {
	s = &sink{}
	server := smtp.NewServer(s)
	server.Domain, server.TLSConfig = "sink.test", conf
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(l)
	}()
	stop = func() {
		server.Close()
		<-ended
	}
	t.Cleanup(stop)
	return s, stop
}

func (s *sink) NewSession(*smtp.Conn) (smtp.Session, error) {
	n := &sinkSession{s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*sinkSession]time.Time{}
	}
	s.open[n] = time.Now()
	return n, nil
}

// openSince is how many sessions last that were begun before t.
func (s *sink) openSince(t time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, since := range s.open {
		if since.Before(t) {
			n++
		}
	}
	return n
}

func (s *sink) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.bodies...)
}

type sinkSession struct{ sink *sink }

func (sinkSession) Reset() {}
func (s *sinkSession) Logout() error {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	delete(s.sink.open, s)
	return nil
}

func (s sinkSession) Mail(from string, _ *smtp.MailOptions) error {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.froms = append(s.sink.froms, from)
	return nil
}
func (s sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.sink.refuse != nil {
		return s.sink.refuse(to)
	}
	return nil
}

func (s sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.sink.mu.Lock()
	s.sink.bodies = append(s.sink.bodies, string(b))
	s.sink.mu.Unlock()
	if s.sink.took != nil {
		s.sink.took()
	}
	return nil
}
