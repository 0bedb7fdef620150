//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"net/smtp"
)

// TestCopies: what was answered with 250 has its copies, in the spool and in the
// folder, whatever happens to the process then; and whoever asks is shown them.
func TestCopies(t *testing.T) {
	listen := freeAddr(t)
	h := newHarness(t, strings.NewReplacer("LISTEN", listen).Replace(`hostname = "mx.example.com"
state_dir = "DIR/state"

[spool]
dir = "DIR/spool"

[control]
socket = "DIR/control.sock"

[submission]
archive = ["archive@example.com"]
archive_dir = "DIR/archive"

[[listener]]
address = "LISTEN"

[[route]]
name = "invoices"
from = ["*"]
upstream = ["office"]
archive = ["invoices@example.com"]

[upstream.office]
host = "127.0.0.1"
port = 1
tls = "off"
`))
	h.must("check")
	h.start()
	if err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.com", "secret@example.com"}, message("copied")); err != nil {
		t.Fatal(err)
	}
	h.kill()
	var files []string
	err := filepath.WalkDir(filepath.Join(h.dir, "archive"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	const envelope = "X-Envelope-From: <a@example.com>\r\nX-Envelope-To: <b@example.com>\r\nX-Envelope-To: <secret@example.com>\r\nReceived: "
	if err != nil || !strings.HasPrefix(string(text), envelope) || !strings.Contains(string(text), "copied") || strings.Contains(string(text), "archive@") {
		t.Errorf("%q, %v", text, err)
	}
	h.start()
	list := h.queued()
	if len(list) != 1 || !strings.Contains(filepath.Base(files[0]), list[0].ID) {
		t.Fatalf("%+v, the copy is %s", list, files[0])
	}
	if got := strings.Join(list[0].Copies, " "); got != "archive@example.com invoices@example.com" || len(list[0].To) != 4 {
		t.Errorf("the list has copies %q of %q", got, list[0].To)
	}
	if text := h.must("queue", "list"); !strings.Contains(text, "<b@example.com> +3 (2 copies)") {
		t.Errorf("the list is %q", text)
	}
	shown := h.must("queue", "show", list[0].ID)
	for _, want := range []string{"<secret@example.com>\n", "<archive@example.com> (a copy for the administrator)\n", "<invoices@example.com> (a copy for the administrator)\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q lacks %q", shown, want)
		}
	}
	explained := h.must("explain", "--from", "a@example.com", "--to", "b@example.com")
	for _, want := range []string{"copy for <archive@example.com> (archive of [submission]): by upstream office\n",
		"copy for <invoices@example.com> (archive of invoices): by upstream office\n", "copy in " + h.dir + "/archive\n"} {
		if !strings.Contains(explained, want) {
			t.Errorf("%q lacks %q", explained, want)
		}
	}
	if !regexp.MustCompile(`"recipients":2,.*"copies":2,"archived":"\d{4}-\d\d-\d\d/\d{4}/` + list[0].ID).MatchString(h.log.String()) {
		t.Error("the log does not tell of the copies")
	}
	// Without its folder nothing is taken, and the log says why.
	if err := os.Rename(filepath.Join(h.dir, "archive"), filepath.Join(h.dir, "away")); err != nil {
		t.Fatal(err)
	}
	err = smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.com"}, message("not copied"))
	if err == nil || !strings.HasPrefix(err.Error(), "451") || strings.Contains(err.Error(), h.dir) {
		t.Errorf("without the folder: %v", err)
	}
	eventually(t, "the cause is told", func() bool { return strings.Contains(h.log.String(), `"cause":"archive_dir: `) })
	h.stop()
	// Nor does the daemon start where the folder can't be made.
	if err := os.WriteFile(filepath.Join(h.dir, "archive"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := h.do("check"); r.code == 0 || !strings.Contains(r.stderr+r.stdout, "submission.archive_dir") {
		t.Errorf("check: %+v", r)
	}
	if r := h.do("serve"); r.code != exitCantCreate || !strings.Contains(r.stderr, "submission.archive_dir") {
		t.Errorf("serve: %+v", r)
	}
}
