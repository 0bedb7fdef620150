//go:build unix

package main

import (
	"fmt"
	"net"
	"net/smtp"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

// Two upstreams, each with its own sender and key, the second without 8BITMIME:
// what fails over from the one to the other is rewritten, converted and signed as
// that one wants it. The daemon is confined, and reads its keys again at a reload.
func TestEachUpstreamGetsItsOwnForm(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := freeAddr(t)
	one, stopOne := serveSink(t, l, nil)
	two := startSink(t, second)
	listen := freeAddr(t)
	text := strings.Replace(ordinary(listen, l.Addr().String()), `upstream = ["office"]`, `upstream = ["office", "backup"]`, 1)
	text = strings.Replace(text, "tls = \"off\"\n", "tls = \"off\"\nsender = \"alerts@one.example\"\n", 1)
	host, port, _ := net.SplitHostPort(second)
	text += fmt.Sprintf("[upstream.backup]\nhost = %q\nport = %s\ntls = \"off\"\nwithout = [\"8BITMIME\"]\nsender = \"alerts@two.example\"\n", host, port)
	if runtime.GOOS == "linux" {
		text = "confine = \"auto\"\n" + text
	}
	h := newHarness(t, text)
	records := map[string]string{}
	for _, domain := range []string{"one.example", "two.example"} {
		out := h.must("dkim", "new", domain, "--selector", "m1", "--type", "ed25519", "--out", filepath.Join(h.dir, domain+".key"))
		text += fmt.Sprintf("[dkim.%q]\nkeys = [{ selector = \"m1\", key_file = \"DIR/%s.key\" }]\n", domain, domain)
		record := regexp.MustCompile(`"(v=DKIM1[^"]*)"`).FindStringSubmatch(out)
		if record == nil {
			t.Fatalf("no record in %s", out)
		}
		records["m1._domainkey."+domain] = record[1]
	}
	h.write(text)
	h.start()
	h.must("reload")
	content := "From: R\u00f6\u00f6t <root@host.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\u00fc\u00dfe\r\n"
	post := func() {
		t.Helper()
		if err := smtp.SendMail(listen, nil, "root@host.example", []string{"b@example.net"}, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	post()
	eventually(t, "the first upstream has it", func() bool { return len(one.received()) == 1 })
	stopOne()
	post()
	eventually(t, "the second upstream has it", func() bool { return len(two.received()) == 1 && len(h.queued()) == 0 })
	h.stop()
	for _, c := range []struct {
		s            *sink
		domain, from string
		body         string
	}{
		{one, "one.example", "=?utf-8?B?UsO2w7Z0?=", // it has no SMTPUTF8
			"\r\n\r\nGr\u00fc\u00dfe\r\n"},
		{two, "two.example", "=?utf-8?B?UsO2w7Z0?=", "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"},
	} {
		got := c.s.received()[0]
		if c.s.froms[0] != "alerts@"+c.domain || !strings.Contains(got, "\r\nFrom: "+c.from+" <alerts@"+c.domain+">\r\n") || !strings.HasSuffix(got, c.body) {
			t.Errorf("%s: from %q\n%s", c.domain, c.s.froms, got)
		}
		found, err := dkim.VerifyWithOptions(strings.NewReader(got), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
			return []string{records[name]}, nil
		}})
		if err != nil || len(found) != 1 || found[0].Err != nil || found[0].Domain != c.domain {
			t.Errorf("%s: signed by %+v, %v", c.domain, found, err)
		}
	}
}

// An upstream without 8BITMIME refuses nothing that can be converted, and what can't
// be comes back as before.
func TestUpstreamOfSevenBits(t *testing.T) {
	up, listen := freeAddr(t), freeAddr(t)
	s := startSink(t, up)
	h := newHarness(t, strings.Replace(ordinary(listen, up), "tls = \"off\"\n", "tls = \"off\"\nwithout = [\"8BITMIME\"]\n", 1))
	h.start()
	for _, content := range []string{
		"Subject: Gr\u00fc\u00dfe\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\u00fc\r\n--b\r\nContent-Type: a/b\r\n\r\n" + strings.Repeat("\xff", 1000) + "\r\n--b--\r\n",
		"Subject: s\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u00fc\r\n--b--\r\n",
	} {
		if err := smtp.SendMail(listen, nil, "a@example.com", []string{"b@example.net"}, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one arrives, one comes back", func() bool { return len(s.received()) == 2 && len(h.queued()) == 0 })
	all := strings.Join(s.received(), "")
	for _, want := range []string{"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n", "\r\n\r\n=C3=BC\r\n--b\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n////", "5.6.3", "the message is 8BITMIME, which the upstream does not take"} {
		if !strings.Contains(all, want) {
			t.Errorf("nowhere is %q in\n%s", want, all)
		}
	}
	h.stop()
	if log := h.log.String(); !strings.Contains(log, `"event":"message-not-converted"`) {
		t.Errorf("log\n%s", log)
	}
}
