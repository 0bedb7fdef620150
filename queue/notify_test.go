package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/queue/notice"
	"postern/queue/notice/noticetest"
	"postern/spool"
)

// refuse answers RCPT with a 550 for everybody in bad.
func refuse(bad ...string) func(*spool.Delivery, string) spool.Outcome {
	return func(_ *spool.Delivery, to string) spool.Outcome {
		for _, b := range bad {
			if to == b {
				return replyAt(spool.StageRcpt, 550, "5.1.1", "User unknown")
			}
		}
		return replyAt(spool.StageDot, 250, "2.0.0", "ok")
	}
}

func greylist(*spool.Delivery, string) spool.Outcome {
	return replyAt(spool.StageRcpt, 450, "4.2.0", "Greylisted")
}

func TestFailureNotification(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = refuse("x@example.com", "y@example.com") })
		id := w.put("a@app.example", []string{"office"}, "x@example.com", "good@example.com", "y@example.com")
		after(time.Second)
		got := w.peers.mail("office")
		if len(got) != 2 || got[0].to != "good@example.com" || got[1].to != "a@app.example" || got[1].from != "" {
			t.Fatalf("arrived: %+v", got)
		}
		fields := noticetest.Parse(t, []byte(got[1].content))
		if len(fields) != 2 || fields[0].Get("Final-Recipient") != "rfc822; x@example.com" || fields[1].Get("Status") != "5.1.1" ||
			fields[0].Get("Action") != "failed" {
			t.Errorf("fields: %v", fields)
		}
		n := w.recorder.notifications()
		if len(n) != 1 || n[0].Original != id || n[0].Recipients != 2 || n[0].Kind != notice.Failed {
			t.Errorf("notifications: %+v", n)
		}
		for to, want := range map[string]spool.Status{"x@example.com": spool.Bounced, "y@example.com": spool.Bounced, "good@example.com": spool.Delivered} {
			if ends := w.store.ends(id, to); len(ends) != 1 || ends[0] != want {
				t.Errorf("%s ended as %v", to, ends)
			}
		}
		if w.store.count() != 0 {
			t.Errorf("%d left", w.store.count())
		}
	})
}

// Four hours of greylisting: one warning, and only one; five days: a failure.
func TestDelayThenFailure(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(d *spool.Delivery, to string) spool.Outcome {
				if to == "slow@example.com" {
					return greylist(d, to)
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		start := time.Now()
		id := w.put("a@app.example", []string{"office"}, "slow@example.com")
		after(3*time.Hour + 59*time.Minute)
		if n := w.recorder.notifications(); len(n) != 0 {
			t.Fatalf("too early: %+v", n)
		}
		after(3 * time.Minute)
		got := w.peers.mail("office")
		if len(got) != 1 {
			t.Fatalf("%d notifications arrived", len(got))
		}
		f := noticetest.Parse(t, []byte(got[0].content))[0]
		if f.Get("Action") != "delayed" || f.Get("Status") != "4.2.0" || f.Get("Will-Retry-Until") != start.Add(120*time.Hour).Format("Mon, 2 Jan 2006 15:04:05 -0700") {
			t.Errorf("fields: %v", f)
		}
		after(115 * time.Hour)
		if n := w.recorder.notifications(); len(n) != 1 {
			t.Fatalf("%d notifications before the end", len(n))
		}
		after(2 * time.Hour)
		got = w.peers.mail("office")
		if len(got) != 2 {
			t.Fatalf("%d notifications arrived", len(got))
		}
		f = noticetest.Parse(t, []byte(got[1].content))[0]
		if f.Get("Action") != "failed" || f.Get("Status") != "4.4.7" || f.Get("Diagnostic-Code") != "smtp; 450 4.2.0 Greylisted" {
			t.Errorf("fields: %v", f)
		}
		if d := got[1].at.Sub(start); d < 120*time.Hour || d > 121*time.Hour {
			t.Errorf("ended after %v", d)
		}
		if ends := w.store.ends(id, "slow@example.com"); len(ends) != 1 || ends[0] != spool.Bounced {
			t.Errorf("ended as %v", ends)
		}
		// 1, 5, 15 minutes, then hourly, each ± 20 %.
		tries := w.peers.tries(id)
		want := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour, time.Hour}
		for i, step := range want {
			if gap := tries[i+1].Sub(tries[i]); gap < step*8/10 || gap > step*12/10+time.Second {
				t.Errorf("attempt %d came %v after the one before, want %v ± 20 %%", i+2, gap, step)
			}
		}
		if n := len(tries); n < 100 || n > 150 {
			t.Errorf("%d attempts in five days", n)
		}
	})
}

// Mail in a lane that is down has its rights too.
func TestStuckLaneExpires(t *testing.T) {
	inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
		w.queue.route = func(sender string, upstreams []string) []spool.Recipient {
			if sender != "a@app.example" || !slices.Equal(upstreams, []string{"office"}) {
				t.Errorf("route asked for %q by %q", sender, upstreams)
			}
			return []spool.Recipient{{Address: sender, Upstreams: []string{"backup"}}}
		}
		w.peers.set("office", func(p *peer) {
			p.fault = &spool.Fault{Outcome: replyAt(spool.StageSignIn, 535, "5.7.8", "no")}
		})
		for range 5 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(5 * time.Hour)
		if n := len(w.peers.mail("backup")); n != 5 {
			t.Fatalf("%d warnings", n)
		}
		after(120 * time.Hour)
		if n := len(w.peers.mail("backup")); n != 10 || w.store.count() != 0 {
			t.Errorf("%d notifications, %d left", n, w.store.count())
		}
		if n := w.recorder.heard("expired office 1"); n != 5 {
			t.Errorf("%d expired", n)
		}
	})
}

