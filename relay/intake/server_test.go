package intake

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/config"
)

// serveOn applies listeners to a new server.
func serveOn(t testing.TB, ls ...config.Listener) (*Server, *store, *record) {
	t.Helper()
	st, ev := &store{}, &record{}
	s := newServer(st, ev, nil)
	t.Cleanup(func() { s.Close() })
	if err := s.Apply(&config.Config{Hostname: "mx.example.com", Listeners: ls}, testRoutes(t)); err != nil {
		t.Fatal(err)
	}
	return s, st, ev
}

// talk is a client that checks what it is answered.
type talk struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func talkTo(t testing.TB, a net.Addr) *talk {
	t.Helper()
	nc, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &talk{t, nc, bufio.NewReader(nc)}
}

// expect reads one reply, whole, and checks its beginning.
func (k *talk) expect(prefix string) string {
	k.t.Helper()
	var all string
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			k.t.Fatalf("waiting for %q: %v after %q", prefix, err, all)
		}
		all += line
		if len(line) > 3 && line[3] == ' ' {
			break
		}
	}
	if !strings.HasPrefix(all, prefix) {
		k.t.Fatalf("want %q, got %q", prefix, all)
	}
	return all
}

func (k *talk) send(lines ...string) {
	k.t.Helper()
	if _, err := k.nc.Write([]byte(strings.Join(lines, "\r\n") + "\r\n")); err != nil {
		k.t.Fatal(err)
	}
}

func (k *talk) cmd(line, prefix string) string {
	k.t.Helper()
	k.send(line)
	return k.expect(prefix)
}

func (k *talk) message() {
	k.t.Helper()
	k.cmd("MAIL FROM:<a@example.com>", "250 ")
	k.cmd("RCPT TO:<b@example.net>", "250 ")
	k.cmd("DATA", "354 ")
	k.send("Subject: x", "", "text", ".")
	k.expect("250 2.0.0 queued as ")
}

// closed checks that the server closed the connection.
func (k *talk) closed() {
	k.t.Helper()
	if b, err := k.r.ReadByte(); err == nil {
		rest, _ := k.r.Peek(k.r.Buffered())
		k.t.Fatalf("still open: %q", string(b)+string(rest))
	}
}

func (k *talk) startTLS() {
	k.t.Helper()
	k.cmd("STARTTLS", "220 ")
	tc := tls.Client(k.nc, insecureClient())
	if err := tc.Handshake(); err != nil {
		k.t.Fatal(err)
	}
	k.nc, k.r = tc, bufio.NewReader(tc)
}

func TestTLSModes(t *testing.T) {
	cert, key := testCert(t)
	start, implicit := testListener(), testListener()
	start.Name, start.TLS, start.CertFile, start.KeyFile = "start", config.ListenerTLSStart, cert, key
	implicit.Name, implicit.TLS, implicit.CertFile, implicit.KeyFile = "implicit", config.ListenerTLSImplicit, cert, key
	implicit.Target = "localhost:0"
	s, st, ev := serveOn(t, start, implicit)

	k := talkTo(t, s.Addrs()["start"])
	k.expect("220 ")
	if got := k.cmd("EHLO a.example.com", "250-"); strings.Contains(got, "REQUIRETLS") || !strings.Contains(got, "STARTTLS") {
		t.Errorf("in clear: %q", got)
	}
	k.startTLS()
	k.cmd("MAIL FROM:<a@example.com>", "503 ") // everything begins anew
	if got := k.cmd("EHLO a.example.com", "250-"); !strings.Contains(got, "REQUIRETLS") || strings.Contains(got, "STARTTLS") {
		t.Errorf("under TLS: %q", got)
	}
	k.cmd("STARTTLS", "503 ")
	k.cmd("MAIL FROM:<a@example.com> REQUIRETLS", "250 ")
	k.cmd("RCPT TO:<b@example.net>", "250 ")
	k.cmd("DATA", "354 ")
	k.send("Subject: x", "", ".")
	k.expect("250 ")
	m := st.all()[0]
	if !m.env.RequireTLS || !strings.Contains(m.content, "with ESMTPS id") || !strings.Contains(m.content, "\ttls TLS_") {
		t.Errorf("envelope %+v, content %q", m.env, m.content)
	}

	k = talkTo(t, s.Addrs()["implicit"])
	tc := tls.Client(k.nc, insecureClient())
	k.nc, k.r = tc, bufio.NewReader(tc)
	k.expect("220 ")
	k.cmd("EHLO a.example.com", "250-")
	k.message()

	old := tls.Client(talkTo(t, s.Addrs()["implicit"]).nc, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err := old.Handshake(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	eventually(t, func() bool { return ev.has("TLS failed") })
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not come about")
		}
	}
}

