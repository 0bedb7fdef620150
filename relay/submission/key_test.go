package submission_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/submission"
	"postern/spool"
	"postern/spool/storetest"
)

// keyed is an agent over a store that remembers keys.
type keyed struct {
	t      *testing.T
	store  *storetest.Memory
	agent  *submission.Agent
	events []string
}

func newKeyed(t *testing.T, remember time.Duration) *keyed {
	k := &keyed{t: t, store: storetest.NewMemory()}
	k.agent = submission.New(submission.Options{Accept: k.store, Events: func(e submission.Event) {
		switch e := e.(type) {
		case *submission.Accepted:
			k.events = append(k.events, map[bool]string{false: "accepted ", true: "repeated "}[e.Repeated]+e.ID.String())
		case *submission.Refused:
			k.events = append(k.events, e.Refusal.Error())
		}
	}})
	k.use(remember)
	return k
}

func (k *keyed) use(remember time.Duration) {
	k.t.Helper()
	cfg := &config.Config{Hostname: "mx.example.com", Submission: config.Submission{Idempotency: remember}}
	policy, err := submission.NewPolicy(cfg, routes(k.t))
	if err != nil {
		k.t.Fatal(err)
	}
	k.agent.Use(policy)
}

// client is one with an origin; user is who has signed in.
func client(from origin.Key, listenerName, user string) *submission.Client {
	l := listener()
	l.RepairHeaders = listenerName == "test"
	return &submission.Client{Listener: listenerName, Peer: "x", Addr: netip.MustParseAddr("192.0.2.1"), Helo: "h", User: user,
		Connection: func() origin.Key { return from }, Settings: submission.SettingsOf(&l)}
}

// begin begins a message with a key and a digest of content.
func (k *keyed) begin(c *submission.Client, key, content string) (*submission.Message, error) {
	e := submission.Envelope{From: "a@example.com", Protocol: "HTTP", Key: key}
	if content != "" {
		e.Digest = sha256.Sum256([]byte(content))
	}
	return k.agent.Begin(k.t.Context(), c, e)
}

// end hands in the rest.
func (k *keyed) end(m *submission.Message, content string) (spool.ID, error) {
	err := m.Add(submission.Recipient{Address: "b@example.net"})
	if err == nil {
		_, err = io.WriteString(m, content)
	}
	if err != nil {
		m.Discard()
		return 0, err
	}
	return m.Commit(k.t.Context())
}

func (k *keyed) submit(c *submission.Client, key, digest, content string) (id spool.ID, repeated bool, err error) {
	m, err := k.begin(c, key, digest)
	if err != nil {
		return 0, false, err
	}
	id, err = k.end(m, content)
	return id, m.Repeated(), err
}

// messages are the contents that the store has, in order.
func (k *keyed) messages() (all []string) {
	k.t.Helper()
	k.store.Find(k.t.Context(), spool.Query{}, func(s spool.Summary) bool {
		c, err := k.store.Content(k.t.Context(), s.ID)
		if err != nil {
			k.t.Fatal(err)
		}
		b := make([]byte, c.Size())
		c.ReadAt(b, 0)
		c.Close()
		all = append(all, string(b))
		return true
	})
	return all
}

// TestOnceByKey: a message is taken once by the key of its envelope or of its
// header, whatever differs in the second one.
func TestOnceByKey(t *testing.T) {
	field := func(key string) string { return header(submission.KeyField + ": " + key) }
	for name, both := range map[string][2]struct{ key, content string }{
		"envelope":             {{"k 1", plain}, {"k 1", header("Subject: other")}},
		"header":               {{"", field("k 1")}, {"", field("  k 1 ") + "more\r\n"}},
		"folded":               {{"", field("k\r\n 1")}, {"", field("k 1")}},
		"envelope then header": {{"k 1", plain}, {"", field("k 1")}},
		"header then envelope": {{"", field("k 1")}, {"k 1", plain}},
		"both":                 {{"k 1", field("k 1")}, {"k 1", field("k 1")}},
		"spelled otherwise":    {{"", header("postern-idempotency-KEY: k 1")}, {"k 1", plain}},
		"bare text":            {{"", submission.KeyField + ": k 1\r\nhello\r\n"}, {"k 1", plain}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeyed(t, time.Hour)
			c := client(origin.Local(1), "test", "")
			first, repeated, err := k.submit(c, both[0].key, "", both[0].content)
			if err != nil || repeated {
				t.Fatal(repeated, err)
			}
			for range 2 {
				id, repeated, err := k.submit(c, both[1].key, "", both[1].content)
				if err != nil || !repeated || id != first {
					t.Errorf("%v, %t, %v, want a repetition of %v", id, repeated, err, first)
				}
			}
			want := "accepted " + first.String() + "|repeated " + first.String() + "|repeated " + first.String()
			if got := strings.Join(k.events, "|"); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			all := k.messages()
			if len(all) != 1 || strings.Contains(strings.ToLower(all[0]), "idempotency") || strings.Contains(all[0], "k 1") {
				t.Errorf("%q", all)
			}
		})
	}
}

