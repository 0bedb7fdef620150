package journal_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postern/spool"
	"postern/spool/journal"
)

// long reports whether the proofs run in their full length, as they do in CI.
func long() bool { return os.Getenv("POSTERN_LONG") != "" }

func open(t testing.TB, opts journal.Options) *journal.Store {
	t.Helper()
	s, err := journal.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// folder is an empty folder that only we can enter.
func folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t testing.TB, s *journal.Store, env *spool.Envelope, body []byte) spool.ID {
	t.Helper()
	d, err := s.Create(bg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(bg, env); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func simple(upstreams ...string) *spool.Envelope {
	return &spool.Envelope{
		From: "app@example.com", Accepted: time.Now().UTC(),
		Recipients: []spool.Recipient{{Address: "to@example.net", Upstreams: upstreams}},
	}
}

// full is an envelope with everything set, for two upstreams.
func full() *spool.Envelope {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	return &spool.Envelope{
		From: `"a b"@example.com`, Accepted: at, Body: spool.Body8BitMIME, SMTPUTF8: true, RequireTLS: true,
		Return: "HDRS", EnvelopeID: "QQ314159", Priority: -3, Has8Bit: true, MessageID: "<1@x>", Auto: true,
		DeliverBy: &spool.DeliverBy{Deadline: at.Add(time.Hour), Return: true, Trace: true},
		Listener:  "internal", Peer: "192.0.2.1:4711", User: "u", UnixUser: "w", Helo: "client",
		Recipients: []spool.Recipient{
			{Address: "a@example.net", Upstreams: []string{"one", "two"}, Notify: spool.NotifySuccess, ORcpt: "rfc822;a@b"},
			{Address: "b@example.net", Upstreams: []string{"two"}},
			{Address: "c@example.net", Upstreams: []string{"one", "two"}, Notify: spool.NotifyNever, Copy: true, Redirected: true},
		},
	}
}

// bg is the context of whoever waits for as long as it takes.
var bg = context.Background()

var later = spool.Schedule{Steps: []time.Duration{time.Hour}}

// usage and tally are what the store tells, which never fails here.
func usage(s spool.Store) spool.Usage {
	u, _ := s.Usage(bg)
	return u
}

func tally(s spool.Store, now time.Time) spool.Tally {
	t, _ := s.Tally(bg, now)
	return t
}

// leased is a lane of a journal, which it has in any case.
func leased(s *journal.Store, upstream string) spool.Lease {
	l, _ := s.Lease(bg, upstream)
	return l
}

func claim(t testing.TB, s *journal.Store, upstream string, n int) []*spool.Delivery {
	t.Helper()
	ds, err := s.Claim(bg, leased(s, upstream), time.Now(), n, later)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func delivered(n int) []spool.Outcome {
	o := make([]spool.Outcome, n)
	for i := range o {
		o[i] = spool.Outcome{Stage: spool.StageDot, Code: 250, Text: "2.0.0 Ok", Verdict: spool.Delivered}
	}
	return o
}

func read(t testing.TB, s *journal.Store, id spool.ID) []byte {
	t.Helper()
	c, err := s.Content(bg, id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageSurvivesRestart(t *testing.T) {
	dir := folder(t)
	for _, size := range []int{0, 1, 5000, 40 << 10, 256<<10 - 1, 256 << 10, 3 << 20} {
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		s := open(t, journal.Options{Dir: dir})
		env := full()
		id := put(t, s, env, body)
		for range 2 {
			d, err := s.Detail(bg, id)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(d.Envelope, env) {
				t.Errorf("envelope\n%+v\nwant\n%+v", d.Envelope, env)
			}
			if !bytes.Equal(read(t, s, id), body) {
				t.Errorf("body of %d bytes differs", size)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, journal.Options{Dir: dir})
		}
		s.Close()
	}
}

func TestLifeOfAMessage(t *testing.T) {
	dir := folder(t)
	s := open(t, journal.Options{Dir: dir})
	id := put(t, s, full(), []byte("body\r\n"))
	if got, err := s.Lanes(bg); err != nil || len(got) != 2 || got["one"].Shares != 1 || got["two"].Shares != 1 {
		t.Fatal(got)
	}
	d := claim(t, s, "one", 5)
	if len(d) != 1 || !reflect.DeepEqual(d[0].Pending, []int{0, 2}) || d[0].Attempt != 1 || d[0].Share != 0 {
		t.Fatalf("%+v", d)
	}
	if err := s.DotSent(bg, d[0]); err != nil {
		t.Fatal(err)
	}
	due := time.Now().Add(time.Minute).UTC()
	_, err := s.Settle(bg, d[0], spool.Settlement{Due: due, Failover: 1, Warned: true, Outcomes: []spool.Outcome{
		{Stage: spool.StageRcpt, Code: 550, Enhanced: "5.1.1", Text: "unknown", Verdict: spool.Bounced},
		{Stage: spool.StageDot, Cause: "connection reset", Remote: "mx:25"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		detail, err := s.Detail(bg, id)
		if err != nil {
			t.Fatal(err)
		}
		r := detail.Recipients
		if r[0].Status != spool.Bounced || r[0].Upstream != "one" || r[0].Last.Text != "unknown" || !r[0].Due.IsZero() {
			t.Errorf("%+v", r[0])
		}
		if r[1].Status != spool.Pending || r[1].Upstream != "two" || r[1].Attempts != 0 || r[1].Last != nil {
			t.Errorf("%+v", r[1])
		}
		if r[2].Status != spool.Pending || r[2].Upstream != "two" || !r[2].Due.Equal(due) || !r[2].InDoubt || r[2].Last.Cause != "connection reset" {
			t.Errorf("%+v", r[2])
		}
		if got, err := s.Lanes(bg); err != nil || len(got) != 1 || got["two"].Shares != 2 {
			t.Error(got)
		}
		s.Close()
		s = open(t, journal.Options{Dir: dir})
	}
	defer s.Close()
	one, err := s.Take(bg, id, 0)
	if err != nil || !reflect.DeepEqual(one.Pending, []int{2}) || one.Failover != 1 || !one.Warned || !one.InDoubt {
		t.Fatalf("%+v %v", one, err)
	}
	if _, err := s.Take(bg, id, 0); !errors.Is(err, spool.ErrClaimed) {
		t.Error(err)
	}
	if _, err := s.Settle(bg, one, spool.Settlement{Outcomes: delivered(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Take(bg, id, 0); !errors.Is(err, spool.ErrNotFound) {
		t.Error(err)
	}
	c, err := s.Content(bg, id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, d := range claim(t, s, "two", 5) {
		if _, err := s.Settle(bg, d, spool.Settlement{Outcomes: delivered(len(d.Pending))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Detail(bg, id); !errors.Is(err, spool.ErrNotFound) {
		t.Error(err)
	}
	b := make([]byte, 6)
	if _, err := c.ReadAt(b, 0); err != nil || string(b) != "body\r\n" {
		t.Errorf("after it was settled: %q %v", b, err)
	}
	if u := usage(s); u.Messages != 0 || u.Shares != 0 || u.Live != 0 {
		t.Errorf("%+v", u)
	}
}