func TestUnixSocket(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("peers of a unix socket are known on Linux and macOS only")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "smtp.sock")
	l := testListener()
	l.Network, l.Target, l.Mode = "unix", path, 0o600
	s, st, _ := serveOn(t, l)
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&fs.ModeSocket == 0 {
		t.Fatalf("socket: %v %v", info, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	k := talkTo(t, s.Addrs()["test"])
	k.expect("220 ")
	k.cmd("EHLO app", "250-")
	k.message()
	if e := st.all()[0].env; e.UnixUser != me.Username || e.Peer != "unix:"+me.Username {
		t.Errorf("peer %q, user %q", e.Peer, e.UnixUser)
	}
	if !strings.Contains(st.all()[0].content, "(local user "+me.Username+")") {
		t.Errorf("%q", st.all()[0].content)
	}
	// A second server finds it served, a later one finds it stale.
	if _, err := listenUnix(path, 0, ""); err == nil || !strings.Contains(err.Error(), "another process answers there") {
		t.Errorf("in use: %v", err)
	}
	s.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	ln, err := listenUnix(path, 0, "")
	if err != nil {
		t.Fatalf("stale: %v", err)
	}
	ln.Close()
	os.Remove(path)
	os.WriteFile(path, nil, 0o600)
	if _, err := listenUnix(path, 0, ""); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
}

func TestReload(t *testing.T) {
	one, two := testListener(), testListener()
	port := freePort(t)
	one.Name, one.Target = "one", port
	two.Name, two.Target = "two", freePort(t)
	s, st, _ := serveOn(t, one, two)
	addr2 := s.Addrs()["two"]

	stays := talkTo(t, s.Addrs()["one"])
	stays.expect("220 ")
	stays.cmd("EHLO a.example.com", "250-")
	goes := talkTo(t, addr2)
	goes.expect("220 ")

	// A listener that can't be opened leaves everything as it was.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	three, four := testListener(), testListener()
	three.Name, three.Target = "three", freePort(t)
	four.Name, four.Target = "four", busy.Addr().String()
	bad := &config.Config{Hostname: "new.example.com", Listeners: []config.Listener{one, three, four}}
	if err := s.Apply(bad, testRoutes(t)); err == nil || !strings.Contains(err.Error(), "listener four") {
		t.Fatalf("error %v", err)
	}
	if len(s.Addrs()) != 2 || s.hostname() != "mx.example.com" {
		t.Fatalf("after a failed reload: %v, %s", s.Addrs(), s.hostname())
	}
	if nc, err := net.Dial("tcp", three.Target); err == nil {
		nc.Close()
		t.Error("a listener of the failed reload is open")
	}

	// Now for real: one stays with other settings, two goes, three comes.
	one.MaxMessageSize = 999
	good := &config.Config{Hostname: "new.example.com", Listeners: []config.Listener{one, three}}
	if err := s.Apply(good, testRoutes(t)); err != nil {
		t.Fatal(err)
	}
	goes.expect("421 4.3.2 ")
	goes.closed()
	if nc, err := net.Dial("tcp", two.Target); err == nil {
		nc.Close()
		t.Error("a removed listener is open")
	}
	stays.message()
	if got := st.all()[0].content; !strings.Contains(got, "by new.example.com") {
		t.Errorf("the new name does not hold: %q", got)
	}
	for _, name := range []string{"one", "three"} {
		k := talkTo(t, s.Addrs()[name])
		k.expect("220 new.example.com ")
		k.cmd("EHLO a.example.com", "250-")
		k.message()
	}
	k := talkTo(t, s.Addrs()["one"])
	k.expect("220 ")
	if got := k.cmd("EHLO a.example.com", "250-"); !strings.Contains(got, "SIZE 999") {
		t.Errorf("new settings don't hold: %q", got)
	}
}

func TestReloadCertificate(t *testing.T) {
	l := testListener()
	l.TLS = config.ListenerTLSImplicit
	l.CertFile, l.KeyFile = testCert(t)
	l.Target = freePort(t)
	s, _, _ := serveOn(t, l)
	serial := func() string {
		tc, err := tls.Dial("tcp", l.Target, insecureClient())
		if err != nil {
			t.Fatal(err)
		}
		defer tc.Close()
		return tc.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	c2, k2 := testCert(t)
	for from, to := range map[string]string{c2: l.CertFile, k2: l.KeyFile} {
		b, _ := os.ReadFile(from)
		os.WriteFile(to, b, 0o600)
	}
	if err := s.Apply(&config.Config{Hostname: "h", Listeners: []config.Listener{l}}, testRoutes(t)); err != nil {
		t.Fatal(err)
	}
	if serial() == before {
		t.Error("the old certificate is still shown")
	}
}

func TestApplyErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Listener)
		want   string
	}{
		"certificate": {func(l *config.Listener) { l.TLS, l.CertFile = config.ListenerTLSStart, "/nonexistent" }, "certificate"},
		"password":    {func(l *config.Listener) { l.Users = map[string]string{"app": "plain"} }, "user app: not a stored password"},
		"systemd":     {func(l *config.Listener) { l.Network, l.Target = "systemd", "smtp" }, `no socket named "smtp"`},
	} {
		t.Run(name, func(t *testing.T) {
			l := testListener()
			c.change(&l)
			s := newServer(&store{}, nil, nil)
			defer s.Close()
			err := s.Apply(&config.Config{Listeners: []config.Listener{l}}, testRoutes(t))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "listener test") {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "plain") {
				t.Error("the error shows what is stored")
			}
		})
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestShutdown(t *testing.T) {
	s, st, _ := serveOn(t, testListener())
	addr := s.Addrs()["test"]
	idle, inData, inChunks := talkTo(t, addr), talkTo(t, addr), talkTo(t, addr)
	for _, k := range []*talk{idle, inData, inChunks} {
		k.expect("220 ")
		k.cmd("EHLO a.example.com", "250-")
		if k != idle {
			k.cmd("MAIL FROM:<a@example.com>", "250 ")
			k.cmd("RCPT TO:<b@example.net>", "250 ")
		}
	}
	inData.cmd("DATA", "354 ")
	inData.send("Subject: x")
	inChunks.cmd("BDAT 12\r\nSubject: x", "250 ")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	idle.expect("421 4.3.2 ")
	idle.closed()
	if _, err := net.DialTimeout("tcp", addr.String(), time.Second); err == nil {
		t.Error("still listening")
	}
	time.Sleep(20 * time.Millisecond)
	inData.send("", "text", ".")
	inData.expect("250 2.0.0 queued")
	inData.expect("421 4.3.2 ")
	inData.closed()
	inChunks.send("BDAT 0 LAST")
	inChunks.expect("250 2.0.0 queued")
	inChunks.expect("421 4.3.2 ")
	inChunks.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(st.all()) != 2 {
		t.Errorf("%d messages", len(st.all()))
	}
	if err := s.Apply(&config.Config{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply after Shutdown: %v", err)
	}
}

func TestShutdownGraceEnds(t *testing.T) {
	s, st, _ := serveOn(t, testListener())
	k := talkTo(t, s.Addrs()["test"])
	k.expect("220 ")
	k.cmd("EHLO a.example.com", "250-")
	k.cmd("MAIL FROM:<a@example.com>", "250 ")
	k.cmd("RCPT TO:<b@example.net>", "250 ")
	k.cmd("DATA", "354 ")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	k.closed()
	if len(st.all()) != 0 || st.open != 0 {
		t.Errorf("%d messages, %d drafts", len(st.all()), st.open)
	}
}

func TestAllow(t *testing.T) {
	for _, c := range []struct {
		allow []string
		users bool
		peer  string
		want  bool
	}{
		{nil, false, "127.0.0.1", true},
		{nil, false, "::1", true},
		{nil, false, "192.0.2.1", false},
		{nil, true, "192.0.2.1", true},
		{[]string{"192.0.2.0/24"}, false, "192.0.2.1", true},
		{[]string{"192.0.2.0/24"}, false, "127.0.0.1", false},
		{[]string{"192.0.2.0/24"}, true, "198.51.100.1", false},
		{[]string{"2001:db8::/32"}, false, "2001:db8::5", true},
	} {
		l := testListener()
		l.Allow = nil
		for _, a := range c.allow {
			l.Allow = append(l.Allow, netip.MustParsePrefix(a))
		}
		if c.users {
			l.Users = map[string]string{"app": testArgon}
		}
		set, err := newSettings(&l, newShared())
		if err != nil {
			t.Fatal(err)
		}
		if got := set.allows(netip.MustParseAddr(c.peer)); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
}

// TestIdleMemory: what an idle connection costs.
func TestIdleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector costs memory of its own")
	}
	r := newRig(t, func(l *config.Listener) { l.MaxConnections = 5000 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 2000
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = r.dial(fmt.Sprintf("192.0.2.1:%d", i+1))
	}
	eventually(t, func() bool {
		waiting := 0
		r.listener.mu.Lock()
		for c := range r.listener.conns {
			if phase(c.watch.phase.Load()) == phaseCommand {
				waiting++
			}
		}
		r.listener.mu.Unlock()
		return waiting == n
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / n
	t.Logf("%d bytes for an idle connection", each)
	if each > 10<<10 {
		t.Errorf("%d bytes for an idle connection", each)
	}
	runtime.KeepAlive(conns)
}

// TestEarlyDataUnderTLS: what is sent together, in records of its own or in one
// that fills the buffer to the last byte, is noticed under TLS, too.
func TestEarlyDataUnderTLS(t *testing.T) {
	cert, key := testCert(t)
	l := testListener()
	l.Name, l.TLS, l.CertFile, l.KeyFile = "implicit", config.ListenerTLSImplicit, cert, key
	l.Early = "refuse"
	s, _, _ := serveOn(t, l)
	const ehlo, rest = "EHLO a.example.com\r\n", "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
	noop := "NOOP " + strings.Repeat("x", smallBuffer-len("NOOP \r\n")-len(ehlo)) + "\r\n"
	for name, c := range map[string]struct {
		before bool // the greeting
		send   []string
		want   string
	}{
		"waits":                {false, []string{ehlo}, "250-"},
		"before the greeting":  {true, []string{ehlo + rest}, "554 5.5.0 data before the greeting"},
		"in one record":        {false, []string{ehlo + rest}, "554 5.5.0 data behind EHLO"},
		"in records":           {false, []string{ehlo, rest}, "554 5.5.0 data behind EHLO"},
		"behind a full buffer": {false, []string{noop + ehlo + rest}, "554 5.5.0 data behind EHLO"},
	} {
		t.Run(name, func(t *testing.T) {
			k := talkTo(t, s.Addrs()["implicit"])
			packet := &together{Conn: k.nc}
			tc := tls.Client(packet, insecureClient())
			if c.before {
				packet.hold = true
			}
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
			k.nc, k.r = tc, bufio.NewReader(tc)
			if !c.before {
				k.expect("220 ")
			}
			packet.hold = true
			for _, text := range c.send {
				if _, err := io.WriteString(tc, text); err != nil {
					t.Fatal(err)
				}
			}
			if err := packet.release(); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.send[0], "NOOP") {
				k.expect("250 ")
			}
			k.expect(c.want)
		})
	}
}

// together sends what is written while it holds as one piece. The first write
// goes at once in any case: TLS needs its hello answered.
type together struct {
	net.Conn
	hold, begun bool
	held        []byte
}

func (p *together) Write(b []byte) (int, error) {
	if !p.hold || !p.begun {
		p.begun = true
		return p.Conn.Write(b)
	}
	p.held = append(p.held, b...)
	return len(b), nil
}

func (p *together) release() error {
	p.hold = false
	_, err := p.Conn.Write(p.held)
	p.held = nil
	return err
}
