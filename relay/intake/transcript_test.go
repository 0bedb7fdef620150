package intake

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// TestTranscripts plays the dialogues of testdata. A file has comments (#),
// settings of the listener (L: key=value), and steps:
//
//	C: a line of the client, CRLF is added; lines in a row go out in one write
//	R: "bytes of the client, quoted as in Go"
//	T: 5m (time passes)
//	X: the client closes
//
// The rest is written by the server: S: lines of its replies, "S: (closed)",
// and, at the end, what was accepted (M:, |).
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", f, got)
			}
		})
	}
}

var unstable = regexp.MustCompile(`<[0-9a-z]+\.[0-9A-Za-z-]+\.[A-Z2-7]{10}@`)

// play carries a transcript out and returns it as it went.
func play(t *testing.T, script string) string {
	var b strings.Builder
	synctest.Test(t, func(t *testing.T) {
		steps, change := readScript(t, script)
		r := newRig(t, change)
		nc := r.dial("")
		if strings.Contains(script, "L: peer=") {
			nc.Close()
			nc = r.dial(setting(script, "peer") + ":40000")
		}
		synctest.Wait()
		first := true
		for i := 0; i < len(steps); i++ {
			s := steps[i]
			if first && !strings.HasPrefix(s, "#") && !strings.HasPrefix(s, "L:") && s != "" {
				first = false
				collect(&b, nc)
			}
			b.WriteString(s + "\n")
			switch {
			case strings.HasPrefix(s, "C: "), s == "C:", strings.HasPrefix(s, "R: "):
				out := bytesOf(t, s)
				for i+1 < len(steps) && (strings.HasPrefix(steps[i+1], "C:") || strings.HasPrefix(steps[i+1], "R: ")) {
					i++
					b.WriteString(steps[i] + "\n")
					out += bytesOf(t, steps[i])
				}
				nc.Write([]byte(out))
			case strings.HasPrefix(s, "T: "):
				d, err := time.ParseDuration(s[3:])
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(d)
			case s == "X:":
				nc.Close()
			default:
				continue
			}
			synctest.Wait()
			collect(&b, nc)
		}
		nc.Close()
		synctest.Wait()
		for _, m := range r.store.all() {
			describe(&b, m)
		}
		if r.store.open != 0 {
			t.Errorf("%d drafts were left open", r.store.open)
		}
		if len(r.events.panics) > 0 {
			t.Errorf("panic: %v", r.events.panics)
		}
	})
	return unstable.ReplaceAllString(b.String(), "<UNIQUE@")
}

// readScript returns the steps without what the server wrote.
func readScript(t *testing.T, script string) (steps []string, change func(*config.Listener)) {
	var set [][2]string
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "S:"), strings.HasPrefix(line, "M:"), strings.HasPrefix(line, "|"):
			continue
		case strings.HasPrefix(line, "L: "):
			k, v, _ := strings.Cut(line[3:], "=")
			set = append(set, [2]string{k, v})
		}
		steps = append(steps, line)
	}
	return steps, func(l *config.Listener) {
		for _, kv := range set {
			configure(t, l, kv[0], kv[1])
		}
	}
}

func setting(script, key string) string {
	_, rest, _ := strings.Cut(script, "L: "+key+"=")
	v, _, _ := strings.Cut(rest, "\n")
	return v
}

// configure sets one key of a listener, as TOML would.
func configure(t *testing.T, l *config.Listener, key, value string) {
	n, _ := strconv.Atoi(value)
	switch key {
	case "max_message_size":
		l.MaxMessageSize = int64(n)
	case "max_recipients":
		l.MaxRecipients = n
	case "newlines":
		l.Newlines = config.Newlines(value)
	case "syntax":
		l.Syntax = config.Syntax(value)
	case "early":
		l.Early = config.Early(value)
	case "repair_headers":
		l.RepairHeaders = value == "true"
	case "require_auth":
		l.RequireAuth = value == "true"
	case "tls":
		l.TLS = config.ListenerTLS(value)
		l.CertFile, l.KeyFile = testCert(t)
	case "users":
		l.Users = map[string]string{"app1": testArgon, "app2": testBcrypt, "app3": testSCRAM}
	case "peer":
	default:
		t.Fatalf("unknown setting %q", key)
	}
}

func bytesOf(t *testing.T, step string) string {
	if strings.HasPrefix(step, "R: ") {
		s, err := strconv.Unquote(step[3:])
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		return s
	}
	return strings.TrimPrefix(strings.TrimPrefix(step, "C:"), " ") + "\r\n"
}

// collect writes what has arrived at the client.
func collect(b *strings.Builder, nc net.Conn) {
	h := nc.(*pipe).in
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return
	}
	for line := range strings.Lines(string(h.buf)) {
		if strings.HasSuffix(line, "\r\n") {
			b.WriteString("S: " + line[:len(line)-2] + "\n")
		} else {
			fmt.Fprintf(b, "S: (unfinished) %q\n", line)
		}
	}
	h.buf = nil
	if h.closed {
		b.WriteString("S: (closed)\n")
		h.gone = true
	}
}

func describe(b *strings.Builder, m message) {
	e := m.env
	fmt.Fprintf(b, "M: from=<%s>", e.From)
	for _, r := range e.Recipients {
		fmt.Fprintf(b, " to=<%s>%v", r.Address, r.Upstreams)
		if r.Notify != 0 {
			fmt.Fprintf(b, " notify=%d", r.Notify)
		}
		if r.ORcpt != "" {
			fmt.Fprintf(b, " orcpt=%s", r.ORcpt)
		}
	}
	fmt.Fprintf(b, "\nM: body=%q utf8=%t requiretls=%t ret=%q envid=%q priority=%d", e.Body, e.SMTPUTF8, e.RequireTLS, e.Return, e.EnvelopeID, e.Priority)
	if !e.NotBefore.IsZero() {
		fmt.Fprintf(b, " not-before=%s", e.NotBefore.UTC().Format(time.RFC3339))
	}
	if d := e.DeliverBy; d != nil {
		fmt.Fprintf(b, " by=%s return=%t trace=%t", d.Deadline.UTC().Format(time.RFC3339), d.Return, d.Trace)
	}
	fmt.Fprintf(b, "\nM: 8bit=%t auto=%t message-id=%s helo=%s peer=%s user=%q\n", e.Has8Bit, e.Auto, e.MessageID, e.Helo, e.Peer, e.User)
	for line := range strings.SplitSeq(m.content, "\n") {
		s, crlf := strings.CutSuffix(line, "\r")
		q := strconv.Quote(s)
		s = q[1 : len(q)-1]
		if !crlf && line != "" {
			s += " (no CR)"
		}
		b.WriteString(strings.TrimRight("| "+s, " ") + "\n")
	}
}
