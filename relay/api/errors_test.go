package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const good = `{"from":"Shop <shop@example.com>","to":"ann@example.org","subject":"Hello","text":"Hi"}`

// with is good with another field, or another value of one.
func with(field string) string {
	var own map[string]json.RawMessage
	json.Unmarshal([]byte("{"+field+"}"), &own) // one that is too deep has none of good's
	rest := ""
	for _, part := range strings.Split(strings.Trim(good, "{}"), ",") {
		name, _, _ := strings.Cut(part, ":")
		if own[strings.Trim(name, `"`)] == nil {
			rest += part + ","
		}
	}
	return "{" + rest + field + "}"
}

// Each failure has its status, its name for programs, and a sentence.
func TestFailures(t *testing.T) {
	r := newRig(t, "max_message_size = \"64KiB\"\nmax_recipients = 3\nallow = [\"127.0.0.1\"]")
	long := strings.Repeat("x", 200<<10)
	for name, c := range map[string]struct {
		call
		status int
		word   string
		text   string
		smtp   string // code and enhanced code; empty: none
	}{
		"no token":           {call{path: "/emails", body: good, anonymous: true}, 401, nameMissingKey, "a token is required", ""},
		"wrong token":        {call{path: "/emails", body: good, header: []string{"Authorization: Bearer wrong"}}, 403, nameWrongKey, "no token of this relay", ""},
		"long token":         {call{path: "/emails", body: good, header: []string{"Authorization: Bearer " + strings.Repeat("x", 2000)}}, 403, nameWrongKey, "no token", ""},
		"sender, by a route": {call{path: "/emails", body: with(`"from":"a@forbidden.example"`)}, 403, nameFrom, "not from here", "550 5.7.1"},
		"sender, no route":   {call{path: "/emails", body: with(`"from":"a@elsewhere.example"`)}, 403, nameFrom, "postern explain", "550 5.7.1"},
		"recipient":          {call{path: "/emails", body: with(`"to":["nobody@example.org","b@example.org"]`)}, 422, nameInvalid, "nobody lives there", "550 5.7.1"},
		"too many":           {call{path: "/emails", body: with(`"to":["a@b.example","b@b.example","c@b.example","d@b.example"]`)}, 422, nameInvalid, "too many recipients", "452 4.5.3"},
		"bad address":        {call{path: "/emails", body: with(`"to":"bob@"`)}, 422, nameInvalid, "to: ", ""},
		"all that is wrong":  {call{path: "/emails", body: with(`"to":"bob@","subject":"a\nb","headers":{"X-A":"b\r\nBcc: c@d.example"}`)}, 422, nameInvalid, "headers.X-A", ""},
		"line break":         {call{path: "/emails", body: with(`"subject":"a\r\nBcc: victim@example.org"`)}, 422, nameInvalid, "subject: ", ""},
		"empty to":           {call{path: "/emails", body: with(`"to":[]`)}, 422, nameInvalid, "to: ", ""},
		"no from":            {call{path: "/emails", body: with(`"from":""`)}, 422, nameInvalid, "from: ", ""},
		"all, by field":      {call{path: "/emails", body: `{"to":"bob@"}`}, 422, nameInvalid, "not an address; text: there is neither text nor html; from: ", ""},
		"no body":            {call{path: "/emails", body: with(`"text":""`)}, 422, nameInvalid, "neither text nor html", ""},
		"unknown field":      {call{path: "/emails", body: with(`"colour":"red"`)}, 422, nameInvalid, `unknown field "colour"`, ""},
		"wrong kind":         {call{path: "/emails", body: with(`"subject":5`)}, 422, nameInvalid, "subject: cannot be a JSON number", ""},
		"no JSON":            {call{path: "/emails", body: "hello"}, 422, nameInvalid, "invalid character", ""},
		"two values":         {call{path: "/emails", body: good + good}, 422, nameInvalid, "more follows", ""},
		"nothing":            {call{path: "/emails", body: ""}, 422, nameInvalid, "empty", ""},
		"deep":               {call{path: "/emails", body: with(`"template":{"variables":{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}}`)}, 422, nameInvalid, "max depth", ""},
		"path":               {call{path: "/emails", body: with(`"attachments":[{"filename":"a","path":"http://127.0.0.1/"}]`)}, 422, nameAttachment, "this relay fetches nothing", ""},
		"no content":         {call{path: "/emails", body: with(`"attachments":[{"filename":"a"}]`)}, 422, nameAttachment, "attachments[0].content", ""},
		"no base64":          {call{path: "/emails", body: with(`"attachments":[{"filename":"a","content":"?"}]`)}, 422, nameInvalid, "no base64", ""},
		"file name":          {call{path: "/emails", body: with(`"attachments":[{"filename":"a\r\nb","content":"YQ=="}]`)}, 422, nameAttachment, "attachments[0].name", ""},
		"later":              {call{path: "/emails", body: with(`"scheduled_at":"2999-01-01T00:00:00Z"`)}, 422, nameInvalid, "scheduled_at: is more than 30 days ahead", ""},
		"no offset":          {call{path: "/emails", body: with(`"scheduled_at":"2026-11-28T08:00:00"`)}, 422, nameInvalid, "ISO 8601", ""},
		"raw, no time":       {call{path: "/v1/messages?scheduled_at=tomorrow", kind: mediaMail, body: "From: a@example.com\nTo: b@example.org\n\nhi"}, 422, nameInvalid, "scheduled_at: ", ""},
		"notify":             {call{path: "/emails", body: with(`"notify":["never","delay"]`)}, 422, nameInvalid, "notify: is neither", ""},
		"no time":            {call{path: "/emails", body: with(`"scheduled_at":"in 1 min"`)}, 422, nameInvalid, "ISO 8601", ""},
		"no template":        {call{path: "/emails", body: with(`"text":"","template":{"id":"hello"}`)}, 422, nameInvalid, `template.id: there is no template "hello"`, ""},
		"template elsewhere": {call{path: "/emails", body: with(`"text":"","template":{"id":"../messages/hello"}`)}, 422, nameInvalid, "there is no template", ""},
		"template and text":  {call{path: "/emails", body: with(`"template":{"id":"hello"}`)}, 422, nameInvalid, "template: has the text", ""},
		"template, a list":   {call{path: "/emails", body: with(`"text":"","template":{"id":"hello","variables":[]}`)}, 422, nameInvalid, "template.variables: has to be an object", ""},
		"template, no id":    {call{path: "/emails", body: with(`"text":"","template":{}`)}, 422, nameInvalid, "template.id: is missing", ""},
		"too large":          {call{path: "/emails", body: with(`"text":"` + long + `"`)}, 413, nameTooLarge, "larger than the limit", "552 5.3.4"},
		"large, decoded":     {call{path: "/emails", body: with(`"text":"` + strings.Repeat("x", 80<<10) + `"`)}, 413, nameTooLarge, "limit of 64 KiB", "552 5.3.4"},
		"raw, too large":     {call{path: "/v1/messages?from=a@example.com&to=b@example.org", kind: mediaMail, body: "Subject: x\r\n\r\n" + long}, 413, nameTooLarge, "limit of 64 KiB", "552 5.3.4"},
		"raw, long header":   {call{path: "/v1/messages", kind: mediaMail, body: "X-A: " + long + long}, 413, nameTooLarge, "header", "552 5.3.4"},
		"raw, no recipient":  {call{path: "/v1/messages", kind: mediaMail, body: "From: a@example.com\n\nhi"}, 422, nameInvalid, "to: there is no recipient", ""},
		"raw, no sender":     {call{path: "/v1/messages", kind: mediaMail, body: "To: a@example.com\n\nhi"}, 422, nameInvalid, "from: there is none", ""},
		"raw, sent anew":     {call{path: "/v1/messages", kind: mediaMail, body: "From: a@example.com\nTo: b@example.org\nResent-To: c@example.org\n\nhi"}, 422, nameInvalid, "Resent-", ""},
		"raw, bad address":   {call{path: "/v1/messages?to=bob@", kind: mediaMail, body: "From: a@example.com\n\nhi"}, 422, nameInvalid, `to: "bob@" is not an address`, ""},
		"raw, other query":   {call{path: "/v1/messages?too=b@example.org", kind: mediaMail, body: "From: a@example.com\n\nhi"}, 422, nameInvalid, `"too"`, ""},
		"raw, NUL":           {call{path: "/v1/messages", kind: mediaMail, body: "From: a@example.com\nTo: b@example.org\n\nh\x00i"}, 422, nameInvalid, "NUL", "554 5.6.0"},
		"raw, empty":         {call{path: "/v1/messages?from=a%40example.com&to=b%40example.org", kind: mediaMail}, 422, nameInvalid, "empty", ""},
		"compressed":         {call{path: "/emails", body: good, header: []string{"Content-Encoding: gzip"}}, 415, nameMediaType, "Content-Encoding", ""},
		"form post":          {call{path: "/emails", kind: "application/x-www-form-urlencoded", body: "from=a"}, 415, nameMediaType, mediaJSON, ""},
		"plain post":         {call{path: "/emails", kind: "text/plain", body: good}, 415, nameMediaType, mediaJSON, ""},
		"web page":           {call{path: "/emails", body: good, header: []string{"Origin: https://evil.example"}}, 403, nameOrigin, "web pages", ""},
		"web page, by fetch": {call{path: "/emails", body: good, header: []string{"Sec-Fetch-Site: cross-site"}}, 403, nameOrigin, "web pages", ""},
		"web page, socket":   {call{path: "/emails", body: good, socket: true, header: []string{"Origin: null"}}, 403, nameOrigin, "web pages", ""},
		"foreign host":       {call{path: "/emails", body: good, header: []string{"Host: evil.example:2580"}}, 421, nameHost, "evil.example", ""},
		"no such path":       {call{path: "/mails", body: good}, 404, nameNotFound, "/mails", ""},
		"other method":       {call{method: "PUT", path: "/emails", body: good}, 405, nameMethod, "POST", ""},
		"unknown ID":         {call{method: "GET", path: "/emails/1hv1y4bnfw8xc"}, 404, nameNotFound, "no message", ""},
		"no ID":              {call{method: "GET", path: "/emails/%2e%2e"}, 404, nameNotFound, "", ""},
		"cancel unknown":     {call{path: "/emails/1hv1y4bnfw8xc/cancel"}, 404, nameNotFound, "no message", ""},
		"body, none wanted":  {call{path: "/emails/1hv1y4bnfw8xc/cancel", body: "{}"}, 422, nameInvalid, "takes no body", ""},
		"batch, none":        {call{path: "/emails/batch", body: "[]"}, 422, nameInvalid, "1 to 100", ""},
		"batch, many":        {call{path: "/emails/batch", body: "[" + strings.Repeat("{},", 100) + "{}]"}, 422, nameInvalid, "1 to 100", ""},
		"batch, one wrong":   {call{path: "/emails/batch", body: "[" + good + "," + with(`"to":"bob@"`) + "]"}, 422, nameInvalid, "[1].to: ", ""},
		"batch, validation":  {call{path: "/emails/batch", body: "[" + good + "]", header: []string{"X-Batch-Validation: maybe"}}, 422, nameInvalid, "permissive", ""},
		"bad key":            {call{path: "/emails", body: good, header: []string{"Idempotency-Key: " + strings.Repeat("k", 257)}}, 400, nameKey, "1 to 256", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, server: r.server, store: r.store, path: r.path, url: r.url}
			a := r.do(c.call)
			v := a.json(t)
			if a.status != c.status || v["statusCode"] != float64(c.status) || v["name"] != c.word || !strings.Contains(fmt.Sprint(v["message"]), c.text) {
				t.Errorf("got %d %s, want %d %s %q", a.status, a.body, c.status, c.word, c.text)
			}
			smtp := ""
			if v["smtp_code"] != nil {
				smtp = fmt.Sprint(v["smtp_code"], " ", v["enhanced_code"])
			}
			if smtp != c.smtp {
				t.Errorf("SMTP says %q, want %q", smtp, c.smtp)
			}
			if a.header.Get("Content-Type") != mediaJSON || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("header %v", a.header)
			}
		})
	}
	t.Cleanup(func() {
		if n := r.count(); n != 0 {
			t.Errorf("%d messages were accepted", n)
		}
	})
}

// What can be taken later says when.
func TestTemporaryFailures(t *testing.T) {
	r := newRig(t, "rate = \"2/1h\"")
	for range 2 {
		if a := r.do(call{path: "/emails", body: good}); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	a := r.do(call{path: "/emails", body: good})
	if v := a.json(t); a.status != 429 || v["name"] != nameRate || a.header.Get("Retry-After") == "" || v["smtp_code"] != 450.0 {
		t.Errorf("rate: %d %s %v", a.status, a.body, a.header)
	}
	r = newRig(t, "")
	if a := r.do(call{path: "/emails", body: good}); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	r.store.Limit(1)
	a = r.do(call{path: "/emails", body: good})
	if v := a.json(t); a.status != 503 || v["name"] != nameUnavailable || a.header.Get("Retry-After") == "" || v["smtp_code"] != 452.0 || v["enhanced_code"] != "4.3.1" {
		t.Errorf("full: %d %s %v", a.status, a.body, a.header)
	}
}