// TestKeysOfOthers: no client meets a key of another one.
func TestKeysOfOthers(t *testing.T) {
	k := newKeyed(t, time.Hour)
	v4, v6 := origin.Address(netip.MustParseAddr("192.0.2.1")), origin.Address(netip.MustParseAddr("2001:db8::1"))
	for n, c := range []*submission.Client{
		client(origin.Local(1), "test", ""), client(origin.Local(2), "test", ""), client(origin.Local(1), "test", "ann"),
		client(origin.Local(1), "test", "uid 1"), client(v4, "test", ""), client(v4, "other", ""), client(v6, "test", ""),
		client(v6, "test", "at test\x002001:db8::/64"), client(origin.Key{}, "test", ""),
	} {
		if _, repeated, err := k.submit(c, "same", "", plain); err != nil || repeated {
			t.Errorf("client %d: repeated: %t, %v", n, repeated, err)
		}
		if _, repeated, err := k.submit(c, "same", "", plain); err != nil || !repeated {
			t.Errorf("client %d again: repeated: %t, %v", n, repeated, err)
		}
	}
	// The same one, from elsewhere.
	for n, c := range []*submission.Client{
		client(v4, "other", "ann"), client(origin.Local(1), "other", ""), client(origin.Address(netip.MustParseAddr("2001:db8::2")), "test", ""),
	} {
		if _, repeated, err := k.submit(c, "same", "", plain); err != nil || !repeated {
			t.Errorf("client %d from elsewhere: repeated: %t, %v", n, repeated, err)
		}
	}
}

