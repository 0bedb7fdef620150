package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/control"
	"postern/config"
	"postern/queue"
	"postern/relay/oauth"
	"postern/relay/route"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// moments differ with the time zone.
var moments = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

// opened is an error of the file system, as os gives it.
func opened(err error) error { return &fs.PathError{Op: "open", Path: "/x", Err: err} }

// Every judgement on this machine, from facts alone.
// mode is the file info of something with a mode alone.
type mode fs.FileMode

func (mode) Name() string        { return "s" }
func (mode) Size() int64         { return 0 }
func (m mode) Mode() fs.FileMode { return fs.FileMode(m) }
func (mode) ModTime() time.Time  { return time.Time{} }
func (m mode) IsDir() bool       { return false }
func (mode) Sys() any            { return nil }

func TestJudgements(t *testing.T) {
	folder := func(mode fs.FileMode, uid int) place { return place{Path: "/spool", Mode: fs.ModeDir | mode, UID: uid} }
	file := func(mode fs.FileMode, uid int) place { return place{Path: "/key", Mode: mode, UID: uid, GID: 4711} }
	socket := func(m fs.FileMode) fs.FileInfo { return mode(fs.ModeSocket | m) }
	pickup := func(mode fs.FileMode, uid int) place {
		return place{Path: "/pickup", Mode: fs.ModeDir | mode, UID: uid, GID: 4711}
	}
	lone := func(list ...Finding) []Finding { return list }
	took := func(p50, p99 time.Duration) syncs {
		s := syncs{Took: slices.Repeat([]time.Duration{p50}, 100)}
		s.Took[99] = p99
		return s
	}
	good := &fileSystem{Kind: "ext4", Free: 10 << 30, Total: 100 << 30, FreeInodes: 1 << 20, Inodes: 1 << 21}
	listener := &config.Listener{Name: "mail", Address: "127.0.0.1:2525", Network: "tcp", Target: "127.0.0.1:2525"}
	var all strings.Builder
	for _, c := range []struct {
		name string
		list []Finding
		exit int
	}{
		{"folder: good", lone(judgeFolder(SpoolFolder, folder(0o700, 987654), 987654, false)), 0},
		{"folder: missing", lone(judgeFolder(SpoolFolder, place{Path: "/spool", Err: opened(syscall.ENOENT)}, -1, false)), 73},
		{"folder: missing, of a user", lone(judgeFolder(SpoolFolder, place{Path: "/spool", Err: opened(syscall.ENOENT)}, 987654, false)), 73},
		{"folder: missing, and made", lone(judgeFolder(SpoolFolder, place{Path: "/spool", Err: opened(syscall.ENOENT)}, -1, true)), 0},
		{"folder: out of sight", lone(judgeFolder(SpoolFolder, place{Path: "/spool", Err: opened(syscall.EACCES)}, -1, false)), 73},
		{"folder: a file", lone(judgeFolder(SpoolFolder, place{Path: "/spool", Mode: 0o600}, -1, false)), 73},
		{"folder: open to others", lone(judgeFolder(SpoolFolder, folder(0o755, 987654), 987654, false)), 73},
		{"folder: somebody else's", lone(judgeFolder(StateFolder, folder(0o700, 987653), 987654, false)), 73},
		{"disk: good", lone(judgeFileSystem("/spool", good), judgeSpace("/spool", good, 256<<20, nil), judgeInodes("/spool", good)), 0},
		{"disk: read-only", lone(judgeFileSystem("/spool", &fileSystem{Kind: "ext4", ReadOnly: true})), 73},
		{"disk: tmpfs", lone(judgeFileSystem("/spool", &fileSystem{Kind: "tmpfs"})), 0},
		{"disk: overlay", lone(judgeFileSystem("/spool", &fileSystem{Kind: "overlay"})), 0},
		{"disk: nfs", lone(judgeFileSystem("/spool", &fileSystem{Kind: "nfs"})), 0},
		{"disk: unknown", lone(judgeFileSystem("/spool", &fileSystem{}), judgeFileSystem("/spool", &fileSystem{Err: opened(syscall.EACCES)})), 0},
		{"space: little", lone(judgeSpace("/spool", &fileSystem{Free: 300 << 20, Total: 1 << 30}, 256<<20, nil)), 0},
		{"space: none", lone(judgeSpace("/spool", &fileSystem{Free: 100 << 20, Total: 1 << 30}, 256<<20, nil)), 75},
		{"space: a small volume", lone(judgeSpace("/spool", &fileSystem{Free: 40 << 20, Total: 48 << 20}, 256<<20, nil)), 75},
		{"space: as large as it may be", lone(judgeSpace("/spool", good, 256<<20, &control.Status{Spool: control.Spool{Usage: spool.Usage{Full: true, MaxSize: 1 << 30}}})), 75},
		{"space: not told", lone(judgeSpace("/spool", &fileSystem{Err: opened(syscall.EACCES)}, 1, nil)), 0},
		{"inodes: few", lone(judgeInodes("/spool", &fileSystem{FreeInodes: 500, Inodes: 10000})), 0},
		{"inodes: none", lone(judgeInodes("/spool", &fileSystem{Inodes: 10000})), 75},
		{"sync: good", lone(judgeSync("/spool", took(2*time.Millisecond, 9*time.Millisecond))), 0},
		{"sync: slow", lone(judgeSync("/spool", took(35*time.Millisecond, 130*time.Millisecond))), 0},
		{"sync: a lie", lone(judgeSync("/spool", took(3*time.Microsecond, 9*time.Microsecond))), 0},
		{"sync: full", lone(judgeSync("/spool", syncs{Err: opened(syscall.ENOSPC)})), 73},
		{"sync: read-only", lone(judgeSync("/spool", syncs{Err: opened(syscall.EROFS)})), 73},
		{"sync: not allowed", lone(judgeSync("/spool", syncs{Err: opened(syscall.EACCES)})), 0},
		{"sync: a broken disk", lone(judgeSync("/spool", syncs{Err: opened(syscall.EIO)})), 73},
		{"sync: no time", lone(judgeSync("/spool", syncs{})), 0},
		{"queue: empty", judgeQueue("/spool", &waiting{}, time.Hour, now), 0},
		{"queue: young", judgeQueue("/spool", &waiting{Messages: 1, Listed: 1, Oldest: now.Add(-time.Minute)}, time.Hour, now), 0},
		{"queue: old, damaged, in doubt", judgeQueue("/spool", &waiting{Messages: 2, Listed: 2, Oldest: now.Add(-5 * time.Hour), InDoubt: 1, SetAside: 2}, 0, now), 0},
		{"queue: some later", judgeQueue("/spool", &waiting{Messages: 5, Listed: 6, Oldest: now.Add(-time.Minute), Later: map[string]bool{"a": true, "b": true}}, time.Hour, now), 0},
		{"queue: all later", judgeQueue("/spool", &waiting{Messages: 2, Listed: 2, Oldest: now.Add(time.Hour)}, time.Hour, now), 0},
		{"pickup: as the package makes it", lone(judgePickup(pickup(0o733|fs.ModeSticky|fs.ModeSetgid, 987654), 987654, false)), 0},
		{"pickup: missing", lone(judgePickup(place{Path: "/pickup", Err: opened(syscall.ENOENT)}, 987654, false)), 73},
		{"pickup: of somebody else", lone(judgePickup(pickup(0o733|fs.ModeSticky|fs.ModeSetgid, 987653), 987654, false)), 73},
		{"pickup: not sticky", lone(judgePickup(pickup(0o733|fs.ModeSetgid, 987654), 987654, false)), 0},
		{"pickup: without its group", lone(judgePickup(pickup(0o733|fs.ModeSticky, 987654), 987654, false)), 0},
		{"pickup: read by all", lone(judgePickup(pickup(0o777|fs.ModeSticky|fs.ModeSetgid, 987654), 987654, false)), 0},
		{"pickup: not for its owner", lone(judgePickup(pickup(0o500, 987654), 987654, false)), 73},
		{"pickup: empty", judgeLying("/pickup", drops{}, time.Second, true, now), 0},
		{"pickup: lying, in bad", judgeLying("/pickup", drops{Files: 2, Oldest: now.Add(-time.Hour), Bad: 1}, time.Second, true, now), 0},
		{"pickup: no daemon", judgeLying("/pickup", drops{Files: 1, Oldest: now.Add(-time.Minute)}, time.Second, false, now), 0},
		{"pickup: not read", judgeLying("/pickup", drops{Err: opened(syscall.EACCES)}, time.Second, true, now), 0},
		{"queue: not read", judgeQueue("/spool", &waiting{Err: errors.New("no")}, 0, now), 0},
		{"secret: good", lone(judgeSecret(FileSecret, "the password", file(0o600, 987654), 987654)), 0},
		{"secret: open", lone(judgeSecret(FileSecret, "the password", file(0o644, 987654), 987654)), 77},
		{"secret: not the daemon's", lone(judgeSecret(FileKey, "the key", file(0o600, 987653), 987654)), 77},
		{"secret: missing", lone(judgeSecret(FileKey, "the key", place{Path: "/key", Err: opened(syscall.ENOENT)}, 0)), 77},
		{"socket: good", lone(judgeSocket("/s", socket(0o660), nil, 0o660, "read mail")), 0},
		{"socket: changed", lone(judgeSocket("/s", socket(0o666), nil, 0o660, "read mail")), 0},
		{"socket: open to others", lone(judgeSocket("/s", socket(0o666), nil, 0o666, "read mail")), 0},
		{"socket: gone", lone(judgeSocket("/s", nil, opened(syscall.ENOENT), 0o660, "read mail")), 0},
		{"socket: a file", lone(judgeSocket("/s", mode(0o660), nil, 0o660, "read mail")), 0},
		{"user: root", lone(judgeUser(0)), 0},
		{"user: of its own", lone(judgeUser(987654)), 0},
		{"clock", lone(judgeClock(clockState{}), judgeClock(clockState{Known: true}), judgeClock(clockState{Known: true, Synced: true})), 0},
		{"resolver: answers", lone(judgeResolver("mx.example", nil), judgeResolver("mx.example", &net.DNSError{IsNotFound: true})), 0},
		{"resolver: silent", lone(judgeResolver("mx.example", &net.DNSError{IsTimeout: true})), 69},
		{"resolver: broken", lone(judgeResolver("mx.example", &net.DNSError{Err: "server misbehaving"})), 69},
		{"listener: free", lone(judgeFree(listener, nil), judgeFree(listener, opened(syscall.EACCES))), 0},
		{"listener: taken", lone(judgeFree(listener, opened(syscall.EADDRINUSE))), 69},
		{"listener: an address of another machine", lone(judgeFree(listener, opened(syscall.EADDRNOTAVAIL))), 69},
		{"listener: answers", lone(judgeBanner(listener, listener.Target, "220 mx ESMTP", nil), judgeBanner(listener, listener.Target, "554 5.7.1 no", nil),
			judgeBanner(listener, listener.Target, "421 busy", nil), judgeBanner(listener, listener.Target, "", opened(syscall.EACCES))), 0},
		{"listener: silent", lone(judgeBanner(listener, listener.Target, "", opened(syscall.ECONNREFUSED))), 69},
		{"configuration: wrong", Configuration("postern.toml", nil, &config.Problems{List: []config.Problem{
			{File: "postern.toml", Line: 3, Key: "retry.lifetime", Text: "is a number", Hint: `write "5d"`}, {Text: "two"}}}), 78},
		{"configuration: doubtful", Configuration("", &config.Config{Warnings: []config.Problem{{Key: "route", Text: "can never match", Hint: "remove it"}},
			Upstreams: map[string]*config.Upstream{"office": {Account: config.Account{Password: config.NewSecret("hunter2")}}}}, nil), 0},
		{"clocks", Clock("office", []Reading{{"x", now, now.Add(time.Second)}, {"y", now, now.Add(3 * time.Minute)}, {"z", now, now.Add(-time.Hour)}}), 0},
		{"token: good", lone(Token("office", &oauth.Status{Present: true, Renewable: true, Expires: now.Add(time.Hour)}, now), Token("office", &oauth.Status{}, now)), 0},
		{"token: ends", lone(Token("office", &oauth.Status{Present: true, Expires: now.Add(time.Hour)}, now)), 0},
		{"token: a login with an end", lone(Token("office", &oauth.Status{Present: true, Renewable: true, Expires: now.Add(time.Hour), LoginEnds: now.Add(8 * 24 * time.Hour)}, now),
			Token("office", &oauth.Status{Present: true, Renewable: true, Expires: now.Add(time.Hour), LoginEnds: now.Add(6 * 24 * time.Hour)}, now)), 0},
		{"client secret", lone(ClientSecret("office", now.Add(30*24*time.Hour), now), ClientSecret("office", now.Add(20*24*time.Hour), now)), 0},
		{"client secret: ended", lone(ClientSecret("office", now.Add(-time.Hour), now)), 77},
		{"token: none", lone(Token("office", &oauth.Status{Problem: "nobody has logged in yet", NeedsLogin: true}, now)), 77},
		{"password: good", lone(Secret("office", "password_file /x", false, nil)), 0},
		{"password: elsewhere", lone(Secret("office", "password_env X", true, errors.New("password_env X: is not set"))), 0},
		{"password: unreadable", lone(Secret("office", "password_file /x", false, errors.New("password_file /x: cannot be read"))), 77},
	} {
		fmt.Fprintf(&all, "== %s\n%s\n", c.name, written(c.list))
		if got := Exit(c.list); got != c.exit {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.exit)
		}
	}
	if strings.Contains(all.String(), "hunter2") {
		t.Error("it tells a password")
	}
	golden(t, "judgements", moments.ReplaceAllString(all.String(), "MOMENT"))
}

