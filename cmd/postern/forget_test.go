//go:build unix

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/control"
	"postern/queue"
	"postern/relay/upstream/upstreamtest"
)

func (h *harness) lane() control.Lane {
	h.t.Helper()
	var lanes []control.Lane
	out := h.must("upstream", "list", "--json")
	if err := json.Unmarshal([]byte(out), &lanes); err != nil || len(lanes) != 1 {
		h.t.Fatalf("%v:\n%s", err, out)
	}
	return lanes[0]
}

// What "opportunistic" has seen outlives the daemon, parks an upstream that
// falls back behind it, and is let go by an operator alone.
func TestTLSIsNotTalkedDownAfterARestart(t *testing.T) {
	listen, upstream := freeAddr(t), freeAddr(t)
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), `tls = "off"`, "tls = \"opportunistic\"\nca_file = \"ca.pem\"", 1))
	ca := upstreamtest.NewAuthority(t)
	ca.File(t, h.dir)
	host, _, err := net.SplitHostPort(upstream)
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, host)}}

	honest, stop := startSinkTLS(t, upstream, conf)
	h.start()
	send(t, listen, "a@example.com", "protected")
	eventually(t, "the mail arrived", func() bool { return len(honest.received()) == 1 })
	if lane := h.lane(); lane.TLS != "opportunistic" || lane.Memory == nil || lane.Memory.Offered == nil || lane.Memory.Valid == nil {
		t.Errorf("upstream list: %+v, %+v", lane, lane.Memory)
	}
	if out := h.must("status"); !strings.Contains(out, "opportunistic, offered 2") || !strings.Contains(out, ", valid 2") {
		t.Errorf("status:\n%s", out)
	}
	h.kill()
	stop()

	stripped, stop := startSinkTLS(t, upstream, nil)
	h.start()
	send(t, listen, "a@example.com", "in clear")
	eventually(t, "the upstream is parked", func() bool { return h.lane().State == queue.Parked })
	if reason := h.lane().Reason; !strings.Contains(reason, "postern upstream forget-tls office") {
		t.Errorf("it is parked because %q", reason)
	}
	if n := len(h.queued()); n != 1 || len(stripped.received()) > 0 {
		t.Errorf("%d messages queued, %d gave in", n, len(stripped.received()))
	}
	if r := h.do("upstream", "forget-tls", "nobody"); r.code != exitData {
		t.Errorf("an unknown upstream: %+v", r)
	}
	if out := h.must("upstream", "forget-tls", "office"); !strings.HasPrefix(out, "office: forgotten\n") {
		t.Errorf("it printed %q", out)
	}
	eventually(t, "the mail arrived after all", func() bool { return len(stripped.received()) == 1 })
	if log := h.log.String(); !strings.Contains(log, "upstream-learned") || !strings.Contains(log, "upstream-tls-forgotten") {
		t.Error("the log does not tell what was learnt and forgotten")
	}
	stop()

	// The same while no daemon runs.
	again, _ := startSinkTLS(t, upstream, conf)
	send(t, listen, "a@example.com", "protected again")
	eventually(t, "the mail arrived", func() bool { return len(again.received()) == 1 })
	h.stop()
	file := filepath.Join(h.dir, "tls", "upstream-office.json")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"office: forgotten\n", "office: there was nothing to forget\n"} {
		if out := h.must("upstream", "forget-tls", "office"); out != want {
			t.Errorf("it printed %q", out)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is still there")
	}
	if r := h.do("upstream", "forget-tls", "nobody"); r.code != exitData {
		t.Errorf("an unknown upstream without a daemon: %+v", r)
	}
}

// hostAlone is an address on loopback whose ports 465 and 587 nobody uses.
func hostAlone(t *testing.T) string {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), 1+rand.IntN(254), 1+rand.IntN(254))
	for _, port := range []string{"465", "587"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Skip("needs ports below 1024 on all of 127.0.0.0/8 (Linux, as root): ", err)
		}
		l.Close()
	}
	return host
}

// Of the upstream only the host is configured. The way that worked is taken
// after a restart too, until it is forgotten.
func TestHostAlone(t *testing.T) {
	listen, host := freeAddr(t), hostAlone(t)
	h := newHarness(t, strings.Replace(ordinary(listen, host+":0"), "port = 0\ntls = \"off\"", `ca_file = "ca.pem"`, 1))
	ca := upstreamtest.NewAuthority(t)
	ca.File(t, h.dir)
	conf := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, host)}}

	start, _ := startSinkTLS(t, host+":587", conf)
	h.start()
	send(t, listen, "a@example.com", "first")
	eventually(t, "the mail arrived", func() bool { return len(start.received()) == 1 })
	if lane := h.lane(); lane.Address != host+":587" || lane.TLS != "auto" || lane.Memory.Implicit || lane.Memory.Found == nil {
		t.Errorf("upstream list: %+v, %+v", lane, lane.Memory)
	}
	h.stop()

	implicit := startImplicitSink(t, host+":465", conf)
	h.start()
	send(t, listen, "a@example.com", "second")
	eventually(t, "the mail arrived by the way that worked", func() bool { return len(start.received()) == 2 })
	h.stop()
	h.must("upstream", "forget-tls", "office")
	h.start()
	send(t, listen, "a@example.com", "third")
	eventually(t, "the mail arrived by the better way", func() bool { return len(implicit.received()) == 1 })
	if lane := h.lane(); lane.Address != host+":465" || !lane.Memory.Implicit {
		t.Errorf("upstream list: %+v, %+v", lane, lane.Memory)
	}
	h.stop()
}
