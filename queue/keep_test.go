package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/queue/notice"
	"postern/spool"
)

// kept are the shares that are kept, and why each failed.
func (w *world) kept() map[spool.ID]string {
	w.t.Helper()
	all := map[spool.ID]string{}
	w.store.walk(func(s spool.Summary) bool {
		if s.Kept {
			d, err := w.store.store.Detail(bg, s.ID)
			if err != nil {
				w.t.Fatal(err)
			}
			if r := d.Recipients[0]; !s.Held || !r.Kept || !r.Held {
				w.t.Errorf("kept and not on hold: %+v", r)
			}
			all[s.ID] = notice.Answer(d.Recipients[0].Last)
		}
		return true
	})
	return all
}

// refuseBounces refuses everything for good that comes from <>.
func refuseBounces(d *spool.Delivery, _ string) spool.Outcome {
	if d.Envelope.From == "" {
		return replyAt(spool.StageRcpt, 550, "5.1.1", "User unknown")
	}
	return replyAt(spool.StageDot, 250, "2.0.0", "ok")
}

// A notification that fails is kept with its reason, over a restart, and is
// not tried again by itself; after the lifetime it ends, and that is told.
func TestBounceIsKept(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = refuse("b@example.com", "gone@app.example") })
		w.put("gone@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		n := w.recorder.notifications()
		if len(n) != 1 {
			t.Fatalf("notifications: %+v", n)
		}
		id := n[0].ID
		check := func(when string) {
			t.Helper()
			if got := w.kept(); len(got) != 1 || got[id] != "550 5.1.1 User unknown" {
				t.Fatalf("%s: kept: %v", when, got)
			}
			if n := len(w.peers.tries(id)); n != 1 {
				t.Errorf("%s: tried %d times", when, n)
			}
		}
		check("at once")
		if got := w.recorder.heard("kept office 1: 550"); got != 1 {
			t.Errorf("told %d times: %v", got, w.recorder.log)
		}
		a := w.recorder.tried()
		if last := a[len(a)-1]; last.ID != id || last.Outcome.Verdict != spool.Bounced || !last.Held || !last.Due.IsZero() {
			t.Errorf("attempt: %+v", last)
		}
		w.crash()
		after(119 * time.Hour)
		check("after four days and a restart")
		if r, err := w.queue.Retry(t.Context(), Select{All: true}, "root"); err != nil || r.Done != 0 {
			t.Errorf("retry of all: %+v, %v", r, err)
		}
		after(30 * time.Minute)
		check("after a retry of all")
		after(time.Hour)
		if w.store.count() != 0 || w.recorder.heard("kept ended office 1: age") != 1 {
			t.Errorf("%d left; %v", w.store.count(), w.recorder.log)
		}
	})
}

// What is kept goes by a retry that names it and by a release; a refusal keeps
// it again, a delivery ends it.
func TestKeptIsRetried(t *testing.T) {
	for name, do := range map[string]func(*world, spool.ID) (Result, error){
		"retry of the message": func(w *world, id spool.ID) (Result, error) {
			return w.queue.Retry(w.t.Context(), Select{IDs: []spool.ID{id}}, "root")
		},
		"retry of the share": func(w *world, id spool.ID) (Result, error) {
			return w.queue.Retry(w.t.Context(), Select{Shares: []Share{{id, 0}}}, "root")
		},
		"release": func(w *world, id spool.ID) (Result, error) {
			return w.queue.Release(w.t.Context(), Select{All: true}, "root")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.t = t
				w.peers.set("office", func(p *peer) { p.answer = refuseBounces })
				id := w.put("", []string{"office"}, "b@example.com")
				after(time.Second)
				if r, err := do(w, id); err != nil || r.Done != 1 || len(r.Held) != 0 {
					t.Fatalf("%+v, %v", r, err)
				}
				after(time.Second)
				if got := w.kept(); len(got) != 1 || len(w.peers.tries(id)) != 2 {
					t.Fatalf("kept %v after %d attempts", got, len(w.peers.tries(id)))
				}
				w.peers.set("office", func(p *peer) { p.answer = nil })
				if r, err := do(w, id); err != nil || r.Done != 1 {
					t.Fatalf("%+v, %v", r, err)
				}
				after(time.Second)
				if w.store.count() != 0 || !slices.Equal(w.store.ends(id, "b@example.com"), []spool.Status{spool.Delivered}) {
					t.Errorf("%d left, ended as %v", w.store.count(), w.store.ends(id, "b@example.com"))
				}
			})
		})
	}
}

