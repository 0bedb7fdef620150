//go:build linux

package main

import (
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

// TestRefusedReloadIsKept: the alert about a reload that was refused is told once,
// also where the relay is killed and started with the file from before. It is over
// then, as what is in force is what the file says.
func TestRefusedReloadIsKept(t *testing.T) {
	t.Parallel() // it waits, most of the time
	base := ordinary(freeAddr(t), freeAddr(t)) + notesTold
	h := newHarness(t, base)
	h.start()
	h.write(base + "[[nonsense]]\n")
	if r := h.do("reload"); r.code != exitConfig {
		t.Fatalf("%+v", r)
	}
	h.kept("reload-refused")
	if e := h.told()[0]; !strings.Contains(e.Text, "nonsense: unknown key") || e.Command != "postern check --config "+h.config {
		t.Errorf("%+v", e)
	}
	h.kill()
	if r := h.do("serve"); r.code != exitConfig {
		t.Errorf("it starts with a file that was refused: %+v", r)
	}
	h.write(base)
	h.start()
	if out := h.must("alert", "list"); !strings.Contains(out, "a reload was refused") || !strings.Contains(out, "told      notes at") {
		t.Errorf("after a crash: %s", out)
	}
	if n := h.count("reload-refused"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestSilenceOverCrashes: kill -9 at any moment tells nothing twice, forgets no
// silence, and makes none of the time in which the relay was away.
func TestSilenceOverCrashes(t *testing.T) {
	t.Parallel() // it waits, most of the time
	listen, upstream := freeAddr(t), freeAddr(t)
	startSink(t, upstream)
	routes := ""
	for _, name := range []string{"short", "long"} {
		routes += fmt.Sprintf("[[route]]\nname = %q\nfrom = [\"%s@example.com\"]\nupstream = [\"office\"]\nexpect = %q\n", name, name, map[string]string{"short": "1s", "long": "1h"}[name])
	}
	h := newHarness(t, strings.Replace(ordinary(listen, upstream), "[[route]]", routes+"[[route]]", 1)+notesTold)
	h.start()
	h.kept("route-silent")
	for range 3 {
		h.kill()
		h.start()
		if out := h.must("alert", "list"); strings.Count(out, "no message came by the route") != 1 || !strings.Contains(out, `"short"`) || !strings.Contains(out, "told      notes at") {
			t.Errorf("after a crash: %s", out)
		}
		if out := h.must("status"); !strings.Contains(out, "expect    short: no message seen yet, expected within 1s: SILENT") || strings.Count(out, "SILENT") != 1 {
			t.Errorf("after a crash: %s", out)
		}
	}
	time.Sleep(2500 * time.Millisecond) // another process is to look once more
	if n := h.count("route-silent"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestManyParked: 200 upstreams that are parked at once are one message with the
// worst ten and the number of the others, and nothing more follows.
func TestManyParked(t *testing.T) {
	t.Parallel() // it waits, most of the time
	const many = 200
	listen, upstream := freeAddr(t), freeAddr(t)
	answering(t, upstream, map[string]string{"AUTH": "535 5.7.8 Username and Password not accepted"})
	host, port, _ := net.SplitHostPort(upstream)
	var b strings.Builder
	for i := range many {
		fmt.Fprintf(&b, "[upstream.u%03d]\nhost = %q\nport = %s\ntls = \"off\"\nauth = \"plain\"\nusername = \"app\"\npassword = \"hunter2\"\n[[route]]\nfrom = [\"a@example.com\"]\nto = [\"u%d@example.net\"]\nupstream = [\"u%03d\"]\n", i, host, port, i, i)
	}
	base := strings.Replace(ordinary(listen, upstream), "[[route]]", b.String()+"[[route]]", 1)
	h := newHarness(t, base+"\n[[alert]]\nname = \"notes\"\ncommand = \"cat >>DIR/told\"\nafter = \"3s\"\n")
	h.start()
	var to []string
	for i := range many {
		to = append(to, fmt.Sprintf("u%d@example.net", i))
	}
	if err := smtp.SendMail(listen, nil, "a@example.com", to, message("stuck")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool { return h.count("upstream-parked") > 0 })
	time.Sleep(2500 * time.Millisecond) // another process is to look again
	told := h.told()
	if len(told) != 11 || !strings.Contains(told[len(told)-1].Text, "190 more of this kind") {
		t.Errorf("%d were told: %+v", len(told), told)
	}
	if out := h.must("alert", "list"); strings.Count(out, "CRITICAL") > 13 {
		t.Errorf("%s", out)
	}
}
