//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/relay/passwd"
)

// post sends a request to submit.sock, or to the address that it begins with.
// It returns the status, or 0 where there was no answer.
func (h *harness) post(t *testing.T, method, url, kind, body string, header ...string) (int, map[string]any) {
	t.Helper()
	client := &http.Client{Timeout: waitLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	if strings.HasPrefix(url, "/") {
		client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.dir, "submit.sock"))
		}
		url = "http://localhost" + url
	}
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Header.Set("Content-Type", kind)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	var v map[string]any
	_ = json.Unmarshal(b, &v)
	return res.StatusCode, v
}

const httpMail = `{"from":"Shop <shop@example.com>","to":"ann@example.org","subject":"By HTTP","text":"Hello"}`

// After the first command of the README, one request puts a message into the
// capture Maildir.
func TestHTTPNeedsNoConfiguration(t *testing.T) {
	if !alone(t) {
		return
	}
	h := newHarness(t, "")
	h.start()
	h.dir = filepath.Join(h.dir, "postern")
	if status, v := h.post(t, "POST", "/emails", "application/json", httpMail); status != 200 || v["id"] == nil {
		t.Fatalf("%d %v", status, v)
	}
	if status, v := h.post(t, "POST", "/v1/messages", "message/rfc822", "From: a@example.com\nTo: b@example.org\nSubject: raw\n\nhi\n"); status != 200 {
		t.Fatalf("%d %v", status, v)
	}
	_, v := h.post(t, "POST", "/emails", "application/json", httpMail)
	eventually(t, "it is told as delivered", func() bool {
		status, got := h.post(t, "GET", fmt.Sprintf("/emails/%v", v["id"]), "", "")
		return status == 200 && got["last_event"] == "delivered" && fmt.Sprint(got["to"]) == "[ann@example.org]"
	})
	eventually(t, "both are in the Maildir", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "capture", "new", "*"))
		var all []byte
		for _, f := range files {
			b, _ := os.ReadFile(f)
			all = append(all, b...)
		}
		return bytes.Contains(all, []byte("Subject: By HTTP")) && bytes.Contains(all, []byte("Subject: raw"))
	})
}

// A daemon that is killed at any moment between a request and its answer has
// the message once, when the request with its key is made again.
func TestKilledDaemonTakesAKeyOnce(t *testing.T) {
	rounds := 8
	if os.Getenv("POSTERN_LONG") != "" {
		rounds = 40
	}
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t)))
	h.start()
	answered := 0
	for i := range rounds {
		key := fmt.Sprintf("Idempotency-Key: order/%d", i)
		done := make(chan int, 1)
		go func() {
			status, _ := h.post(t, "POST", "/emails", "application/json", httpMail, key)
			done <- status
		}()
		time.Sleep(rand.N(30 * time.Millisecond)) // any moment will do
		h.kill()
		if <-done == 200 {
			answered++
		}
		h.start()
		for range 2 {
			if status, v := h.post(t, "POST", "/emails", "application/json", httpMail, key); status != 200 {
				t.Fatalf("round %d: %d %v", i, status, v)
			}
		}
	}
	t.Logf("%d of %d were answered before the kill", answered, rounds)
	if n := len(h.queued()); n != rounds {
		t.Errorf("%d messages in the queue, want %d", n, rounds)
	}
}

