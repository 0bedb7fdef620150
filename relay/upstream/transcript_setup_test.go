package upstream_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/relay/memory"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
	"postern/spool/statefile"
)

// setUp reads the lines of a transcript that are not dialogue.
func (c *transcript) setUp(t *testing.T, b *bench) (*config.Upstream, *testFeed) {
	up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}, CAFile: b.ca}
	feed := &testFeed{Feed: upstreamtest.NewFeed()}
	messages := 0
	for _, line := range c.settings {
		verb, rest, _ := strings.Cut(line, " ")
		options := strings.Fields(rest)
		switch verb {
		case "upstream":
			for _, o := range options {
				b.setUpstream(t, up, o)
			}
		case "message":
			messages++
			env, body := newMessage(t, options)
			feed.Add(env, body)
		case "examine":
			c.examine = options
		case "memory":
			c.remember(t, up, options)
		case "tokens":
			up.OAuth, c.purse = &config.OAuth{}, options
		case "feed":
			for _, o := range options {
				feed.set(t, o)
			}
		}
	}
	if messages == 0 {
		env, body := newMessage(t, nil)
		feed.Add(env, body)
	}
	return up, feed
}

// remember makes a memory in which the upstream was seen before.
func (c *transcript) remember(t *testing.T, up *config.Upstream, options []string) {
	dir := t.TempDir()
	c.memory = memory.New(&statefile.State{Dir: dir})
	file := filepath.Join(dir, "tls", "upstream-test.json")
	peer := upstream.Target(up)
	then := time.Now().Add(-240 * time.Hour)
	learn := func(change func(*memory.Facts)) {
		if err := c.memory.Learn(t.Context(), up.Name, peer, change); err != nil {
			t.Fatal(err)
		}
	}
	for _, option := range options {
		switch option {
		case "empty":
		case "elsewhere": // what follows was at another port
			peer = "mx.example:2525"
		case "offered":
			learn(func(f *memory.Facts) { f.Offered = then })
		case "valid":
			learn(func(f *memory.Facts) { f.Offered, f.Valid = then, then })
		case "damaged":
			learn(func(*memory.Facts) {})
			if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		case "unwritable": // the lock is a folder
			if err := os.MkdirAll(file+".lock", 0o700); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("unknown memory %q", option)
		}
	}
	c.dir = dir
}

func (b *bench) setUpstream(t *testing.T, up *config.Upstream, option string) {
	key, value, _ := strings.Cut(option, "=")
	limit := func() time.Duration {
		d, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	switch key {
	case "tls":
		up.TLS = config.UpstreamTLS(value)
	case "auth":
		up.Auth, up.Username, up.Password = config.Mechanism(value), "user", config.NewSecret("pencil")
	case "ca":
		up.CAFile = map[string]string{"none": "", "missing": filepath.Join(b.dir, "missing.pem")}[value]
	case "name":
		up.ServerName = value
	case "pin":
		for name := range strings.SplitSeq(value, ",") {
			up.Fingerprints = append(up.Fingerprints, upstreamtest.Fingerprint(b.certs[name]))
		}
	case "clientcert":
		up.CertFile, up.KeyFile = b.pair[0], b.pair[1]
	case "without":
		up.Without = strings.Split(value, ",")
	case "connect":
		up.ConnectTimeout = limit()
	case "command":
		up.CommandTimeout = limit()
	case "data":
		up.DataTimeout = limit()
	case "recipients", "size":
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		if key == "size" {
			up.MaxMessageSize = int64(n)
		} else {
			up.MaxRecipients = n
		}
	default:
		t.Fatalf("unknown setting %q", option)
	}
}

func (f *testFeed) set(t *testing.T, option string) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "nochain":
		f.Chain = false
	case "keep":
		f.Keep = 30 * time.Second
	case "faildot":
		f.FailDotSent = errors.New("the disk is full")
	case "later": // the second message comes after a while
		wait, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		f.Chain = false
		f.OnNext = func(n int) {
			if n == 1 {
				time.Sleep(wait)
			}
		}
	case "shutdown": // when message n is handed out
		at, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		f.OnNext = func(n int) {
			if n == at {
				f.cancel()
			}
		}
	default:
		t.Fatalf("unknown feed %q", option)
	}
}

func newMessage(t *testing.T, options []string) (*spool.Envelope, []byte) {
	env := &spool.Envelope{From: "from@a.example"}
	body := []byte("Subject: test\r\n\r\nHello\r\n")
	to := []string{"to@b.example"}
	var notify spool.Notify
	var orcpt string
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		value = strings.ReplaceAll(value, "_", " ")
		switch key {
		case "from":
			env.From = value
		case "to":
			to = strings.Split(value, ",")
		case "rcpts":
			to = numbered(t, value)
		case "text":
			body = unquote(t, value)
		case "size":
			body = sized(t, value)
		case "notify":
			n, _ := strconv.Atoi(value)
			notify = spool.Notify(n)
		case "orcpt":
			orcpt = value
		default:
			setEnvelope(t, env, key, value)
		}
	}
	for _, c := range body {
		env.Has8Bit = env.Has8Bit || c >= 0x80
	}
	for _, rcpt := range to {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: rcpt, Notify: notify, ORcpt: orcpt})
	}
	return env, body
}

func setEnvelope(t *testing.T, env *spool.Envelope, key, value string) {
	switch key {
	case "body":
		env.Body = spool.BodyType(value)
	case "utf8":
		env.SMTPUTF8 = true
	case "requiretls":
		env.RequireTLS = true
	case "ret":
		env.Return = value
	case "envid":
		env.EnvelopeID = value
	case "priority":
		env.Priority, _ = strconv.Atoi(value)
	case "by":
		left, mode, _ := strings.Cut(value, ";")
		d, err := time.ParseDuration(left)
		if err != nil {
			t.Fatal(err)
		}
		env.DeliverBy = &spool.DeliverBy{Deadline: time.Now().Add(d), Return: mode[0] == 'R', Trace: strings.HasSuffix(mode, "T")}
	default:
		t.Fatalf("unknown option %q", key)
	}
}

func unquote(t *testing.T, value string) []byte {
	s, err := strconv.Unquote(`"` + value + `"`)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(s)
}

func numbered(t *testing.T, value string) (to []string) {
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		to = append(to, fmt.Sprintf("r%d@b.example", i))
	}
	return to
}

func sized(t *testing.T, value string) []byte {
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 62) + "\r\n"
	return []byte("Subject: large\r\n\r\n" + strings.Repeat(line, n/64))
}
