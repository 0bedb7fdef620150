//go:build unix

package main

import (
	"net"
	"net/textproto"
	"strings"
	"testing"

	"postern/queue"
)

// startRefuser listens like Proton Mail Bridge, which answers a wrong password
// by a code that should be temporary.
func startRefuser(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go refuse(textproto.NewConn(conn))
		}
	}()
	return l.Addr().String()
}

func refuse(c *textproto.Conn) {
	defer c.Close()
	answers := map[string]string{
		"EHLO": "250-127.0.0.1\r\n250 AUTH PLAIN", "AUTH": "454 4.7.0 invalid username or password", "QUIT": "221 bye",
	}
	for answer := "220 127.0.0.1 ESMTP Service Ready"; answer != ""; {
		if err := c.PrintfLine("%s", answer); err != nil {
			return
		}
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		answer = answers[strings.ToUpper(strings.Fields(line + " ?")[0])]
	}
}

// A provider's refusal is recognised through the whole of the program: it parks
// the upstream, and everybody who asks is told what to do.
func TestProviderRefusalIsTranslated(t *testing.T) {
	listen, upstream := freeAddr(t), startRefuser(t)
	config := strings.Replace(ordinary(listen, upstream), `host = "127.0.0.1"`, `provider = "proton-bridge"
auth = "plain"
username = "someone@proton.me"
password = "wrong"`, 1)
	h := newHarness(t, config)
	h.start()
	send(t, listen, "a@example.com", "to an upstream that refuses")
	eventually(t, "the upstream is parked", func() bool {
		lane := h.office()
		return lane != nil && lane.State == queue.Parked && lane.Advice != nil
	})
	if lane := h.office(); lane.Provider != "proton-bridge" || !strings.Contains(lane.Advice.Remedy, "Bridge") {
		t.Errorf("%+v, %+v", lane, lane.Advice)
	}
	if list := h.must("upstream", "list"); !strings.Contains(list, "office: The password is wrong") {
		t.Error(list)
	}
	eventually(t, "the attempt is on record", func() bool {
		entries := h.queued()
		return len(entries) == 1 && entries[0].Attempts > 0 && strings.Contains(h.must("queue", "show", entries[0].ID), "remedy")
	})
	h.stop()
	if log := h.log.String(); !strings.Contains(log, `"state":"parked"`) || !strings.Contains(log, `"remedy":"Use the password that Bridge`) {
		t.Error("the alert does not tell what to do")
	}
}