// The address is for tokens, which a reload changes; routes, check, status and
// explain know both listeners.
func TestHTTPAddress(t *testing.T) {
	address := freeAddr(t)
	token := func(secret string) string {
		hash, err := passwd.Argon2id(secret)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	base := ordinary(freeAddr(t), freeAddr(t)) + "[http]\naddress = \"" + address + "\"\nsocket_mode = \"0600\"\n"
	h := newHarness(t, base+fmt.Sprintf("[http.token.shop]\nhash = %q\nfrom = [\"shop@example.com\"]\n", token("one")))
	h.must("check")
	h.start()
	url := "http://" + address + "/emails"
	if status, _ := h.post(t, "POST", url, "application/json", httpMail, "Authorization: Bearer one"); status != 200 {
		t.Errorf("the token: %d", status)
	}
	if status, v := h.post(t, "POST", url, "application/json", strings.Replace(httpMail, "shop@", "boss@", 1), "Authorization: Bearer one"); status != 403 || v["name"] != "invalid_from_address" {
		t.Errorf("another sender: %d %v", status, v)
	}
	if out := h.must("status"); !strings.Contains(out, "submit.sock") || !strings.Contains(out, address) {
		t.Errorf("status says\n%s", out)
	}
	if info, err := os.Stat(filepath.Join(h.dir, "submit.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info, err)
	}
	h.write(base + fmt.Sprintf("[http.token.shop]\nhash = %q\n", token("two")))
	h.must("reload")
	if status, _ := h.post(t, "POST", url, "application/json", httpMail, "Authorization: Bearer one"); status != 403 {
		t.Errorf("the old token: %d", status)
	}
	if status, _ := h.post(t, "POST", url, "application/json", strings.Replace(httpMail, "shop@", "boss@", 1), "Authorization: Bearer two"); status != 200 {
		t.Errorf("the new one: %d", status)
	}
	h.write(strings.Replace(base, "socket_mode", "socket = \"off\"\n#", 1) + fmt.Sprintf("[http.token.shop]\nhash = %q\n", token("two")))
	h.must("reload")
	if _, err := os.Stat(filepath.Join(h.dir, "submit.sock")); err == nil {
		t.Error("the socket is still there")
	}
	if strings.Contains(h.log.String(), "Bearer") || strings.Contains(h.log.String(), "argon2") {
		t.Error("the log has a token or a hash")
	}
}

// A message of which nothing was sent can be taken back.
func TestHTTPCancel(t *testing.T) {
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t)))
	h.start()
	_, v := h.post(t, "POST", "/emails", "application/json", httpMail)
	id := fmt.Sprint(v["id"])
	eventually(t, "it was tried", func() bool {
		_, v := h.post(t, "GET", "/emails/"+id, "", "")
		return v["last_event"] == "delivery_delayed" || v["last_event"] == "queued"
	})
	eventually(t, "it is taken back", func() bool { // an attempt may be under way
		status, _ := h.post(t, "POST", "/emails/"+id+"/cancel", "", "")
		return status == 200
	})
	if n := len(h.queued()); n != 0 {
		t.Errorf("%d messages are queued", n)
	}
	if _, v := h.post(t, "GET", "/emails/"+id, "", ""); v["last_event"] != "canceled" {
		t.Errorf("then: %v", v)
	}
	if status, v := h.post(t, "POST", "/emails/"+id+"/cancel", "", ""); status != 404 && status != 409 {
		t.Errorf("again: %d %v", status, v)
	}
}

// Sockets of systemd serve both listeners; who connects by a unix one is known
// all the same.
func TestHTTPSocketActivation(t *testing.T) {
	hash, err := passwd.Argon2id("one")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, ordinary(freeAddr(t), freeAddr(t))+
		fmt.Sprintf("[http]\nsocket = \"systemd:submit\"\naddress = \"systemd:http\"\n[http.token.shop]\nhash = %q\n", hash))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.Listen("unix", filepath.Join(h.dir, "submit.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	for name, l := range map[string]interface{ File() (*os.File, error) }{"http": tcp.(*net.TCPListener), "submit": unix.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h.sockets = append(h.sockets, socket{name, f})
	}
	h.start()
	if status, v := h.post(t, "POST", "/emails", "application/json", httpMail); status != 200 {
		t.Errorf("the socket: %d %v", status, v)
	}
	url := "http://" + tcp.Addr().String() + "/emails"
	if status, v := h.post(t, "POST", url, "application/json", httpMail); status != 401 {
		t.Errorf("the address without a token: %d %v", status, v)
	}
	if status, v := h.post(t, "POST", url, "application/json", httpMail, "Authorization: Bearer one"); status != 200 {
		t.Errorf("the address: %d %v", status, v)
	}
}
