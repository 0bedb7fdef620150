package queue

import (
	"errors"
	"strings"
	"testing"
	"time"

	"postern/spool"
)

// RFC 8689 §5: the content of a message that was to travel by TLS only is not
// returned, whatever RET says.
func TestNotificationKeepsWhatRequiresTLS(t *testing.T) {
	for _, require := range []bool{false, true} {
		inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
			w.peers.set("office", func(p *peer) { p.answer = refuse("x@example.com") })
			w.putEnvelope(&spool.Envelope{From: "a@app.example", Accepted: time.Now(), Return: "FULL", RequireTLS: require,
				Recipients: []spool.Recipient{{Address: "x@example.com", Upstreams: []string{"office"}}}})
			after(time.Second)
			got := w.peers.mail("office")
			if len(got) != 1 || got[0].to != "a@app.example" {
				t.Fatalf("arrived: %+v", got)
			}
			if full := strings.Contains(got[0].content, "Content-Type: message/rfc822"); full == require {
				t.Errorf("REQUIRETLS %v: the whole message returned: %v", require, full)
			}
		})
	}
}

// What an operator was told is done has to be on disk; otherwise it is said.
func TestOperationThatIsNotRecorded(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		if err := w.queue.Pause("office", "root"); err != nil {
			t.Fatal(err)
		}
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		broken := errors.New("no space left on device")
		w.store.failWith(func(op string) error {
			if op == "settle" {
				return broken
			}
			return nil
		})
		r, err := w.queue.Hold(t.Context(), Select{All: true}, "root")
		if !errors.Is(err, ErrNotRecorded) || !errors.Is(err, broken) || r.Done != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		w.store.failWith(nil)
	})
}

// Whoever resumes an upstream, or releases mail for it, wants to see it tried.
func TestResumeAndReleaseProbe(t *testing.T) {
	for name, act := range map[string]func(*world) error{
		"resume": func(w *world) error { return w.queue.Resume("office", "root") },
		"release": func(w *world) error {
			_, err := w.queue.Release(w.queue.ctx, Select{All: true}, "root")
			return err
		},
	} {
		inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
			w.peers.set("office", func(p *peer) {
				p.fault = &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageSignIn, Code: 535, Enhanced: "5.7.8", Text: "no"}}
			})
			w.put("a@app.example", []string{"office"}, "b@example.com")
			after(time.Second)
			if w.queue.States()["office"] != Parked {
				t.Fatalf("%s: %v", name, w.queue.States())
			}
			if name == "release" {
				if _, err := w.queue.Hold(t.Context(), Select{All: true}, "root"); err != nil {
					t.Fatal(err)
				}
			}
			w.peers.set("office", func(p *peer) { p.fault = nil })
			if err := act(w); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			if w.queue.States()["office"] != Up {
				t.Errorf("%s did not probe: %v", name, w.queue.States())
			}
		})
	}
}

// Single refusals that have nothing to do with speed slow the lane once, until
// that is known; only several in a row are about the upstream.
func TestSingleRefusalsLeaveTheLaneUp(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		n := 0
		busy := func(every int) func(*spool.Delivery, string) spool.Outcome {
			return func(*spool.Delivery, string) spool.Outcome {
				if n++; n%every == 0 {
					return replyAt(spool.StageMail, 451, "4.3.0", "busy")
				}
				return replyAt(spool.StageDot, 250, "2.0.0", "ok")
			}
		}
		w.peers.set("office", func(p *peer) { p.answer = busy(4); p.limit = 1 })
		for range 40 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(time.Hour)
		if got := w.recorder.heard("lane office"); got != 2 || w.queue.States()["office"] != Up || w.store.count() != 0 {
			t.Errorf("%d changes of state, now %s, %d messages are left", got, w.queue.States()["office"], w.store.count())
		}
		w.peers.set("office", func(p *peer) { p.answer = busy(1) })
		for range 10 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(time.Hour)
		if s := w.queue.States()["office"]; s != Waiting {
			t.Errorf("an upstream that refuses everything is %s", s)
		}
	})
}
