package console

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"postern/cmd/definition"
	"postern/config"
	"postern/relay/peer"
)

// slowServer is an SMTP server that says each of its first two words when it is
// let.
func slowServer(t *testing.T) (port int, let func()) {
	t.Helper()
	l, err := peer.ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	words := make(chan struct{}, 2)
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		<-words
		fmt.Fprint(c, "220 slow.example "+hostile+"\r\n")
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "EHLO") {
				<-words
			}
			fmt.Fprint(c, "250 slow.example\r\n")
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, func() { words <- struct{}{} }
}

// until reads a stream up to a part that has a text.
func until(t *testing.T, next func() (string, string), text string) (data string) {
	t.Helper()
	for {
		event, data := next()
		if event != "part" {
			t.Fatalf("%q before %q", event, text)
		}
		if strings.Contains(data, text) {
			return data
		}
	}
}

// The test of an upstream is shown as it goes on: what was found, and what is
// waited for.
func TestWalkStepByStep(t *testing.T) {
	f, s := newRelay(t)
	definable(t, f)
	main := f.config.Upstreams["main"]
	port, let := slowServer(t)
	main.Host, main.Port, main.TLS, main.Auth, main.Username, main.Password = "127.0.0.1", port, config.TLSOff, "none", "", config.Secret{}
	b := open(t, s, "operate")
	_, h, _ := b.post("/upstreams/main/test", nil)
	page := h.Get("Location")
	status, next, _ := b.follow(page + "/stream")
	if status != http.StatusOK {
		t.Fatal(status)
	}
	data := until(t, next, "Now: waiting for the greeting")
	if !strings.Contains(data, "upstream.connect") || strings.Contains(data, "upstream.banner") || strings.Contains(data, "data-over") {
		t.Error(data)
	}
	if _, _, body := b.get(page); !strings.Contains(body, `http-equiv="refresh"`) || !strings.Contains(body, "waiting for the greeting") {
		t.Error("without JavaScript it does not go on:", body)
	}
	let()
	data = until(t, next, "Now: asking what the upstream can do")
	if !strings.Contains(data, "upstream.banner") || !strings.Contains(data, "slow.example") || strings.Contains(data, "<img") {
		t.Error(data)
	}
	let()
	data = until(t, next, "Mail would go.")
	if !strings.Contains(data, "data-over") || !strings.Contains(data, "upstream.sender") || strings.Contains(data, "Now: ") {
		t.Error(data)
	}
	if event, _ := next(); event != "over" {
		t.Error(event)
	}
	if _, _, body := b.get(page); strings.Contains(body, `http-equiv="refresh"`) || strings.Contains(body, "data-stream") || !strings.Contains(body, "Mail would go.") {
		t.Error("it does not end:", body)
	}
	if status, _, _ := b.follow("/tests/another/stream"); status != http.StatusNotFound {
		t.Error(status)
	}
}

// While a definition is tested, others can be made; the stream is that of its page.
func TestWalkHoldsNobodyUp(t *testing.T) {
	f, s := newRelay(t)
	dir := definable(t, f)
	port, let := slowServer(t)
	b := open(t, s, "define")
	form := officeForm()
	form.Set("v.port", strconv.Itoa(port))
	form.Set("v.auth", "none")
	form.Del("v.username")
	form.Del("s.password")
	_, h, body := b.post("/definitions/upstream", form)
	draft := h.Get("Location")
	_, next, _ := b.follow(strings.Replace(draft, "/drafts/", "/tests/", 1) + "/stream")
	if draft == "" {
		t.Fatal(body)
	}
	until(t, next, "Now: waiting for the greeting")
	store, err := s.definitionStore()
	if err != nil {
		t.Fatal(err)
	}
	other := definition.Definition{Kind: definition.Route, Name: "second", Values: map[string]any{"from": []string{"a@b.example"}, "reject": "no"}}
	if _, err := store.Put(t.Context(), other, definition.Change{}); err != nil {
		t.Fatal(err)
	}
	let()
	let()
	until(t, next, "/save")
	if code, h, body := b.post(draft+"/save", url.Values{}); code != http.StatusSeeOther || h.Get("Location") != "/definitions" {
		t.Errorf("%d %s", code, body)
	}
	if all := kept(t, dir); !strings.Contains(all, "[upstream.office]") || !strings.Contains(all, "second") {
		t.Error(all)
	}
}
