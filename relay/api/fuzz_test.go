package api

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/config/wire"
	"postern/relay/compose"
)

// Whatever JSON a client sends, nothing but a whole message with the
// recipients that its fields name comes of it.
func FuzzJSON(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(with(`"headers":{"X-A":"b\r\nBcc: c@d.example"}`)))
	f.Add([]byte(with(`"attachments":[{"filename":"a\u0000","content":"="}]`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var mails []*mail
		var r resendMail
		if decode(b, &r) == nil {
			if m, f := r.mail(); f == nil {
				mails = append(mails, m)
			}
		}
		var p postmarkMail
		if decode(b, &p) == nil {
			if m, f := p.mail(); f == nil {
				mails = append(mails, m)
			}
		}
		var s sendgridMail
		if decode(b, &s) == nil {
			if all, f := s.mails(time.Now()); f == nil {
				mails = append(mails, all...)
			}
		}
		for _, m := range mails {
			done, wrong := m.compose("relay.example.com", compose.Message{})
			if len(wrong) > 0 {
				if f := fault(wrong, ""); f.status != 422 || f.text == "" {
					t.Errorf("%+v", f)
				}
				continue
			}
			from, to, _ := done.Envelope()
			for _, address := range append(to, from) {
				if fault := wire.CheckMailbox(address, true); fault != wire.NoFault && fault != wire.NoDomain {
					t.Errorf("address %q", address)
				}
			}
			var out strings.Builder
			if _, err := done.WriteTo(&out); err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(out.String(), "\r\n\r\n")
			for line := range strings.SplitSeq(head, "\r\n") {
				name, _, _ := strings.Cut(strings.ToLower(line), ":")
				if name == "bcc" || strings.ContainsAny(line, "\r\n\x00") {
					t.Errorf("header line %q", line)
				}
			}
			if !wire.WholeLines([]byte(out.String())) {
				t.Error("a bare CR or LF")
			}
		}
	})
}
