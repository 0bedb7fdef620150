//go:build unix

package pickup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/config"
	"postern/relay/route"
	"postern/relay/submission"
	"postern/spool"
	"postern/spool/storetest"
)

// rig is a folder, looked at by hand, over a store in memory.
type rig struct {
	*testing.T
	dir    string
	store  *storetest.Memory
	full   error  // what Create fails with
	create func() // called by it
	watch  *watch
	mu     sync.Mutex
	asides []string // why files were set aside
	events []string
}

func (r *rig) Create(ctx context.Context) (spool.Draft, error) {
	if r.create != nil {
		r.create()
	}
	if r.full != nil {
		return nil, r.full
	}
	return r.store.Create(ctx)
}

func (r *rig) Known(ctx context.Context, k *spool.Key) error { return r.store.Known(ctx, k) }

func newRig(t *testing.T) *rig { return newRigOf(t, func(*config.Config) {}) }

// newRigOf has a configuration that change has changed.
func newRigOf(t *testing.T, change func(*config.Config)) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir(), store: storetest.NewMemory()}
	cfg := config.Default()
	cfg.Hostname = "relay.example.com"
	cfg.Pickup.Dir, cfg.Pickup.Settle = r.dir, 0
	cfg.Pickup.Limits.MaxMessageSize, cfg.Pickup.Limits.RepairHeaders = 1<<20, true
	change(cfg)
	routes, err := route.New([]config.Route{{From: []string{"*@example.com", "<>"}, Upstream: []string{"office"}}})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := submission.NewPolicy(cfg, routes)
	if err != nil {
		t.Fatal(err)
	}
	agent := submission.New(submission.Options{Accept: r})
	agent.Use(policy)
	server := New(Options{Submission: agent, Events: func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, fmt.Sprintf("%T", e))
		if aside, ok := e.(*SetAside); ok {
			r.asides = append(r.asides, aside.File+": "+aside.Why)
		}
	}})
	server.Use(cfg)
	r.watch = &watch{server: server, seen: map[string]look{}, left: map[string]look{}, owners: map[uint32]time.Time{}, named: map[string]time.Time{}}
	t.Cleanup(r.watch.close)
	return r
}

func (r *rig) write(name, text string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	return path
}

// look looks at the folder once, and returns the messages of the store.
func (r *rig) look() []spool.Summary {
	r.Helper()
	r.watch.pause = time.Time{}
	r.watch.round(context.Background())
	var all []spool.Summary
	if err := r.store.Find(context.Background(), spool.Query{}, func(s spool.Summary) bool { all = append(all, s); return true }); err != nil {
		r.Fatal(err)
	}
	return all
}

// left are the names in the folder, and in bad.
func (r *rig) left(folder string) (names []string) {
	r.Helper()
	entries, err := os.ReadDir(filepath.Join(r.dir, folder))
	if err != nil {
		r.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != badFolder {
			names = append(names, e.Name())
		}
	}
	return names
}

const mail = "From: a@example.com\nTo: b@example.org\nSubject: s\n\nhi\n"

