package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/relay/upstream/upstreamtest"
)

// foreignText is in a file that the configuration does not name.
const foreignText = "F0reignSecretOfAnother"

// changing is a file that the configuration names, and that is exchanged again
// and again for what else can stand in its place.
type changing struct {
	path string
	good []byte
	// wrong: what stands there may be wrong, and not only unreadable.
	wrong bool
	// words: what is wrong is told with its words, as of other texts that people
	// write; whoever can exchange it is trusted with what this user may read.
	words bool
}

// exchange puts another thing in the place of the file, and the file back.
func (c *changing) exchange(t *testing.T, other string) {
	next := c.path + fmt.Sprintf(".%d", rand.Uint32())
	make := []func() error{
		func() error { return os.Symlink(filepath.Join(other, "none"), next) },
		func() error { return os.Symlink(filepath.Base(c.path), next) },
		func() error { return syscall.Mkfifo(next, 0o600) },
		func() error { return os.Symlink("/dev/zero", next) },
		func() error { return os.Symlink("/dev/tty", next) },
		func() error { return os.Symlink("/proc/self/mem", next) },
		func() error { return os.Symlink(other, next) }, // a folder
		func() error { return os.WriteFile(next, c.good, 0o666) },
		func() error { return sparse(next, 10<<30) },
		func() error { return growing(next) },
	}
	if c.wrong {
		make = append(make,
			func() error { return os.WriteFile(next, c.good[:len(c.good)/2], 0o600) },
			func() error { return os.WriteFile(next, nil, 0o600) },
		)
	}
	if !c.words && c.wrong {
		make = append(make, func() error { return os.Symlink(filepath.Join(other, "foreign"), next) })
	}
	if os.Getenv("POSTERN_LONG") != "" { // it is waited for, for a second
		make = append(make, func() error { return os.Symlink("/proc/kmsg", next) })
	}
	if err := make[rand.IntN(len(make))](); err != nil {
		t.Error(err)
		return
	}
	_ = os.Rename(next, c.path)
	time.Sleep(time.Duration(rand.IntN(int(20 * time.Millisecond))))
	c.restore(t)
}

// restore puts the file back.
func (c *changing) restore(t *testing.T) {
	next := c.path + ".good"
	if err := os.WriteFile(next, c.good, 0o600); err != nil {
		t.Error(err)
		return
	}
	if err := os.Rename(next, c.path); err != nil {
		t.Error(err)
	}
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

// growing is a file that grows while it may be read.
func growing(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	go func() {
		defer f.Close()
		block := []byte(strings.Repeat("x", 64<<10))
		for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); {
			_, _ = f.Write(block)
		}
	}()
	return nil
}