func TestDaemonAndLanes(t *testing.T) {
	office := &config.Upstream{Account: config.Account{Name: "office"}, Host: "mx.example", Port: 587}
	cfg := &config.Config{Upstreams: map[string]*config.Upstream{"office": office}}
	status := func(lanes ...control.Lane) *control.Status {
		return &control.Status{Version: "v1", PID: 42, Settings: cfg.Digest(), Healthy: true, Lanes: lanes}
	}
	since := now
	sick := status()
	sick.Version, sick.Settings, sick.Healthy, sick.Problems = "v0", "other", false, []string{"the spool is full"}
	lane := func(state queue.State) *control.Status {
		return status(control.Lane{Upstream: "office", Settings: office.Digest(), State: state, Reason: "535 no", Since: &since, Queued: 2})
	}
	old := lane(queue.Up)
	old.Lanes[0].Settings, old.Lanes[0].RefusedSenders = "other", []string{"a@example.com"}
	var all strings.Builder
	for _, c := range []struct {
		name string
		list []Finding
		exit int
	}{
		{"daemon: well", Daemon(status(), nil, cfg, "v1"), 0},
		{"daemon: not well", Daemon(sick, nil, cfg, "v1"), 69},
		{"daemon: none", Daemon(nil, &control.NoDaemon{Socket: "/c.sock", Err: syscall.ECONNREFUSED}, cfg, "v1"), 69},
		{"daemon: not ours", Daemon(nil, &control.NoDaemon{Socket: "/c.sock", Err: syscall.EACCES}, cfg, "v1"), 0},
		{"lane: no daemon", Lane(office, nil), 0},
		{"lane: not known yet", Lane(office, status()), 0},
		{"lane: up", Lane(office, lane(queue.Up)), 0},
		{"lane: other settings, a refused sender", Lane(office, old), 0},
		{"lane: waiting", Lane(office, lane(queue.Waiting)), 0},
		{"lane: parked", Lane(office, lane(queue.Parked)), 69},
		{"lane: paused", Lane(office, lane(queue.Paused)), 0},
		{"lane: stray", strays(cfg, status(control.Lane{Upstream: "gone", State: queue.Missing, Queued: 3})), 69},
	} {
		fmt.Fprintf(&all, "== %s\n%s\n", c.name, written(c.list))
		if got := Exit(c.list); got != c.exit {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.exit)
		}
	}
	golden(t, "daemon", moments.ReplaceAllString(all.String(), "MOMENT"))
}