// Where its lifetime is over it is kept with its last answer. An operator's
// try is made whatever its age, also where it has to wait for its upstream.
func TestKeptByItsLifetime(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = greylist })
		id := w.put("", []string{"office"}, "b@example.com")
		after(119 * time.Hour)
		if got := w.kept(); len(got) != 0 {
			t.Fatalf("kept too early: %v", got)
		}
		after(2 * time.Hour)
		why := "the message could not be delivered within its lifetime; the last answer: 450 4.2.0 Greylisted"
		if got := w.kept(); got[id] != why || w.recorder.heard("expired office 1") != 1 {
			t.Fatalf("kept: %v; %v", got, w.recorder.log)
		}
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		if r, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Done != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		after(time.Hour)
		if got := w.kept(); len(got) != 0 {
			t.Errorf("kept again before it was tried: %v", got)
		}
		tries := len(w.peers.tries(id))
		if err := w.queue.Resume("office", "root"); err != nil {
			t.Fatal(err)
		}
		after(30 * time.Minute)
		if got := w.kept(); got[id] != why || len(w.peers.tries(id)) == tries {
			t.Errorf("kept %v, %d attempts more", got, len(w.peers.tries(id))-tries)
		}
	})
}

// A deadline that asks for a return is over: there is nobody to return it to.
func TestKeptByItsDeadline(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = greylist })
		id := w.putEnvelope(&spool.Envelope{Accepted: time.Now(), DeliverBy: &spool.DeliverBy{Deadline: time.Now().Add(time.Hour), Return: true},
			Recipients: []spool.Recipient{{Address: "b@example.com", Upstreams: []string{"office"}}}})
		after(2 * time.Hour)
		if got := w.kept(); !strings.HasPrefix(got[id], "the message could not be delivered before the deadline") {
			t.Fatalf("kept: %v; %v", got, w.recorder.log)
		}
		w.peers.set("office", func(p *peer) { p.answer = nil })
		if r, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Done != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		after(time.Second)
		if len(w.peers.mail("")) != 1 || w.store.count() != 0 {
			t.Errorf("%d left", w.store.count())
		}
	})
}

// The oldest ends where more than a tenth of the spool would be kept.
func TestKeptBeyondItsRoom(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.cfg.Spool.MaxMessages = 30
		w.peers.set("office", func(p *peer) { p.answer = refuseBounces })
		var ids []spool.ID
		for range 5 {
			ids = append(ids, w.put("", []string{"office"}, "b@example.com"))
			after(time.Second)
		}
		after(2 * time.Minute)
		got := w.kept()
		if len(got) != 3 || got[ids[0]] != "" || got[ids[1]] != "" || w.recorder.heard("kept ended office 1: room") != 2 {
			t.Errorf("of %v: %v; %v", ids, got, w.recorder.log)
		}
	})
}

func TestKeptRoom(t *testing.T) {
	for _, c := range []struct {
		spool    config.Spool
		messages int
		bytes    int64
	}{
		{config.Spool{}, 1000, 64 << 20},
		{config.Spool{MaxMessages: 2_000_000, MaxSize: 10 << 30}, 1000, 64 << 20},
		{config.Spool{MaxMessages: 50, MaxSize: 1 << 20}, 5, 104857},
	} {
		if messages, bytes := keptRoom(&c.spool); messages != c.messages || bytes != c.bytes {
			t.Errorf("%+v: %d, %d", c.spool, messages, bytes)
		}
	}
}