// Files are exchanged for links, pipes, devices, folders and others' secrets
// while the relay starts, reloads, signs in and is looked at: everything ends in
// time, mail is taken and none is lost, nothing of a foreign file is shown, and
// no descriptor is left open.
func TestFilesThatChange(t *testing.T) {
	rounds, starts := 8, 4
	if os.Getenv("POSTERN_LONG") != "" {
		rounds, starts = 20, 20
	}
	if n, err := strconv.Atoi(os.Getenv("POSTERN_EXCHANGES")); err == nil {
		rounds, starts = n, n // 200 take three minutes
	}
	asks, port := startPasswordServer(t, "the right one")
	go func() {
		for range asks.wrong { // whatever was sent in its place
		}
	}()
	listen := freeAddr(t)
	text := strings.Replace(ordinary(listen, "127.0.0.1:"+port), "tls = \"off\"\n", "tls = \"off\"\nauth = \"plain\"\nusername = \"u\"\npassword_file = \"DIR/named/pw\"\n", 1)
	text = strings.Replace(text, "name = \"mail\"\n", "name = \"mail\"\ntls = \"starttls\"\ncert_file = \"DIR/named/cert.pem\"\nkey_file = \"DIR/named/key.pem\"\n", 1) +
		"[submission]\naliases = \"DIR/named/aliases\"\n[upstream.spare]\nhost = \"mx.example\"\nca_file = \"DIR/named/ca.pem\"\n"
	h := newHarness(t, text)
	pair := upstreamtest.Forge(t, nil, nil, nil)
	key, err := x509.MarshalPKCS8PrivateKey(pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.DER})
	named, other := filepath.Join(h.dir, "named"), filepath.Join(h.dir, "other")
	for _, dir := range []string{named, other, filepath.Join(h.dir, "conf.d")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, "foreign"), []byte(foreignText+" = "+foreignText+": "+foreignText+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []*changing{
		{filepath.Join(named, "pw"), []byte("the right one\n"), false, false},
		{filepath.Join(named, "cert.pem"), cert, true, false},
		{filepath.Join(named, "ca.pem"), cert, true, false},
		{filepath.Join(named, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), true, false},
		{filepath.Join(named, "aliases"), []byte("root: ann@example.com\n"), true, false},
		{filepath.Join(h.dir, "conf.d", "more.toml"), []byte("[[route]]\nfrom = [\"*@else.example\"]\nupstream = [\"spare\"]\n"), true, true},
	}
	for _, f := range files {
		f.restore(t)
	}
	h.start()
	began := time.Now()
	before := h.open(t)
	stop := h.exchanging(files, other)
	shown, worst := "", time.Duration(0)
	timed := func(args ...string) {
		began := time.Now()
		r := h.do(args...)
		worst = max(worst, time.Since(began))
		shown += r.stdout + r.stderr
	}
	for i := range rounds {
		timed("reload")
		c, err := smtp.DialStartTLS(listen, &tls.Config{InsecureSkipVerify: true}) // it is signed by itself
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SendMail("a@example.com", []string{"b@example.com"}, bytes.NewReader(message(fmt.Sprint("kept ", i)))); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if i%3 == 0 {
			timed("check")
			timed("upstream", "test", "office")
		}
		timed("status")
	}
	stop()
	h.must("reload")
	h.do("upstream", "resume", "office")
	eventually(t, "all of the mail arrived", func() bool { return len(asks.sink.received()) >= rounds })
	if after := h.open(t); after > before+16 {
		t.Errorf("%d descriptors were open, and %d are", before, after)
	}
	h.stop()
	stop = h.exchanging(files, other)
	for range starts {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		cmd := h.command(ctx, "serve")
		cmd.Stdout, cmd.Stderr = h.log, h.log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end(cmd, time.Duration(rand.IntN(int(300*time.Millisecond))))
		if ctx.Err() != nil {
			t.Error("a start does not end")
		}
		cancel()
		worst = max(worst, time.Since(began))
	}
	stop()
	t.Logf("the longest of all took %v, of %v", worst, time.Since(began))
	if worst > 15*time.Second {
		t.Errorf("one took %v", worst)
	}
	if all := shown + h.log.String(); strings.Contains(strings.ToLower(all), strings.ToLower(foreignText)) {
		i := strings.Index(strings.ToLower(all), strings.ToLower(foreignText))
		t.Errorf("what is in another file is shown: %s", all[max(0, i-300):i+50])
	}
}

// exchanging exchanges files until what it returns is called, which puts all of
// them back.
func (h *harness) exchanging(files []*changing, other string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, f := range files {
		all.Go(func() {
			for ctx.Err() == nil {
				f.exchange(h.t, other)
				time.Sleep(time.Duration(rand.IntN(int(40 * time.Millisecond))))
			}
		})
	}
	h.t.Cleanup(cancel)
	return func() {
		cancel()
		all.Wait()
	}
}

// open is how many descriptors the daemon has.
func (h *harness) open(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// end tells a process to end after a while, and waits until it has.
func end(cmd *exec.Cmd, after time.Duration) {
	time.Sleep(after)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}