func TestCertificateOfAListener(t *testing.T) {
	dir := t.TempDir()
	ca := upstreamtest.NewAuthority(t)
	for _, c := range []struct {
		until time.Time
		want  Status
	}{
		{now.Add(-time.Hour), Failed}, {now.Add(20 * 24 * time.Hour), Warning}, {now.Add(60 * 24 * time.Hour), OK},
	} {
		file, _ := upstreamtest.WritePair(t, dir, "x", ca.IssueUntil(t, c.until, "mx.example"))
		if f := judgeListenerCert(&config.Listener{Name: "mail", CertFile: file}, now); f.Status != c.want || (f.Remedy == "") != (c.want == OK) {
			t.Errorf("until %v: %+v", c.until, f)
		}
	}
	for _, text := range []string{"", "no PEM"} {
		file := filepath.Join(dir, "y.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if f := judgeListenerCert(&config.Listener{CertFile: file}, now); f.Status != Failed {
			t.Errorf("%q: %+v", text, f)
		}
	}
}

func TestBannerClock(t *testing.T) {
	for banner, want := range map[string]string{
		"mx ESMTP Sendmail 8.17.1/8.17.1; Sun, 1 Mar 2026 12:00:00 GMT":                            "2026-03-01T12:00:00Z",
		"MX.PROD.OUTLOOK.COM Microsoft ESMTP MAIL Service ready at Sun, 1 Mar 2026 12:00:00 +0000": "2026-03-01T12:00:00Z",
		"mx ESMTP Exim 4.96 Sun, 01 Mar 2026 13:00:00 +0100":                                       "2026-03-01T12:00:00Z",
		"mx ESMTP Postfix":              "",
		"mx 99 Foo 2026 12:00:00 +0000": "",
	} {
		got := ""
		if r, ok := BannerClock(banner, now); ok {
			got = r.Then.UTC().Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", banner, got, want)
		}
	}
}