func TestNeverAboutANotification(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = refuse("b@example.com", "a@app.example") })
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Minute)
		if n := w.recorder.notifications(); len(n) != 1 {
			t.Errorf("%d notifications", len(n))
		}
		if len(w.kept()) != 1 || w.store.count() != 1 || len(w.peers.mail("")) != 0 {
			t.Errorf("kept %v of %d, %d arrived", w.kept(), w.store.count(), len(w.peers.mail("")))
		}
	})
}

func TestDeliverBy(t *testing.T) {
	for name, back := range map[string]bool{"return": true, "notify": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.peers.set("office", func(p *peer) {
					p.answer = func(d *spool.Delivery, to string) spool.Outcome {
						if d.Envelope.From == "" {
							return replyAt(spool.StageDot, 250, "", "ok")
						}
						return greylist(d, to)
					}
				})
				after(time.Hour)
				id := w.putEnvelope(&spool.Envelope{From: "a@app.example", Accepted: time.Now(),
					DeliverBy:  &spool.DeliverBy{Deadline: time.Now().Add(150 * time.Second), Return: back},
					Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{"office"}}}})
				after(149 * time.Second)
				if n := w.recorder.notifications(); len(n) != 0 {
					t.Fatalf("before the deadline: %+v", n)
				}
				after(3 * time.Second)
				got := w.peers.mail("")
				if len(got) != 1 {
					t.Fatalf("%d notifications just after the deadline", len(got))
				}
				f := noticetest.Parse(t, []byte(got[0].content))[0]
				if back && (f.Get("Action") != "failed" || f.Get("Status") != "5.4.7" || len(w.store.ends(id, "b@example.com")) != 1) {
					t.Errorf("fields: %v", f)
				}
				if !back && (f.Get("Action") != "delayed" || len(w.store.ends(id, "b@example.com")) != 0) {
					t.Errorf("fields: %v", f)
				}
				after(24 * time.Hour)
				if n := len(w.recorder.notifications()); n != 1 {
					t.Errorf("%d notifications a day later", n)
				}
			})
		})
	}
}

func TestSuccessNotification(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		env := &spool.Envelope{From: "a@app.example", Accepted: time.Now(), Recipients: []spool.Recipient{
			{Address: "b@example.com", Upstreams: []string{"office"}, Notify: spool.NotifySuccess | spool.NotifyFailure},
			{Address: "c@example.com", Upstreams: []string{"office"}}}}
		w.putEnvelope(env)
		after(time.Second)
		got := w.peers.mail("")
		if len(got) != 3 || got[2].to != "a@app.example" {
			t.Fatalf("arrived: %+v", got)
		}
		f := noticetest.Parse(t, []byte(got[2].content))
		if !strings.Contains(got[2].content, "Subject: hello") || w.recorder.heard("store failed") != 0 {
			t.Errorf("the header is missing: %s", got[2].content)
		}
		if len(f) != 1 || f[0].Get("Action") != "relayed" || f[0].Get("Status") != "2.0.0" || f[0].Get("Final-Recipient") != "rfc822; b@example.com" {
			t.Errorf("fields: %v", f)
		}
	})
}

// A failure that can't be reported is no failure yet.
func TestNoNotificationNoFailure(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = refuse("b@example.com") })
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		id := w.put("a@app.example", []string{"office"}, "b@example.com", "c@example.com")
		w.store.failWith(func(op string) error {
			if op == "create" || op == "commit" {
				return errors.New("disk full")
			}
			return nil
		})
		if err := w.queue.Resume("office", "root"); err != nil {
			t.Fatal(err)
		}
		after(2 * time.Minute)
		if n := w.recorder.heard("not notified failed"); n < 2 {
			t.Errorf("told %d times", n)
		}
		if ends := w.store.ends(id, "b@example.com"); len(ends) != 0 {
			t.Fatalf("let go without a notification: %v", ends)
		}
		w.store.failWith(nil)
		after(10 * time.Minute)
		if ends := w.store.ends(id, "b@example.com"); len(ends) != 1 || ends[0] != spool.Bounced {
			t.Errorf("ended as %v", ends)
		}
		if n := len(w.recorder.notifications()); n != 1 {
			t.Errorf("%d notifications", n)
		}
		if n := len(w.peers.mail("")); n != 2 {
			t.Errorf("%d arrived", n)
		}
	})
}

// Nobody gets a notification that no route lets out; the message ends all the
// same. Several get it where the sender stands for several.
func TestNotifiedByRules(t *testing.T) {
	for name, to := range map[string][]spool.Recipient{
		"nobody":  nil,
		"several": {{Address: "x@ops.example", Upstreams: []string{"backup"}}, {Address: "y@ops.example", Upstreams: []string{"backup"}}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
				w.queue.route = func(string, []string) []spool.Recipient { return to }
				w.peers.set("office", func(p *peer) {
					p.answer = func(*spool.Delivery, string) spool.Outcome { return replyAt(spool.StageRcpt, 550, "5.1.1", "unknown") }
				})
				w.put("root@app.example", []string{"office"}, "b@example.com")
				after(time.Minute)
				if got := len(w.peers.mail("backup")); got != len(to) || w.store.count() != 0 {
					t.Errorf("%d notified, %d left", got, w.store.count())
				}
			})
		})
	}
}
