package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A client that is refused thousands of times fills no log: some lines, and one
// that counts the others. What is told of mail that is accepted meanwhile, and
// of another client that is refused, is all there, and the metrics miss nothing.
func TestARefusedClientFillsNoLog(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another client is another user, which needs root")
	}
	listen, local, upstream := freeAddr(t), freeAddr(t), freeAddr(t)
	sink := startSink(t, upstream)
	config := strings.Replace(ordinary(listen, upstream), `from = ["*"]`, `from = ["*@example.com"]`, 1)
	h := newHarness(t, config+fmt.Sprintf("[[listener]]\nname = \"local\"\naddress = %q\n", local))
	h.start()
	const connections, each, accepted = 5, 1000, 20
	for i := range connections {
		refuseAll(t, listen, each)
		for j := range accepted / connections {
			send(t, listen, "a@example.com", fmt.Sprintf("number %d of %d", j, i))
		}
	}
	c, err := smtp.NewClient(dialAs(t, 65534, local), "relay.example.com")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("a@elsewhere.example"); err == nil || !strings.HasPrefix(err.Error(), "550") {
		t.Errorf("the other client: %v", err)
	}
	eventually(t, "all of the mail has arrived", func() bool { return len(sink.received()) == accepted })
	scraped := h.scrape()
	if n := scraped[`postern_mail_refused_total{code="550",listener="mail",stage="MAIL"}`]; n != connections*each {
		t.Errorf("the metrics count %v refusals", n)
	}
	h.stop()

	lines := map[string]int{}
	var withheld float64
	text := h.log.String()
	for line := range strings.Lines(text) {
		var l struct {
			Event, Listener, Result, Origin, Kind string
			Count                                 float64
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines[strings.TrimRight(l.Event+" "+l.Listener+l.Result+l.Kind, " ")]++
		if l.Event == "lines-withheld" {
			withheld += l.Count
			if l.Origin != "uid 0" {
				t.Errorf("the origin is %q", l.Origin)
			}
		}
	}
	for what, want := range map[string]int{
		"mail-refused mail":                    10,
		"lines-withheld mail-refused MAIL 550": 1,
		"client-abuse mail":                    connections,
		"mail-refused local":                   1,
		"message-accepted mail":                accepted,
		"delivery-attempt delivered":           accepted,
	} {
		if lines[what] != want {
			t.Errorf("%d lines of %s, want %d", lines[what], what, want)
		}
	}
	if withheld != connections*each-10 || withheld != scraped["postern_log_lines_withheld_total"] {
		t.Errorf("%v lines were withheld, by the metrics %v", withheld, scraped["postern_log_lines_withheld_total"])
	}
	if n := strings.Count(text, "\n"); n > 2*accepted+50 {
		t.Errorf("%d lines, %d bytes", n, len(text))
	}
}

// refuseAll has n senders refused over one connection, until it is closed.
func refuseAll(t *testing.T, addr string, n int) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(nc, "relay.example.com")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	go io.Copy(nc, strings.NewReader(strings.Repeat("MAIL FROM:<a@elsewhere.example>\r\n", n)))
	replies := 0
	for {
		line, err := c.Text.ReadLine()
		if err != nil {
			break
		}
		if strings.HasPrefix(line, "550 ") {
			replies++
		}
	}
	if replies != n {
		t.Fatalf("%d of %d were refused", replies, n)
	}
}

// scrape reads the metrics over the control socket.
func (h *harness) scrape() map[string]float64 {
	h.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.dir+"/control.sock")
	}}}
	defer client.CloseIdleConnections()
	answer, err := client.Get("http://postern/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	values := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+) (\S+)$`).FindAllSubmatch(bytes.TrimSpace(page), -1) {
		if v, err := strconv.ParseFloat(string(m[2]), 64); err == nil {
			values[string(m[1])] = v
		}
	}
	return values
}
