package submission_test

import (
	"slices"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/submission"
	"postern/relay/submission/submissiontest"
)

// TestNames: names are completed and expanded in the same way without a protocol
// and by SMTP.
func TestNames(t *testing.T) {
	for _, c := range submissiontest.Names {
		for name, way := range map[string]func(*testing.T, *handedIn, *config.Config, submission.Options) []string{"directly": directly, "by SMTP": bySMTP} {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				cfg := &config.Config{Hostname: "mx.example.com", Listeners: []config.Listener{listener()}, Submission: c.Submission, Books: c.OpenBooks(t)}
				cfg.Listeners[0].MaxRecipients = submissiontest.MaxRecipients
				st := &store{}
				h := &handedIn{envelope: sender(c.From), to: to(c.To...), content: c.Header + "X: y\r\n\r\nhello\r\n", routes: submissiontest.Routes}
				refused := way(t, h, cfg, submission.Options{Accept: st})
				if c.Refused != "" {
					if len(refused) != 1 || !strings.HasPrefix(refused[0], c.Refused) {
						t.Errorf("refused %q, want %q", refused, c.Refused)
					}
					return
				}
				if len(refused) > 0 || st.env == nil {
					t.Fatalf("refused %q", refused)
				}
				var got []string
				for i := range st.env.Recipients {
					r := &st.env.Recipients[i]
					got = append(got, submissiontest.Show(r))
					if _, content, _ := strings.Cut(st.kept, "\nReceived:"); r.Copy && strings.Contains(content, r.Address) {
						t.Errorf("%s is named in %q", r.Address, content)
					}
				}
				if st.env.From != c.Want || !slices.Equal(got, c.Recipients) {
					t.Errorf("from %q to %q, want %q to %q", st.env.From, got, c.Want, c.Recipients)
				}
				kept := c.Kept
				if kept == "" {
					kept = c.Header
				}
				if !strings.Contains(st.kept, "\tNOW\r\n"+kept+"X: y\r\n") {
					t.Errorf("kept %q", st.kept)
				}
			})
		}
	}
}