// An operator cannot return what has no sender, kept or not; a hold makes an
// ordinary hold of what is kept, without an end; a removal ends it.
func TestOperationsOnKept(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = refuseBounces })
		id := w.put("", []string{"office"}, "b@example.com")
		after(time.Second)
		w.peers.set("office", func(p *peer) { p.answer = greylist })
		waits := w.put("", []string{"office"}, "b@example.com")
		after(time.Second)
		ctx := t.Context()
		r, err := w.queue.Bounce(ctx, Select{All: true}, "root", "no")
		if err != nil || r.Done != 0 || !slices.Equal(r.Senderless, []spool.ID{id, waits}) {
			t.Errorf("bounce: %+v, %v", r, err)
		}
		if got := w.kept(); len(got) != 1 || w.store.count() != 2 || w.recorder.heard("bounce by root") != 0 {
			t.Errorf("after the bounce: %v, %d left", got, w.store.count())
		}
		if r, err := w.queue.Hold(ctx, Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Done != 1 {
			t.Errorf("hold: %+v, %v", r, err)
		}
		if r, err := w.queue.Remove(ctx, Select{IDs: []spool.ID{waits}}, "root"); err != nil || r.Done != 1 {
			t.Errorf("remove: %+v, %v", r, err)
		}
		after(1000 * time.Hour)
		if r, err := w.queue.Retry(ctx, Select{IDs: []spool.ID{id}}, "root"); err != nil || !slices.Equal(r.Held, []spool.ID{id}) {
			t.Errorf("retry of what is on hold: %+v, %v", r, err)
		}
		if r, err := w.queue.Retry(ctx, Select{Shares: []Share{{id, 0}}}, "root"); err != nil || r.Done != 0 || !slices.Equal(r.Held, []spool.ID{id}) {
			t.Errorf("retry of its share: %+v, %v", r, err)
		}
		if r, err := w.queue.Remove(ctx, Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Done != 1 || w.store.count() != 0 {
			t.Errorf("remove: %+v, %v", r, err)
		}
	})
}

// Of several recipients from <>, those that failed wait for the others.
func TestKeptBesideOthers(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) {
			p.answer = func(d *spool.Delivery, to string) spool.Outcome {
				switch {
				case to == "bad@example.com":
					return replyAt(spool.StageRcpt, 550, "5.1.1", "User unknown")
				case to == "slow@example.com" && d.Attempt < 3:
					return greylist(d, to)
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		})
		id := w.put("", []string{"office"}, "bad@example.com", "good@example.com", "slow@example.com")
		after(time.Second)
		if got := w.kept(); len(got) != 0 {
			t.Errorf("kept beside one that waits: %v", got)
		}
		after(time.Hour)
		if got := w.kept(); got[id] != "550 5.1.1 User unknown" || len(w.peers.mail("")) != 2 {
			t.Errorf("kept %v, arrived %v", got, w.peers.mail(""))
		}
		if r, err := w.queue.Remove(t.Context(), Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Recipients != 1 {
			t.Errorf("remove: %+v, %v", r, err)
		}
	})
}

// withCopy is an envelope whose last recipient gets a copy.
func withCopy(from string, to ...string) *spool.Envelope {
	env := &spool.Envelope{From: from, Accepted: time.Now(), MessageID: "<m1@app.example>"}
	for _, r := range to {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: r, Upstreams: []string{"office"}})
	}
	last := &env.Recipients[len(to)-1]
	last.Notify, last.Copy = spool.NotifyNever, true
	return env
}

// A copy that fails is kept, whatever becomes of the others, and its sender is
// told of the others alone.
func TestCopyIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		answer   func(*spool.Delivery, string) spool.Outcome
		wait     time.Duration
		told     int // recipients, in notifications
		attempts int // of the share until the copy is kept; 0: any number
		why      string
		ends     []spool.Status
	}{
		"the copy alone": {refuse("archive@example.com"), time.Hour, 0, 1, "550 5.1.1 User unknown", []spool.Status{spool.Delivered, spool.Pending}},
		"all of it":      {refuse("b@example.com", "archive@example.com"), time.Hour, 1, 2, "550 5.1.1 User unknown", []spool.Status{spool.Bounced, spool.Pending}},
		"too old": {greylist, 122 * time.Hour, 1, 0, "the message could not be delivered within its lifetime; the last answer: 450 4.2.0 Greylisted",
			[]spool.Status{spool.Bounced, spool.Pending}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.peers.set("office", func(p *peer) { p.answer = c.answer })
				id := w.putEnvelope(withCopy("a@app.example", "b@example.com", "archive@example.com"))
				after(c.wait)
				d, err := w.store.store.Detail(bg, id)
				if err != nil {
					t.Fatal(err)
				}
				r := d.Recipients[1]
				if !r.Kept || !r.Held || notice.Answer(r.Last) != c.why {
					t.Errorf("the copy: %+v, %q", r, notice.Answer(r.Last))
				}
				if got := []spool.Status{d.Recipients[0].Status, r.Status}; !slices.Equal(got, c.ends) {
					t.Errorf("ended as %v", got)
				}
				if n := len(w.peers.tries(id)); c.attempts != 0 && n != c.attempts {
					t.Errorf("%d attempts", n)
				}
				told := 0
				for _, n := range w.recorder.notifications() {
					if n.Kind == notice.Failed {
						told += n.Recipients
					}
				}
				if told != c.told || w.recorder.heard("kept office 1: ") != 1 {
					t.Errorf("the sender was told of %d; %v", told, w.recorder.log)
				}
				w.peers.set("office", func(p *peer) { p.answer = nil })
				if r, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Done != 1 {
					t.Fatalf("%+v, %v", r, err)
				}
				after(time.Second)
				if !slices.Equal(w.store.ends(id, "archive@example.com"), []spool.Status{spool.Delivered}) {
					t.Errorf("the copy ended as %v", w.store.ends(id, "archive@example.com"))
				}
			})
		})
	}
}