func TestTaken(t *testing.T) {
	r := newRig(t)
	r.write("one.eml", mail)
	r.write("TWO.EML", "X-Sender: <a@example.com> RET=HDRS ENVID=x+20y\r\nX-Receiver: <c@example.org> NOTIFY=FAILURE,DELAY\r\nX-Receiver: d@example.org\r\nFrom: other@example.com\r\nTo: nobody@example.org\r\nBcc: secret@example.org\r\n\r\nhi")
	r.write("notes.txt", "stays")
	r.write(".hidden.eml", "stays")
	if got := r.look(); len(got) != 2 {
		t.Fatalf("%d messages: %q", len(got), r.asides)
	}
	for _, s := range r.look() {
		d, err := r.store.Detail(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		env := d.Envelope
		if env.Listener != config.PickupListener || env.UnixUser == "" || env.Peer != "pickup:"+env.UnixUser || env.Key == nil || env.From != "a@example.com" {
			t.Errorf("envelope %+v", env)
		}
		if len(env.Recipients) == 2 && (env.Return != "HDRS" || env.EnvelopeID != "x+20y" || env.Recipients[0].Notify != spool.NotifyFailure|spool.NotifyDelay || env.Recipients[1].Address != "d@example.org") {
			t.Errorf("envelope %+v", env)
		}
	}
	if names := r.left("."); !reflect.DeepEqual(names, []string{".hidden.eml", "notes.txt"}) {
		t.Errorf("left %q", names)
	}
}

// A message is never taken while it may not be whole.
func TestNeverHalf(t *testing.T) {
	r := newRig(t)
	r.watch.server.settings.Load().settle = time.Hour
	path := r.write("app.eml", mail)
	r.write("postern-1.eml", mail) // renamed to that when it was whole
	if got := r.look(); len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	passed := func() {
		for name, l := range r.watch.seen {
			l.at = l.at.Add(-2 * time.Hour)
			r.watch.seen[name] = l
		}
	}
	passed()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintln(f, "more")
	if got := r.look(); len(got) != 1 {
		t.Fatal("it was taken although it had changed")
	}
	passed()
	r.create = func() { fmt.Fprintln(f, "more, while it is read") }
	if got := r.look(); len(got) != 1 || len(r.asides) > 0 {
		t.Fatalf("it was taken although it changed meanwhile: %q", r.asides)
	}
	r.create = nil
	if r.look(); len(r.left(".")) != 1 {
		t.Fatal("it is gone")
	}
	passed()
	if got := r.look(); len(got) != 2 || len(r.left(".")) != 0 {
		t.Fatalf("%d messages, left %q", len(got), r.left("."))
	}
}

// A crash between the commit and the removal: the message is there once.
func TestOnceAfterACrash(t *testing.T) {
	r := newRig(t)
	path := r.write("postern-1.eml", mail)
	r.watch.set = r.watch.server.settings.Load()
	if err := r.watch.open(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	f := finding{"postern-1.eml", info, ownerOf(info)}
	file, key, err := r.watch.folder.open(f.name, info)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := r.watch.submit(t.Context(), r.watch.client(f.owner), f, file, key); err != nil {
		t.Fatal(err)
	}
	if got := r.look(); len(got) != 1 || len(r.left(".")) != 0 {
		t.Fatalf("%d messages, left %q", len(got), r.left("."))
	}
	// The same message again is another one, even with the same times.
	at := info.ModTime()
	r.write("postern-1.eml", mail)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	if got := r.look(); len(got) != 2 {
		t.Errorf("%d messages", len(got))
	}
}

// A full spool keeps files where they are.
func TestLater(t *testing.T) {
	r := newRig(t)
	r.write("a.eml", mail)
	r.full = fmt.Errorf("no: %w", spool.ErrFull)
	if got := r.look(); len(got) != 0 || len(r.left(".")) != 1 || len(r.asides) != 0 {
		t.Fatalf("%d messages, left %q, %q", len(got), r.left("."), r.asides)
	}
	if !time.Now().Before(r.watch.pause) {
		t.Error("it is tried again at once")
	}
	r.full = nil
	if got := r.look(); len(got) != 1 || len(r.left(".")) != 0 {
		t.Errorf("%d messages, left %q", len(got), r.left("."))
	}
}

func TestPanic(t *testing.T) {
	r := newRig(t)
	r.write("a.eml", mail)
	r.create = func() { panic("bug") }
	r.look()
	if len(r.asides) != 1 || len(r.left("bad")) != 2 {
		t.Errorf("%q, in bad %q", r.asides, r.left("bad"))
	}
}

func TestSetAside(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(mail), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func(path string) error
		why  string
	}{
		"a link": {func(p string) error { return os.Symlink(secret, p) }, "no regular file"},
		"a pipe": {func(p string) error { return syscall.Mkfifo(p, 0o666) }, "no regular file"},
		"a device": {func(p string) error {
			if os.Getuid() != 0 {
				return syscall.Mkfifo(p, 0o666) // which root alone can make
			}
			return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) // endless
		}, "no regular file"},
		"a socket":       {func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o666, 0) }, "no regular file"},
		"a second name":  {func(p string) error { return os.Link(secret, p) }, "hard link"},
		"huge":           {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 1<<40)) }, "larger than the limit"},
		"a bit too long": {func(p string) error { return os.WriteFile(p, []byte(mail+strings.Repeat("x\n", 1<<19)), 0o600) }, "larger than the limit"},
		"empty":          {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "no sender"},
		"no recipient":   {func(p string) error { return os.WriteFile(p, []byte("From: a@example.com\n\nhi"), 0o600) }, "no recipient"},
		"no route": {func(p string) error {
			return os.WriteFile(p, []byte("From: a@elsewhere.example\nTo: b@x.org\n\nhi"), 0o600)
		}, "550 5.7.1"},
		"bad address": {func(p string) error {
			return os.WriteFile(p, []byte("X-Sender: a@example.com\nX-Receiver: <b@>\n\nhi"), 0o600)
		}, "is not an address"},
		"bad parameter": {func(p string) error {
			return os.WriteFile(p, []byte("X-Sender: a@example.com EVIL=1\nX-Receiver: b@x.org\n\nhi"), 0o600)
		}, "not understood"},
		"two senders": {func(p string) error {
			return os.WriteFile(p, []byte("X-Sender: a@example.com\nX-Sender: b@example.com\nX-Receiver: b@x.org\n\nhi"), 0o600)
		}, "more than one X-Sender"},
		"resent": {func(p string) error {
			return os.WriteFile(p, []byte("From: a@example.com\nResent-To: b@x.org\n\nhi"), 0o600)
		}, "Resent-"},
		"a long header": {func(p string) error { return os.WriteFile(p, []byte("X: "+strings.Repeat("x", maxHead+1<<16)), 0o600) }, "header is larger"},
		"binary":        {func(p string) error { return os.WriteFile(p, []byte(mail+"\x00"), 0o600) }, "NUL"},
	} {
		r := newRig(t)
		if err := c.make(filepath.Join(r.dir, "x.eml")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := r.look(); len(got) != 0 || len(r.asides) != 1 || !strings.Contains(r.asides[0], c.why) {
			t.Errorf("%s: %d messages, %q, want %q", name, len(got), r.asides, c.why)
			continue
		}
		if names := r.left("bad"); len(r.left(".")) != 0 || len(names) != 2 || names[1] != names[0]+".reason" {
			t.Errorf("%s: left %q, in bad %q", name, r.left("."), names)
		} else if why, _ := os.ReadFile(filepath.Join(r.dir, "bad", names[1])); !strings.Contains(string(why), c.why) || !strings.Contains(string(why), "file: x.eml") {
			t.Errorf("%s: the reason is %q", name, why)
		}
	}
	if b, _ := os.ReadFile(secret); string(b) != mail {
		t.Error("what a link led to has changed")
	}
}

