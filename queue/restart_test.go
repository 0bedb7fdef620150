package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/queue/notice"
	"postern/spool"
)

// Due times survive a restart: what is deferred stays so, and what is overdue
// goes out over the connections that there are.
func TestRestart(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.answer = greylist })
		for range 40 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
		}
		after(40 * time.Minute) // the next attempt is an hour after the last
		tries := len(w.recorder.tried())
		if tries != 160 {
			t.Fatalf("%d attempts", tries)
		}
		w.crash()
		after(time.Minute)
		if n := len(w.recorder.tried()); n != tries {
			t.Errorf("%d attempts right after the restart", n-tries)
		}
		w.peers.set("office", func(p *peer) { p.answer = nil; p.most = 0 })
		after(80 * time.Minute)
		if n := len(w.peers.mail("")); n != 40 || w.store.count() != 0 {
			t.Errorf("%d of 40 arrived, %d left", n, w.store.count())
		}
		if m := w.peers.look("office").most; m > 4 {
			t.Errorf("%d sessions at a time", m)
		}
	})
}

// An attempt that the end of the process cut off is repeated when its recorded
// due time comes, and is told to be in doubt where the dot was sent.
func TestCrashAfterDot(t *testing.T) {
	for _, policy := range []config.AfterDot{"retry", "hold"} {
		t.Run(string(policy), func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.cfg.Retry.AfterDot = policy
				w.store.failWith(func(op string) error {
					if op == "settle" {
						w.store.crash() // between the upstream's 250 and our record
						return errGone
					}
					return nil
				})
				id := w.put("a@app.example", []string{"office"}, "b@example.com")
				after(time.Second)
				w.store.failWith(nil)
				w.crash()
				after(30 * time.Second)
				if n := len(w.peers.mail("")); n != 1 {
					t.Fatalf("%d copies before the recorded due time", n)
				}
				after(time.Hour)
				if n := w.recorder.heard("in doubt office 1 held=" + fmt.Sprint(policy == "hold")); n != 1 {
					t.Errorf("told %d times: %v", n, w.recorder.log)
				}
				if policy == "hold" {
					if n := len(w.peers.mail("")); n != 1 {
						t.Errorf("%d copies while held", n)
					}
					r, err := w.queue.Release(t.Context(), Select{IDs: []spool.ID{id}}, "root")
					if err != nil || r.Done != 1 {
						t.Fatalf("release: %+v, %v", r, err)
					}
					after(time.Second)
				}
				if n := len(w.peers.mail("")); n != 2 || w.store.count() != 0 {
					t.Errorf("%d copies, %d left", n, w.store.count())
				}
			})
		})
	}
}

// No answer to the dot, with the process alive.
func TestNoAnswerToDot(t *testing.T) {
	for _, policy := range []config.AfterDot{"retry", "hold"} {
		t.Run(string(policy), func(t *testing.T) {
			inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
				w.cfg.Retry.AfterDot = policy
				w.peers.set("office", func(p *peer) {
					p.answer = func(d *spool.Delivery, _ string) spool.Outcome {
						if d.Attempt == 1 {
							return spool.Outcome{Stage: spool.StageDot, Cause: "connection reset"}
						}
						if d.Attempt < 4 { // refused, then: the doubt is decided once
							return replyAt(spool.StageRcpt, 450, "4.2.0", "later")
						}
						return replyAt(spool.StageDot, 250, "", "ok")
					}
				})
				w.put("a@app.example", []string{"office"}, "b@example.com")
				after(2 * time.Hour)
				if policy == "hold" {
					if n := len(w.recorder.tried()); n != 1 {
						t.Fatalf("%d attempts while held", n)
					}
					if _, err := w.queue.Release(t.Context(), Select{All: true}, "root"); err != nil {
						t.Fatal(err)
					}
					after(2 * time.Hour)
				}
				if n := len(w.peers.mail("")); n != 1 {
					t.Errorf("%d arrived", n)
				}
				if n := w.recorder.heard("in doubt"); n != 1 {
					t.Errorf("told %d times: %v", n, w.recorder.log)
				}
			})
		})
	}
}