func TestEnvelopes(t *testing.T) {
	cfg := &config.Config{Hostname: "app1.example.com", Listeners: []config.Listener{{Name: "mail"}}, Routes: []config.Route{
		{Name: "route 1", From: []string{"taken@example.com"}, Upstream: []string{"other"}},
		{Name: "route 2", From: []string{"taken@example.com", "a@example.com", "*@example.net", "*@*.example.org", "root@*", "<>"}, Upstream: []string{"office"}},
		{Name: "route 3", From: []string{"a@example.com"}, To: []string{"*@b.example"}, Upstream: []string{"office"}},
		{Name: "route 4", User: []string{"app"}, Upstream: []string{"backup", "office"}},
	}}
	routes, err := route.New(cfg.Routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"", "", []string{"a@example.com>a@example.com ", "postmaster@example.net>postmaster@example.net *@example.net",
			"postmaster@mail.example.org>postmaster@mail.example.org *@*.example.org", "root@app1.example.com>root@app1.example.com root@*",
			">postmaster@app1.example.com ", "postmaster@app1.example.com>postmaster@app1.example.com *"}},
		{"x@example.com", "y@example.com", []string{"x@example.com>y@example.com ", "a@example.com>y@example.com ",
			"postmaster@example.net>y@example.com *@example.net", "postmaster@mail.example.org>y@example.com *@*.example.org",
			"root@app1.example.com>y@example.com root@*", ">y@example.com "}},
	} {
		list, more := Envelopes(cfg, routes, "office", c.from, c.to)
		var got []string
		for _, e := range list {
			got = append(got, e.From+">"+e.To+" "+e.Pattern)
		}
		if !slices.Equal(got, c.want) || more != 0 {
			t.Errorf("from %q: %q, want %q", c.from, got, c.want)
		}
	}
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("a%d@example.com", i))
	}
	cfg.Routes = []config.Route{{Name: "route 1", From: many, Upstream: []string{"office"}}}
	if routes, err = route.New(cfg.Routes); err != nil {
		t.Fatal(err)
	}
	if list, more := Envelopes(cfg, routes, "office", "", ""); len(list) != maxEnvelopes || more != 10 {
		t.Errorf("%d, and %d more", len(list), more)
	}
}