// In a folder that others can write to, a file that was made elsewhere may not
// be its owner's doing.
func TestForeign(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changes groups, which takes root")
	}
	r := newRig(t)
	if err := errors.Join(os.Chown(r.dir, 0, 12), os.Chmod(r.dir, 0o733|os.ModeSticky|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	r.write("here.eml", mail)
	elsewhere := filepath.Join(t.TempDir(), "x")
	if err := errors.Join(os.WriteFile(elsewhere, []byte(mail), 0o644), os.Rename(elsewhere, filepath.Join(r.dir, "moved.eml"))); err != nil {
		t.Fatal(err)
	}
	if got := r.look(); len(got) != 1 || len(r.asides) != 1 || !strings.HasPrefix(r.asides[0], "moved.eml: ") {
		t.Errorf("%d messages, %q", len(got), r.asides)
	}
}

// A file has the rights of its owner, who may not be everybody.
func TestOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("gives files to others, which takes root")
	}
	const shop, other = 12345, 12346 // no user has these numbers, so that they are names as they are
	r := newRigOf(t, func(cfg *config.Config) {
		cfg.Submission.FromOf = map[string][]string{"12346": {"other@example.com"}}
	})
	for name, uid := range map[string]int{"shop.eml": shop, "other.eml": other} {
		if err := os.Chown(r.write(name, mail), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	got := r.look()
	if len(got) != 1 || len(r.asides) != 1 || !strings.HasPrefix(r.asides[0], "other.eml: ") || !strings.Contains(r.asides[0], "may send as") {
		t.Fatalf("%d messages, %q", len(got), r.asides)
	}
	d, err := r.store.Detail(t.Context(), got[0].ID)
	if err != nil || d.Envelope.UnixUser != "12345" || d.Envelope.Peer != "pickup:12345" {
		t.Errorf("%+v, %v", d, err)
	}
	if names := r.left("bad"); len(names) != 2 {
		t.Errorf("in bad %q", names)
	}
}

// A folder of that name is nobody's message; a name may hold anything; and a
// file that is renamed while it is read is taken by its new name, once.
func TestStrangeNames(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(filepath.Join(r.dir, "folder.eml"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write("a\nb\x1b[31m\xff.eml", mail)
	r.write("c\nd.eml", "no mail")
	if got := r.look(); len(got) != 1 || len(r.asides) != 1 {
		t.Errorf("%d messages, %q", len(got), r.asides)
	}
	names := r.left("bad")
	if len(names) != 2 {
		t.Fatalf("in bad %q", names)
	}
	if why, err := os.ReadFile(filepath.Join(r.dir, "bad", names[1])); err != nil || strings.Count(string(why), "\n") != 2 || strings.Contains(string(why), "\x1b") {
		t.Errorf("the reason is %q, %v", why, err)
	}
	from, to := r.write("from.eml", mail), filepath.Join(r.dir, "to.eml")
	r.create = func() {
		r.create = nil
		if err := os.Rename(from, to); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		r.look()
	}
	if got := r.look(); len(got) != 2 || len(r.asides) != 1 {
		t.Errorf("%d messages, %q", len(got), r.asides)
	}
	if names := r.left("."); !reflect.DeepEqual(names, []string{"folder.eml"}) {
		t.Errorf("left %q", names)
	}
}

// What lies in bad is counted, and bounded.
func TestBadIsBounded(t *testing.T) {
	r := newRig(t)
	r.write("a.eml", "no mail")
	r.look()
	r.watch.close() // counted anew where it is opened
	r.write("b.eml", "no mail")
	r.look()
	if held := r.watch.folder.held; held != 4 || len(r.left("bad")) != 4 {
		t.Errorf("%d are counted, %q", held, r.left("bad"))
	}
	r.watch.folder.held = maxBad
	r.write("c.eml", "no mail")
	if r.look(); len(r.left("bad")) != 4 || !reflect.DeepEqual(r.left("."), []string{"c.eml"}) {
		t.Errorf("in bad %q, left %q", r.left("bad"), r.left("."))
	}
}

// Somebody else's "bad" is moved out of the way, and nothing of it followed.
func TestBadOfSomebodyElse(t *testing.T) {
	r := newRig(t)
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(r.dir, badFolder)); err != nil {
		t.Fatal(err)
	}
	r.write("x.eml", "nothing")
	r.look()
	if names, _ := os.ReadDir(elsewhere); len(names) != 0 || len(r.left("bad")) != 2 {
		t.Errorf("elsewhere %v, in bad %q", names, r.left("bad"))
	}
}

// A folder that is not there, or was exchanged, is no end.
func TestFolderComesAndGoes(t *testing.T) {
	r := newRig(t)
	gone := r.dir + ".gone"
	if err := os.Rename(r.dir, gone); err != nil {
		t.Fatal(err)
	}
	r.watch.round(t.Context())
	if r.watch.server.Trouble() == nil {
		t.Error("no trouble")
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.write("x.eml", mail)
	if got := r.look(); len(got) != 1 || r.watch.server.Trouble() != nil {
		t.Errorf("%d messages, %v", len(got), r.watch.server.Trouble())
	}
	if want := []string{"*pickup.Unusable", "*pickup.Usable"}; !reflect.DeepEqual(r.events, want) {
		t.Errorf("events %q", r.events)
	}
}

// Whoever leaves thousands of files has the others wait for none of them.
func TestInTurn(t *testing.T) {
	of := func(owner uint32, n int) (all []finding) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			all = append(all, finding{"x", info, owner})
		}
		return all
	}
	all := inTurn(map[uint32][]finding{1: of(1, 2000), 2: of(2, 1), 3: of(3, 2)}, 2003)
	if len(all) != 2003 {
		t.Fatalf("%d", len(all))
	}
	for i, f := range all[:5] {
		if i < 3 && f.owner == 1 && i > 0 && all[i-1].owner == 1 {
			t.Errorf("two of one owner in a row: %d", i)
		}
		if i >= 5 && f.owner != 1 {
			t.Errorf("%d: owner %d", i, f.owner)
		}
	}
}

// What there is no room for in one look is found by the next.
func TestMany(t *testing.T) {
	r := newRig(t)
	const n = perOwner + 200
	for i := range n {
		r.write(fmt.Sprintf("postern-%d.eml", i), mail)
	}
	if got := r.look(); len(got) != perOwner || !r.watch.full {
		t.Errorf("%d messages at first, %v", len(got), r.watch.full)
	}
	if got := r.look(); len(got) != n || len(r.left(".")) != 0 {
		t.Errorf("%d messages, %d left", len(got), len(r.left(".")))
	}
	r.look()
	if r.watch.full || len(r.watch.findings) > 0 {
		t.Error("it goes on")
	}
}

// FuzzEnvelope: nothing of a file becomes an address that is none, and the fields
// of the envelope don't go on.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("X-Sender: \"a\" <a@example.com> RET=FULL\r\nX-Receiver: <b@example.org>\r\n\r\nhi"))
	f.Add([]byte("From: a@example.com\r\nTo: b@example.org\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		e, rest, err := readEnvelope(head)
		if err != nil {
			return
		}
		for _, to := range e.to {
			if to.Address == "" || strings.ContainsAny(to.Address, "\r\n\x00") {
				t.Fatalf("%q: recipient %q", head, to.Address)
			}
		}
		if len(rest) > len(head) || strings.ContainsAny(e.From+e.Name+e.Remark, "\r\n\x00") {
			t.Fatalf("%q: %+v %q", head, e, rest)
		}
	})
}