// Each call of the store fails for a while, one kind at a time: nothing is
// lost, and it goes on by itself.
func TestStoreFails(t *testing.T) {
	for _, op := range []string{"claim", "take", "dot", "settle", "content", "detail", "create", "commit"} {
		t.Run(op, func(t *testing.T) {
			inBubble(t, []string{"office", "backup"}, func(t *testing.T, w *world) {
				w.withRoute("office", "backup")
				w.peers.set("office", func(p *peer) { p.answer = refuse("bad@example.com") })
				var failing atomic.Bool
				w.store.failWith(func(o string) error {
					if failing.Load() && o == op {
						return errors.New("input/output error")
					}
					return nil
				})
				w.peers.set("backup", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
				for i := range 10 {
					w.put("a@app.example", []string{"office"}, "good@example.com", "bad@example.com")
					w.put("a@app.example", []string{"backup", "office"}, "good@example.com")
					if i == 4 {
						synctest.Wait()
						failing.Store(op != "create" && op != "commit")
					}
				}
				synctest.Wait()
				failing.Store(true)
				after(10 * time.Minute)
				failing.Store(false)
				after(3 * time.Hour)
				if w.store.count() != 0 {
					t.Fatalf("%d left", w.store.count())
				}
				good, notices := 0, 0
				for _, a := range w.peers.mail("") {
					switch a.to {
					case "good@example.com":
						good++
					case "a@app.example":
						notices++
					}
				}
				if good != 20 || notices != 10 {
					t.Errorf("%d of 20 arrived, and %d of 10 notifications; %v", good, notices, w.recorder.log)
				}
			})
		})
	}
}

// Whatever upstreams answer, and whenever the process ends: each recipient
// ends exactly once and is told of at most once, apart from a crash between
// notification and record, and there is never a notification about one.
// POSTERN_QUEUE_SEEDS sets how many worlds are tried.
func TestEveryRecipientEndsOnce(t *testing.T) {
	seeds := 60
	if n, err := strconv.Atoi(os.Getenv("POSTERN_QUEUE_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		if t.Failed() {
			t.Fatalf("seed %d", seed-1)
		}
		synctest.Test(t, func(t *testing.T) { chaos(t, uint64(seed), seed%4, 1+seed%15) })
	}
}

func chaos(t *testing.T, seed uint64, crashes, messages int) {
	w := newWorld(t, "office", "backup")
	w.queue.Start()
	defer w.end()
	w.withRoute("office", "backup")
	r := rand.New(rand.NewPCG(seed, 1))
	roll := func(n int) int { return w.peers.roll(r, n) }
	stages := []spool.Stage{spool.StageMail, spool.StageRcpt, spool.StageRcpt, spool.StageData, spool.StageBody, spool.StageDot, spool.StageDot}
	codes := []int{250, 250, 250, 0, 421, 450, 451, 452, 530, 550, 552, 554, 354, 999}
	for _, name := range []string{"office", "backup"} {
		w.peers.set(name, func(p *peer) {
			p.answer = func(*spool.Delivery, string) spool.Outcome {
				return replyAt(stages[roll(len(stages))], codes[roll(len(codes))], "", "as it likes")
			}
		})
	}
	want := map[spool.ID][]string{}
	for range messages {
		var to []string
		for i := range 1 + roll(3) {
			to = append(to, fmt.Sprintf("r%d@example.com", i))
		}
		list := [][]string{{"office"}, {"backup"}, {"office", "backup"}}[roll(3)]
		want[w.put("a@app.example", list, to...)] = to
	}
	after(time.Second)
	for range crashes {
		after(time.Duration(roll(int(2 * time.Hour))))
		w.crash()
	}
	for range 8 * 24 {
		if after(time.Hour); w.store.count() == 0 {
			break
		}
	}
	for id, rcpts := range want {
		for _, to := range rcpts {
			if ends := w.store.ends(id, to); len(ends) != 1 {
				t.Errorf("%s of %s ended as %v", to, id, ends)
			}
		}
	}
	if n := w.store.count(); n != 0 {
		t.Errorf("%d left", n)
	}
	failures := map[spool.ID]int{}
	for _, n := range w.recorder.notifications() {
		if _, ok := want[n.Original]; !ok {
			t.Errorf("a notification about a notification")
		}
		if n.Kind == notice.Failed {
			failures[n.Original] += n.Recipients
		}
	}
	for id, rcpts := range want {
		bounced := 0
		for _, to := range rcpts {
			if ends := w.store.ends(id, to); len(ends) == 1 && ends[0] == spool.Bounced {
				bounced++
			}
		}
		if failures[id] != bounced {
			t.Errorf("%d recipients failed, %d were reported", bounced, failures[id])
		}
	}
}

func (p *peers) roll(r *rand.Rand, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.IntN(n)
}

// Mail that outlived its lifetime in a relay that was switched off gets its
// attempt first.
func TestSwitchedOffForLong(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.peers.set("office", func(p *peer) { p.fault = down(spool.StageConnect, 0) })
		id := w.put("a@app.example", []string{"office"}, "b@example.com")
		after(time.Minute)
		w.store.crash()
		w.stop()
		after(6 * 24 * time.Hour)
		w.store.reopen()
		w.build()
		w.queue.Start()
		after(10 * time.Minute)
		w.peers.set("office", func(p *peer) { p.fault = nil })
		after(10 * time.Minute)
		if ends := w.store.ends(id, "b@example.com"); len(ends) != 1 || ends[0] != spool.Delivered {
			t.Errorf("ended as %v", ends)
		}
	})
}
