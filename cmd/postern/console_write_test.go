//go:build unix

package main

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// At the console somebody is added to a book, a message file is filled in for
// them, looked at and sent: by the rules of every way in, once.
func TestConsoleWrites(t *testing.T) {
	listen, upstream, console := freeAddr(t), freeAddr(t), freeAddr(t)
	text := withConsole(t, listen, upstream, console) + `
[book.team]
provider = "vcards"
dir = "DIR/book"
[[sender]]
listener = ["console"]
user = ["console:ann"]
from = ["*@example.com"]
`
	h := newHarness(t, strings.Replace(text, "[console]", "[console]\nmessages = \"DIR/messages\"", 1))
	dir := filepath.Join(h.dir, "messages")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"hello.toml": "from='Ann <ann@example.com>'\nto=['{{.who}}']\nsubject='Hello {{.who}}'\nhtml='<p>{{.text}}</p>'\n",
		"boss.toml":  "from='boss@example.net'\nto=['{{.who}}']\nsubject='x'\ntext='x'\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sink := startSink(t, upstream)
	h.start()
	v := visit(t, console)
	if page := v.post("/books/team/save", url.Values{"name": {"Alice Liddell"}, "addresses": {"alice@example.org"}, "groups": {"Sales"}}); !strings.Contains(page, "Alice Liddell is added.") {
		t.Fatal(page)
	}
	if got := h.must("book", "find", "liddell"); !strings.Contains(got, "alice@example.org") {
		t.Errorf("the command finds %s", got)
	}
	page := v.post("/message-files/hello", url.Values{"c.who": {"Alice Liddell"}, "c.text": {"See you."}})
	send := regexp.MustCompile(`action="(/made/[A-Z0-9]+/send)"`).FindStringSubmatch(page)
	if send == nil || !strings.Contains(page, "alice@example.org") || !strings.Contains(page, "See you.") {
		t.Fatal(page)
	}
	if len(sink.received()) > 0 || h.spooled() > 0 {
		t.Fatal("it was sent before anybody said so")
	}
	for range 2 {
		if page = v.post(send[1], nil); !strings.Contains(page, ">queued</a>") {
			t.Fatal(page)
		}
	}
	eventually(t, "it is delivered", func() bool { return len(sink.received()) > 0 && len(h.queued()) == 0 })
	if got := sink.received(); len(got) != 1 || !strings.Contains(got[0], "Subject: Hello Alice Liddell\r\n") || !strings.Contains(got[0], "with HTTP") {
		t.Errorf("%q", got)
	}
	if log := h.log.String(); !strings.Contains(log, `"event":"book-changed"`) || !strings.Contains(log, `"remark":"message file hello"`) || !strings.Contains(log, `"user":"console:ann"`) {
		t.Error(log)
	}
	page = v.post("/message-files/boss", url.Values{"c.who": {"b@example.org"}})
	if send = regexp.MustCompile(`action="(/made/[A-Z0-9]+/send)"`).FindStringSubmatch(page); send == nil {
		t.Fatal(page)
	}
	if page = v.post(send[1], nil); !strings.Contains(page, "refused</span> 550 5.7.1") {
		t.Errorf("%s", page)
	}
	if got := h.must("explain", "--listener", "console", "--user", "console:ann", "--from", "ann@example.com", "--to", "b@example.org"); !strings.Contains(got, "office") {
		t.Error(got)
	}
}