// A name of an address book waits in the folder until its book can be asked, and
// keeps no other message waiting; one that may mean two is set aside with both.
func TestNamesOfBooks(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "people.csv")
	r := newRigOf(t, func(cfg *config.Config) {
		cfg.Books = []config.Book{{Name: "people", Provider: config.BookCSV, File: gone}}
	})
	mail := func(to string) string {
		return "X-Sender: <me@example.com>\r\nX-Receiver: <" + to + ">\r\nSubject: x\r\n\r\nhi\r\n"
	}
	r.write("carol.eml", mail(`"carol white"`))
	if all := r.look(); len(all) != 0 || len(r.left(".")) != 1 || len(r.asides) != 0 {
		t.Fatalf("%d messages, left %q, set aside %q", len(all), r.left("."), r.asides)
	}
	r.write("other.eml", mail("other@example.net"))
	before := r.watch.pause
	r.watch.round(t.Context())
	if !r.watch.pause.Equal(before) || len(r.left(".")) != 1 || len(r.watch.named) != 1 {
		t.Fatalf("left %q, set aside %q: the others wait for it", r.left("."), r.asides)
	}
	for name := range r.watch.named {
		r.watch.named[name] = time.Now()
	}
	if err := os.WriteFile(gone, []byte("name,email\nCarol White,carol@example.net\nBob,bob@example.net\nBob,bob2@example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all := r.look(); len(all) != 2 || len(r.left(".")) != 0 {
		t.Fatalf("%d messages, left %q, set aside %q", len(all), r.left("."), r.asides)
	}
	r.write("bob.eml", mail("bob"))
	if all := r.look(); len(all) != 2 || len(r.asides) != 1 || !strings.Contains(r.asides[0], `"bob" may be Bob <bob@example.net> (people) or Bob <bob2@example.net> (people)`) {
		t.Errorf("%d messages, set aside %q", len(all), r.asides)
	}
}
