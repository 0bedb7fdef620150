package submission_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/archive"
	"postern/relay/submission"
	"postern/spool"
)

// archived are the texts of the copies in a folder, and whether any is cut off.
func archived(t *testing.T, dir string) (texts []string, cut bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		texts, cut = append(texts, string(text)), cut || filepath.Base(filepath.Dir(path)) == "tmp"
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts, cut
}

// TestArchiveFolder: what is taken has a copy that names all recipients, and
// what is refused has none.
func TestArchiveFolder(t *testing.T) {
	routes := []config.Route{
		{Name: "staging", From: []string{"stage@example.com"}, Upstream: []string{"up"}, Staging: config.Staging{AllowTo: []string{"*@example.com"}, Otherwise: config.OtherwiseDrop}},
		{From: []string{"*@example.com"}, Upstream: []string{"up"}},
	}
	const mail = "Date: Mon, 01 Jan 2001 07:40:00 +0000\r\nMessage-ID: <1@x>\r\nBcc: c@example.net\r\n\r\nhello\r\n"
	for _, c := range []struct {
		name, from, to, content string
		fault                   store
		want                    string // how the copy begins; empty: there is none
		refused                 string
	}{
		{name: "taken", from: "a@example.com", to: "b@example.net c@example.net", content: mail,
			want: "X-Envelope-From: <a@example.com>\r\nX-Envelope-To: <b@example.net>\r\nX-Envelope-To: <c@example.net>\r\nReceived: "},
		{name: "dropped", from: "stage@example.com", to: "b@example.net", content: mail,
			want: "X-Envelope-From: <stage@example.com>\r\nX-Envelope-To: <b@example.net>\r\nReceived: "},
		{name: "no recipient", from: "a@elsewhere.example", to: "b@example.net", content: mail, refused: "550"},
		{name: "refused by its content", from: "a@example.com", to: "b@example.net", content: "Subject: x\r\n\r\n\x00\r\n", refused: "554 5.6.0"},
		{name: "not committed", from: "a@example.com", to: "b@example.net", content: mail, fault: store{commit: errors.New("broken")}, refused: "451 4.3.0"},
		{name: "not written", from: "a@example.com", to: "b@example.net", content: mail, fault: store{write: errors.New("broken")}, refused: "451 4.3.0"},
		{name: "taken before", from: "a@example.com", to: "b@example.net", content: mail, fault: store{commit: &spool.Repeated{ID: 3, Same: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "archive")
			if err := archive.New(dir).Prepare(); err != nil {
				t.Fatal(err)
			}
			cfg := &config.Config{Hostname: "mx.example.com", Routes: routes}
			cfg.Submission.ArchiveDir, cfg.Submission.Archive = dir, []string{"archive@example.com"}
			st, place := c.fault, ""
			err := staged(t, cfg, c.from, strings.Fields(c.to), c.content, submission.Options{Accept: &st, Events: func(e submission.Event) {
				if a, ok := e.(*submission.Accepted); ok {
					place = a.Archived
				}
			}})
			if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.HasPrefix(err.Error(), c.refused)) {
				t.Errorf("%v, want %q", err, c.refused)
			}
			texts, cut := archived(t, dir)
			if cut || len(texts) > 1 || (len(texts) == 1) != (c.want != "") || (place != "") != (c.want != "") {
				t.Fatalf("%d copies, cut off: %v, told of %q", len(texts), cut, place)
			}
			if c.want == "" {
				return
			}
			if !strings.HasPrefix(texts[0], c.want) || !strings.HasSuffix(texts[0], "Message-ID: <1@x>\r\n\r\nhello\r\n") {
				t.Errorf("%q", texts[0])
			}
			if _, content, _ := strings.Cut(st.kept, "\nReceived: "); !strings.HasSuffix(dates.ReplaceAllString(texts[0], "NOW"), content) {
				t.Errorf("the copy is %q, the message %q", texts[0], content)
			}
		})
	}
}

// A folder that can't be used refuses mail for the time being.
func TestNoArchiveFolder(t *testing.T) {
	st := &store{}
	cfg := &config.Config{Hostname: "mx.example.com", Routes: []config.Route{{From: []string{"*"}, Upstream: []string{"up"}}}}
	cfg.Submission.ArchiveDir = filepath.Join(t.TempDir(), "missing")
	var cause error
	err := staged(t, cfg, "a@example.com", []string{"b@example.net"}, "Subject: x\r\n\r\nx\r\n", submission.Options{Accept: st, Events: func(e submission.Event) {
		if r, ok := e.(*submission.Refused); ok {
			cause = r.Refusal.Cause
		}
	}})
	if err == nil || !strings.HasPrefix(err.Error(), "451 4.3.0") || strings.Contains(err.Error(), "missing") || st.env != nil || st.open != 0 {
		t.Errorf("%v, kept %+v", err, st.env)
	}
	if cause == nil || !strings.HasPrefix(cause.Error(), "archive_dir: ") {
		t.Errorf("cause %v", cause)
	}
}
