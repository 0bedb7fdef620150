package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"postern/config"
	"postern/relay/route"
	"postern/relay/submission"
	"postern/relay/submission/submissiontest"
)

// TestNames: names are completed and expanded as by every other way in, those of
// a finished message and those of JSON.
func TestNames(t *testing.T) {
	r := newRig(t, "max_recipients = 6")
	routes, err := route.New(submissiontest.Routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range submissiontest.Names {
		t.Run(c.Name, func(t *testing.T) {
			policy, err := submission.NewPolicy(&config.Config{Hostname: "mx.example.com", Submission: c.Submission, Books: c.OpenBooks(t, "shop")}, routes)
			if err != nil {
				t.Fatal(err)
			}
			r.agent.Use(policy)
			query := url.Values{"from": {c.From}, "to": c.To}
			raw := r.do(call{path: "/v1/messages?" + query.Encode(), kind: mediaMail, body: c.Header + "X: y\r\n\r\nhello\r\n"})
			fields, _ := json.Marshal(map[string]any{"from": c.From, "to": c.To, "text": "hello"})
			mail := r.do(call{path: "/emails", body: string(fields)})
			for way, a := range map[string]*answered{"raw": raw, "JSON": mail} {
				if c.Refused != "" {
					_, sentence, _ := strings.Cut(c.Refused, " ")
					_, sentence, _ = strings.Cut(sentence, " ")
					text, _ := a.json(t)["message"].(string)
					if a.status < 400 || !strings.Contains(text, sentence) || a.json(t)["smtp_code"] == nil {
						t.Errorf("%s: %d %s, want %q", way, a.status, a.body, sentence)
					}
					continue
				}
				if a.status != http.StatusOK {
					t.Fatalf("%s: %d %s", way, a.status, a.body)
				}
				content, env := r.message(a.json(t)["id"].(string))
				var got []string
				for i := range env.Recipients {
					got = append(got, submissiontest.Show(&env.Recipients[i]))
				}
				if env.From != c.Want || !slices.Equal(got, c.Recipients) {
					t.Errorf("%s: from %q to %q, want %q to %q", way, env.From, got, c.Want, c.Recipients)
				}
				kept := c.Kept
				if kept == "" {
					kept = c.Header
				}
				if way == "raw" && !strings.Contains(content, "\r\n"+kept+"X: y\r\n") {
					t.Errorf("kept %q", content)
				}
				if way == "JSON" && c.Submission.Domain != "" && !strings.Contains(content, "\r\nFrom: "+c.Want+"\r\n") {
					t.Errorf("kept %q", content)
				}
			}
		})
	}
}