// Syncs are measured without leaving anything behind.
func TestMeasureSync(t *testing.T) {
	dir := t.TempDir()
	s := measureSync(t.Context(), dir)
	if s.Err != nil || len(s.Took) == 0 || !slices.IsSorted(s.Took) {
		t.Errorf("%+v", s)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v left, %v", left, err)
	}
	if s := measureSync(t.Context(), filepath.Join(dir, "missing")); !errors.Is(s.Err, fs.ErrNotExist) {
		t.Errorf("%v", s.Err)
	}
}

// The vocabulary, its exit codes and docs/doctor.md say the same.
func TestEveryFindingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z]+)` \\| (\\d+) \\|")
	documented := map[ID]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		documented[ID(m[1])] = m[2]
	}
	for id, exit := range exits {
		if documented[id] != fmt.Sprint(exit) {
			t.Errorf("%s: documented with exit code %q, and it is %d", id, documented[id], exit)
		}
	}
	for id := range documented {
		if exits[id] == 0 {
			t.Errorf("%s is documented and does not exist", id)
		}
	}
}

// However often a clock is read, one reading of it is told.
func TestClocksAreToldOnce(t *testing.T) {
	var c clocks
	for range 3 {
		c.dated("idp.example", time.Now())
	}
	c.dated("other.example", time.Now())
	if found := Clock("office", c.list); len(found) != 2 || found[0].Text != "the clock agrees with the provider of tokens at idp.example" {
		t.Errorf("%+v", found)
	}
}