// TestKeysThatAreNone are refused, and the message with them.
func TestKeysThatAreNone(t *testing.T) {
	const malformed, twice = "554 5.6.0 Postern-Idempotency-Key has to be 1 to 256 printable ASCII characters", "554 5.6.0 message has more than one"
	long := strings.Repeat("x", submission.MaxKey)
	for _, remember := range []time.Duration{time.Hour, 0} {
		k := newKeyed(t, remember)
		c := client(origin.Local(1), "test", "")
		field := submission.KeyField + ": "
		for _, x := range []struct{ key, content, want string }{
			{"", header(field), malformed},
			{"", header(field + "\r\n  "), malformed},
			{"", header(field + "ä"), malformed},
			{"", header(field + "a\tb"), malformed},
			{"", header(field + "a\x01"), malformed},
			{"", header(field + long + "x"), malformed},
			{long + "x", plain, malformed},
			{"a\r\nb", plain, malformed},
			{"", header(field + "a\r\n" + field + "b"), twice},
			{"", header(field + "a\r\n" + field + "a"), twice},
		} {
			if _, _, err := k.submit(c, x.key, "", x.content); err == nil || !strings.HasPrefix(err.Error(), x.want) {
				t.Errorf("%q, %q: %v", x.key, x.content, err)
			}
		}
		if remember > 0 {
			if _, _, err := k.submit(c, "a", "", header(field+"b")); err == nil || !strings.HasPrefix(err.Error(), twice) {
				t.Error(err)
			}
		}
		if len(k.messages()) != 0 {
			t.Errorf("%q", k.messages())
		}
		for _, good := range []string{long, "!", "a b~"} {
			if _, _, err := k.submit(c, "", "", header(field+good)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestKeysOfContent: a client that tells the digest of what it hands in is told
// where a key was used for something else, or is in use.
func TestKeysOfContent(t *testing.T) {
	k := newKeyed(t, time.Hour)
	c := client(origin.Local(1), "test", "")
	m, err := k.begin(c, "key", "one")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.begin(c, "key", "one")
	if r := submission.AsRefusal(err); !errors.Is(err, submission.ErrKeyBusy) || !r.Temporary() || r.Code != 451 {
		t.Errorf("while one is on its way: %v", err)
	}
	if other, err := k.begin(c, "other", "one"); err != nil {
		t.Error(err)
	} else {
		other.Discard()
	}
	m.Discard()
	id, repeated, err := k.submit(c, "key", "one", plain)
	if err != nil || repeated {
		t.Fatal(repeated, err)
	}
	again, repeated, err := k.submit(c, "key", "one", plain)
	if err != nil || !repeated || again != id {
		t.Errorf("%v, %t, %v", again, repeated, err)
	}
	_, _, err = k.submit(c, "key", "two", plain)
	if r := submission.AsRefusal(err); !errors.Is(err, submission.ErrKeyUsed) || r.Temporary() || r.Code != 554 {
		t.Errorf("another content: %v", err)
	}
	if again, repeated, err := k.submit(c, "key", "", plain); err != nil || !repeated || again != id {
		t.Errorf("without a digest: %v, %t, %v", again, repeated, err)
	}
}

// TestKeysAtTheSameTime: of messages without a digest that are on their way at
// the same time the commit takes one, and the other's client learns its ID.
func TestKeysAtTheSameTime(t *testing.T) {
	k := newKeyed(t, time.Hour)
	c := client(origin.Local(1), "test", "")
	var both [2]*submission.Message
	for i := range both {
		var err error
		if both[i], err = k.begin(c, "key", ""); err != nil || both[i].Repeated() {
			t.Fatal(err)
		}
	}
	second, err := k.end(both[1], plain)
	if err != nil || both[1].Repeated() {
		t.Fatal(err)
	}
	first, err := k.end(both[0], plain)
	if err != nil || !both[0].Repeated() || first != second {
		t.Errorf("%v, %v, %v", first, second, err)
	}
	if len(k.messages()) != 1 {
		t.Errorf("%q", k.messages())
	}
}

// TestKeysEnd as the configuration says that held when they were used.
func TestKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, 0)
		c := client(origin.Local(1), "test", "")
		took := func(name string, want bool) {
			t.Helper()
			if _, repeated, err := k.submit(c, name, "", header(submission.KeyField+": "+name)); err != nil || repeated == want {
				t.Errorf("%s: taken: %t, %v", name, !repeated, err)
			}
		}
		took("never", true)
		took("never", true)
		k.use(time.Hour)
		took("hour", true)
		k.use(24 * time.Hour)
		took("day", true)
		time.Sleep(time.Hour - time.Minute)
		took("hour", false)
		time.Sleep(time.Minute)
		took("hour", true)
		took("day", false)
		time.Sleep(23 * time.Hour)
		took("day", true)
		for _, text := range k.messages() {
			if strings.Contains(text, "Idempotency") {
				t.Errorf("%q", text)
			}
		}
	})
}

// TestKeysAreBounded: where there is no room for a key its message is not
// taken, and a message without key is.
func TestKeysAreBounded(t *testing.T) {
	k := newKeyed(t, time.Hour)
	k.store.LimitKeys(2)
	c := client(origin.Local(1), "test", "")
	if _, _, err := k.submit(c, "one", "", plain); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ key, content string }{{"two", plain}, {"", header(submission.KeyField + ": two")}} {
		_, _, err := k.submit(c, x.key, "", x.content)
		if r := submission.AsRefusal(err); err == nil || !errors.Is(err, spool.ErrManyKeys) || r.Code != 452 {
			t.Errorf("%+v: %v", x, err)
		}
	}
	if _, _, err := k.submit(c, "", "", plain); err != nil {
		t.Error(err)
	}
	if _, repeated, err := k.submit(c, "one", "", plain); err != nil || !repeated {
		t.Error(repeated, err)
	}
}
