package api

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cameTo is what a call of an SDK came to, as a piece of JSON that it holds.
// Answers of Resend's are never errors for its SDK.
var cameTo = map[string][]string{
	"resend send":             {`"ok"`, `"data":{"id":"`, `"error":null`},
	"resend get and cancel":   {`"sent":{"data":{"id":"`, `"last_event":"queued"`, `"cancelled":{"data":{"`},
	"resend batch":            {`"data":{"data":[{"id":"`, `},{"id":"`},
	"resend batch permissive": {`"data":{"data":[{"id":"`, `"errors":[{"index":1,`},
	"resend wrong":            {`"error":{"statusCode":422,"name":"validation_error","message":"to: `},
	"resend key":              {`"two":{"data":{"id":"`, `"repeated":true`, `"other":{"data":null,"error":{"statusCode":409,"name":"invalid_idempotent_request"`},
	"resend wrong token":      {`"error":{"statusCode":403,"name":"invalid_api_key"`},
	"postmark send":           {`"ok":{"ErrorCode":0,"Message":"OK","MessageID":"`},
	"postmark batch":          {`"ok":[{"ErrorCode":0,`, `{"ErrorCode":300,"Message":"To: `},
	"postmark wrong":          {`"error":{"message":"To: `, `"status":422`},
	"sendgrid send":           {`"ok":{"status":202,"id":"`},
	"sendgrid wrong":          {`"error"`, `"message":"personalizations[0].to: `},
	"mailgun send":            {`"ok":{"status":200,"id":"<`, `"message":"Queued. Thank you."`},
	"mailgun plain":           {`"ok":{"status":200`},
	"mailgun mime":            {`"ok":{"status":200`},
	"mailgun wrong":           {`"error"`, `"details":"to: `},
}

// The SDKs of the providers send by this relay, by nothing but another URL:
// npm install resend@6.38.0 postmark@5.1.0 @sendgrid/mail@8.1.6 mailgun.js@14.0.1
// in the folder that POSTERN_MAIL_SDKS names.
func TestSDKs(t *testing.T) {
	missing := t.Skip
	if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
		missing = t.Fatal
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("there is no node")
	}
	dir := os.Getenv("POSTERN_MAIL_SDKS")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "resend")); dir == "" || err != nil {
		missing("POSTERN_MAIL_SDKS names no folder with the SDKs")
	}
	r := newRig(t, "")
	cmd := exec.CommandContext(t.Context(), node, "testdata/sdk.mjs", r.url, secret)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	calls := 0
	for line := range strings.Lines(string(out)) {
		var call struct{ Name string }
		if !strings.HasPrefix(line, "{") {
			continue // SendGrid's tells that the key is none of theirs
		}
		if err := json.Unmarshal([]byte(line), &call); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		calls++
		for _, piece := range cameTo[call.Name] {
			if !strings.Contains(line, piece) {
				t.Errorf("%s: no %s in %s", call.Name, piece, line)
			}
		}
	}
	if calls != len(cameTo) {
		t.Errorf("%d calls, want %d:\n%s", calls, len(cameTo), out)
	}
	// The file was taken apart and put together by four programs.
	found := 0
	for n := 1; n <= len(cameTo)*2; n++ {
		if content, ok := r.content(n); ok && strings.Contains(content, "w7xiZXINCi4NCg==") {
			found++
		}
	}
	if found < 8 {
		t.Errorf("%d messages have the file", found)
	}
}