// The postmaster is told once of a bounce that is kept, by a notice from <>; that
// one may fail as well, and nobody is told of it.
func TestPostmasterIsTold(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.t = t
		cfg := *w.queue.cfg.Load()
		cfg.Submission.Postmaster = "ops@example.com"
		w.queue.cfg.Store(&cfg)
		told := func() (list []Notified) {
			for _, n := range w.recorder.notifications() {
				if n.To == "ops@example.com" {
					list = append(list, n)
				}
			}
			return list
		}
		w.peers.set("office", func(p *peer) { p.answer = refuse("gone@app.example") })
		id := w.put("", []string{"office"}, "gone@app.example", "other@app.example")
		after(time.Second)
		if list := told(); len(list) != 1 || list[0].Original != id || list[0].Recipients != 1 {
			t.Fatalf("told: %+v", list)
		}
		mail := w.peers.mail("office")
		text := mail[len(mail)-1].content
		for _, want := range []string{"From: Mail Delivery System <MAILER-DAEMON@", "To: <ops@example.com>\r\n", "Subject: Undelivered bounce is kept\r\n",
			"Auto-Submitted: auto-replied\r\n", "\r\n  <gone@app.example>\r\n", "`postern queue show " + id.String() + "`", "Action: failed\r\n", "The message was accepted here"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if strings.Contains(text, "What you can do") || strings.Contains(text, "other@app.example") {
			t.Errorf("%s", text)
		}
		if got := w.kept(); len(got) != 1 || got[id] == "" {
			t.Fatalf("kept: %v", got)
		}
		if r, err := w.queue.Retry(t.Context(), Select{IDs: []spool.ID{id}}, "root"); err != nil || r.Done != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		after(time.Second)
		if list := told(); len(list) != 1 || len(w.kept()) != 1 || len(w.peers.tries(id)) != 2 {
			t.Errorf("told of a retry: %+v", list)
		}
		w.crash()
		w.queue.cfg.Store(&cfg)
		w.peers.set("office", func(p *peer) { p.answer = refuseBounces })
		second := w.put("", []string{"office"}, "gone@app.example")
		after(time.Hour)
		if list := told(); len(list) != 2 || list[1].Original != second || len(w.kept()) != 3 {
			t.Errorf("told %+v, kept %v", list, w.kept())
		}
	})
}

// A spool that takes no notice keeps the bounce all the same.
func TestPostmasterCannotBeTold(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.t = t
		cfg := *w.queue.cfg.Load()
		cfg.Submission.Postmaster = "ops@example.com"
		w.queue.cfg.Store(&cfg)
		w.peers.set("office", func(p *peer) { p.answer = refuseBounces })
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		id := w.put("", []string{"office"}, "gone@app.example")
		w.store.failWith(func(op string) error {
			if op == "create" {
				return errors.New("disk full")
			}
			return nil
		})
		if err := w.queue.Resume("office", "root"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if n := w.recorder.heard("not notified failed"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if got := w.kept(); len(got) != 1 || got[id] == "" {
			t.Errorf("kept: %v", got)
		}
	})
}
