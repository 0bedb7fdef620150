//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"postern/cmd/doctor"
	"postern/relay/upstream/upstreamtest"
)

// found is what a command of the doctor printed, by the identifier and the
// subject of each finding: "spool.folder" or "upstream.signin office".
type found struct {
	code int
	list []doctor.Finding
	text string
}

func (h *harness) look(args ...string) *found {
	h.t.Helper()
	r := h.do(append(args, "--json")...)
	f := &found{code: r.code, text: r.stdout}
	if err := json.Unmarshal([]byte(r.stdout), &f.list); err != nil {
		h.t.Fatalf("%v:\n%s%s", err, r.stdout, r.stderr)
	}
	return f
}

// status is that of the worst finding of a kind; "" where there is none.
func (f *found) status(id doctor.ID) (worst doctor.Status) {
	rank := map[doctor.Status]int{"": 0, doctor.OK: 1, doctor.Skipped: 2, doctor.Warning: 3, doctor.Failed: 4}
	for i := range f.list {
		if s := f.list[i].Status; f.list[i].ID == id && rank[s] > rank[worst] {
			worst = s
		}
	}
	return worst
}

// expect compares what was found of some kinds, and the exit code.
func (f *found) expect(t *testing.T, code int, want map[doctor.ID]doctor.Status) {
	t.Helper()
	if f.code != code {
		t.Errorf("exit code %d, want %d\n%s", f.code, code, f.text)
	}
	for id, status := range want {
		if got := f.status(id); got != status {
			t.Errorf("%s is %q, want %q\n%s", id, got, status, f.text)
		}
	}
	if code == 0 && doctor.Count(f.list, doctor.Failed) > 0 {
		t.Errorf("something failed:\n%s", f.text)
	}
	for i := range f.list {
		if s := f.list[i].Status; (s == doctor.Failed || s == doctor.Warning) && f.list[i].Remedy == "" {
			t.Errorf("no remedy: %+v", f.list[i])
		}
	}
}

func TestUpstreamTestAgainstPostfix(t *testing.T) {
	p := upstreamtest.StartPostfix(t)
	configuration := func(password, ca string) string {
		return fmt.Sprintf(`hostname = "relay.example.com"
state_dir = "DIR"
[spool]
dir = "DIR/spool"
min_free = "1MiB"
[control]
socket = "DIR/control.sock"
[[listener]]
name = "mail"
address = %q
[upstream.office]
host = "127.0.0.1"
port = %d
server_name = "mail.postern.test"
%s
auth = "auto"
username = %q
password = %q
[[route]]
from = ["ok@b.example", "*@many.b.example", "<>"]
upstream = ["office"]
`, freeAddr(t), p.Port, ca, upstreamtest.PostfixUser, password)
	}
	good := configuration(upstreamtest.PostfixPassword, fmt.Sprintf("ca_file = %q", p.CA))
	h := newHarness(t, good)
	senders := func(f *found) (lines []string) {
		for i := range f.list {
			if f.list[i].ID == doctor.UpstreamSender {
				lines = append(lines, fmt.Sprintf("%v %v", f.list[i].Facts["from"], f.list[i].Status))
			}
		}
		return lines
	}
	f := h.look("upstream", "test", "office", "--to", "ok@b.example")
	f.expect(t, 0, map[doctor.ID]doctor.Status{
		doctor.UpstreamLane: doctor.Skipped, doctor.UpstreamConnect: doctor.OK, doctor.UpstreamTLS: doctor.OK,
		doctor.UpstreamCert: doctor.OK, doctor.UpstreamName: doctor.OK, doctor.UpstreamMechanism: doctor.OK,
		doctor.UpstreamSignIn: doctor.OK, doctor.UpstreamSender: doctor.OK,
	})
	if got := strings.Join(senders(f), ", "); got != "ok@b.example ok, postmaster@many.b.example ok,  ok" {
		t.Errorf("senders: %s", got)
	}
	h.look("upstream", "test", "office", "--to", "nobody@b.example").expect(t, 0, map[doctor.ID]doctor.Status{doctor.UpstreamSender: doctor.Warning})

	h.write(configuration("chalk", fmt.Sprintf("ca_file = %q", p.CA)))
	f = h.look("upstream", "test", "office")
	f.expect(t, exitNoPerm, map[doctor.ID]doctor.Status{doctor.UpstreamSignIn: doctor.Failed, doctor.UpstreamSender: doctor.Skipped})
	table := h.do("upstream", "test", "office")
	if table.code != exitNoPerm || !strings.Contains(table.stdout, "535 5.7.8") || !strings.Contains(table.stdout, "→ ") {
		t.Errorf("%+v", table)
	}
	for _, text := range []string{f.text, table.stdout, table.stderr} {
		if strings.Contains(text, "chalk") {
			t.Errorf("it shows the password:\n%s", text)
		}
	}
	h.write(configuration(upstreamtest.PostfixPassword, ""))
	h.look("upstream", "test", "office").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{doctor.UpstreamTLS: doctor.Failed, doctor.UpstreamSignIn: doctor.Skipped})
	if r := h.do("upstream", "test", "nobody"); r.code != exitData {
		t.Errorf("%+v", r)
	}
	if n := len(p.Mailbox(t)); n > 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// captured is a whole relay whose mail stays on this machine.
