//go:build unix

package main

import (
	"context"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNamesAndStaging: names and staging in a real relay, by SMTP, by HTTP and by
// send, with an aliases file that is edited.
func TestNamesAndStaging(t *testing.T) {
	addr := freeAddr(t)
	text := strings.Replace(capturing, "ADDR", addr, 1)
	text = strings.Replace(text, "[[route]]", "[submission]\ndomain = \"example.com\"\naliases = \"DIR/aliases\"\n[[route]]", 1)
	text = strings.Replace(text, "[retry]", "redirect = [\"qa@example.com\"]\nallow_to = [\"*@ops.example\"]\n[retry]", 1)
	h := newHarness(t, text)
	file := filepath.Join(h.dir, "aliases")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, old, old); err != nil { // not one that is being written
			t.Fatal(err)
		}
	}
	write("root: one@ops.example, customer@shop.example\n")
	h.start()
	if err := smtp.SendMail(addr, nil, "root", []string{"root"}, []byte("From: root (Cron Daemon)\r\nTo: root\r\nSubject: by SMTP\r\n\r\nhi\r\n")); err != nil {
		t.Fatal(err)
	}
	send := func(stdin string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		cmd := h.command(ctx, append([]string{"send"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	send("hi\n", "--from", "app@example.com", "--to", "customer@shop.example", "--bcc", "secret@shop.example", "--subject", "by HTTP", "--text", "-")
	send("From: root\nTo: postmaster\nSubject: raw\n\nhi\n", "--raw", "-t")
	all := strings.Join(h.captured(3), "")
	for want, n := range map[string]int{
		"Delivered-To: qa@example.com\r\n": 3, "Delivered-To: one@ops.example\r\n": 2, "Delivered-To: ": 5, "From: root@example.com (Cron Daemon)\r\nTo: root@example.com\r\n": 1,
		"X-Postern-Original-To: customer@shop.example\r\n": 1, "X-Postern-Original-To: secret@shop.example\r\n": 1, "X-Postern-Original-To: 1 more, which the log names\r\n": 2,
	} {
		if strings.Count(all, want) != n {
			t.Errorf("%d times %q in\n%s", strings.Count(all, want), want, all)
		}
	}
	write("root: |/bin/sh\n")
	eventually(t, "the bad file is told", func() bool { // it is looked at once a second, where a name is asked for
		if err := smtp.SendMail(addr, nil, "root", []string{"root"}, []byte("Subject: a bad edit\r\n\r\nhi\r\n")); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(h.log.String(), `"event":"aliases-kept"`)
	})
	r := h.do("reload")
	if r.code != exitConfig || !strings.Contains(r.stdout+r.stderr, "aliases:1: leads to a command") {
		t.Errorf("a reload with a bad file: %+v", r)
	}
	h.stop()
	if log := h.log.String(); !strings.Contains(log, `"to":"customer@shop.example, secret@shop.example"`) {
		t.Errorf("log\n%s", log)
	}
}
