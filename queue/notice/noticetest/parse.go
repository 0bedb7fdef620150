// Package noticetest reads notices as their receivers do, for tests.
package noticetest

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
)

// T is the part of testing.TB that a check of a notice needs; rapid has one too.
type T interface {
	Helper()
	Fatalf(string, ...any)
}

// Parse reads a notice as a stranger does, and fails the test where it is not
// well formed. It returns the fields of its recipients.
func Parse(t T, text []byte) []textproto.MIMEHeader {
	t.Helper()
	for i, line := range bytes.SplitAfter(text, []byte("\r\n")) {
		if len(line) > 1000 || bytes.IndexByte(line, '\n') != len(line)-1 && len(line) > 0 || bytes.IndexByte(line, 0) >= 0 {
			t.Fatalf("line %d is too long or broken: %q", i, line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("not a message: %v", err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-replied" {
		t.Fatalf("Auto-Submitted: %q", m.Header.Get("Auto-Submitted"))
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("content type %q: %v", m.Header.Get("Content-Type"), err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var kinds []string
	var recipients []textproto.MIMEHeader
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("part %d: %v", len(kinds)+1, err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		kinds = append(kinds, kind)
		if kind != "message/delivery-status" {
			continue
		}
		body, _ := io.ReadAll(p)
		groups := strings.Split(strings.TrimSuffix(string(body), "\r\n"), "\r\n\r\n")
		for i, g := range groups {
			h, err := readFields(g)
			if err != nil {
				t.Fatalf("group %d: %v\n%s", i, err, g)
			}
			if i > 0 {
				recipients = append(recipients, h)
			} else if h.Get("Reporting-MTA") == "" || h.Get("Arrival-Date") == "" {
				t.Fatalf("fields of the message: %v", h)
			}
		}
	}
	if len(kinds) < 2 || len(kinds) > 3 || kinds[0] != "text/plain" || kinds[1] != "message/delivery-status" {
		t.Fatalf("parts: %v", kinds)
	}
	for _, h := range recipients {
		for _, field := range []string{"Final-Recipient", "Action", "Status"} {
			if len(h[field]) != 1 {
				t.Fatalf("%s: %q in %v", field, h[field], h)
			}
		}
	}
	return recipients
}

func readFields(s string) (textproto.MIMEHeader, error) {
	m, err := mail.ReadMessage(strings.NewReader(s + "\r\n\r\n"))
	if err != nil {
		return nil, err
	}
	return textproto.MIMEHeader(m.Header), nil
}