func captured(listen string) string {
	return fmt.Sprintf(`hostname = "relay.example.com"
state_dir = "DIR/state"
[spool]
dir = "DIR/spool"
min_free = "64KiB"
[control]
socket = "DIR/control.sock"
[[listener]]
name = "mail"
address = %q
[upstream.office]
provider = "capture"
[[route]]
from = ["*"]
upstream = ["office"]
`, listen)
}

func TestDoctor(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, captured(listen))
	if err := os.Mkdir(filepath.Join(h.dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(h.dir, "spool")

	h.start()
	h.look("doctor").expect(t, 0, map[doctor.ID]doctor.Status{
		doctor.ConfigFile: doctor.OK, doctor.DaemonRunning: doctor.OK, doctor.DaemonVersion: doctor.OK, doctor.DaemonSettings: doctor.OK,
		doctor.DaemonHealth: doctor.OK, doctor.SpoolFolder: doctor.OK, doctor.SpoolSpace: doctor.OK, doctor.SpoolQueue: doctor.OK,
		doctor.StateFolder: doctor.OK, doctor.ControlSocket: doctor.OK, doctor.ListenerAddress: doctor.OK, doctor.UpstreamSession: doctor.OK,
	})
	h.look("upstream", "test", "office").expect(t, 0, map[doctor.ID]doctor.Status{doctor.UpstreamLane: doctor.OK, doctor.UpstreamSender: doctor.OK, doctor.UpstreamPin: doctor.OK})

	// The file is edited, and the daemon was not told.
	h.write(captured(listen) + "[upstream.other]\nprovider = \"capture\"\n")
	h.look("doctor").expect(t, 0, map[doctor.ID]doctor.Status{doctor.DaemonSettings: doctor.Warning, doctor.UpstreamSettings: doctor.Warning})
	h.write("hostname = 3\n[control]\nsocket = \"DIR/control.sock\"\n[spool]\ndir = \"DIR/spool\"\n")
	h.look("doctor").expect(t, exitConfig, map[doctor.ID]doctor.Status{doctor.ConfigFile: doctor.Failed, doctor.DaemonRunning: doctor.OK, doctor.SpoolFolder: doctor.OK})

	// Another daemon has the spool.
	h.write(strings.Replace(captured(listen), "control.sock", "other.sock", 1))
	locked := map[doctor.ID]doctor.Status{doctor.DaemonRunning: doctor.Failed, doctor.ListenerAddress: doctor.Failed}
	if runtime.GOOS == "linux" {
		locked[doctor.SpoolLock] = doctor.Failed
	}
	h.look("doctor").expect(t, exitUnavailable, locked)

	// Another daemon has the state folder, with a spool of its own.
	h.write(strings.NewReplacer("control.sock", "other.sock", "DIR/spool", "DIR/other").Replace(captured(listen)))
	if runtime.GOOS == "linux" {
		delete(locked, doctor.SpoolLock)
		locked[doctor.StateLock] = doctor.Failed
	}
	h.look("doctor").expect(t, exitUnavailable, locked)

	h.write(captured(listen))
	h.stop()
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{
		doctor.DaemonRunning: doctor.Failed, doctor.SpoolLock: "", doctor.ListenerAddress: doctor.OK, doctor.SpoolQueue: doctor.OK,
		doctor.UpstreamSession: doctor.OK,
	})
	if err := os.Chmod(spool, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(h.dir, "state"), 0o777); err != nil {
		t.Fatal(err)
	}
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{doctor.SpoolFolder: doctor.Failed, doctor.StateFolder: doctor.Failed})
	if err := os.RemoveAll(spool); err != nil {
		t.Fatal(err)
	}
	// The first start makes it, but none of the folders above it.
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{doctor.SpoolFolder: doctor.OK, doctor.SpoolSync: ""})
	h.write(strings.Replace(captured(listen), "DIR/spool", "DIR/missing/spool", 1))
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{doctor.SpoolFolder: doctor.Failed, doctor.SpoolSync: ""})
}

// A full disk and one that is read-only are real ones: a tmpfs of a megabyte.
func TestDoctorOnABrokenDisk(t *testing.T) {
	h := newHarness(t, captured(freeAddr(t)))
	spool := filepath.Join(h.dir, "spool")
	mount := func(options string) error {
		out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "postern-test", spool).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs Linux and root, to mount a small disk")
	}
	if err := mount("size=1m,mode=0700"); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	t.Cleanup(func() { exec.Command("umount", spool).Run() })
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{
		doctor.SpoolFileSystem: doctor.Warning, doctor.SpoolSpace: doctor.OK,
	})
	file, err := os.Create(filepath.Join(spool, "0000000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, strings.NewReader(strings.Repeat("x", 2<<20)))
	file.Close()
	if err == nil {
		t.Fatal("the disk is not full")
	}
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{doctor.SpoolSync: doctor.Failed, doctor.SpoolSpace: doctor.Failed})
	if err := mount("remount,ro"); err != nil {
		t.Fatal(err)
	}
	h.look("doctor").expect(t, exitUnavailable, map[doctor.ID]doctor.Status{doctor.SpoolFileSystem: doctor.Failed, doctor.SpoolSync: doctor.Failed})
}
