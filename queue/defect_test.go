package queue

import (
	"context"
	"testing"
	"time"

	"postern/config"
	"postern/spool"
)

// clumsy is a deliverer with a bug that one message shows, in a session of its
// own or in the middle of one.
type clumsy struct {
	*peers
	when func(*spool.Delivery) bool
	up   string // whose sessions panic as soon as they are opened; empty: none
}

func (c *clumsy) Deliver(ctx context.Context, up *config.Upstream, feed *Feed) error {
	if up.Name == c.up {
		panic("index out of range")
	}
	for {
		d, err := feed.Next(ctx)
		if d == nil {
			return err
		}
		if c.when(d) {
			var none []int
			_ = none[len(d.Pending)]
		}
		if err := c.carry(up, feed, d); err != nil {
			return err
		}
	}
}

// A panic is a fault of its session: the lane is parked, told, and tried with
// other mail; other lanes notice nothing.
func TestPanicIsAFaultOfItsSession(t *testing.T) {
	inBubble(t, []string{"office", "other"}, func(t *testing.T, w *world) {
		w.queue.Stop(t.Context())
		w.queue = New(Options{Store: w.store.generation(), Config: w.cfg, Events: w.recorder.listen,
			Deliverer: &clumsy{peers: w.peers, when: func(d *spool.Delivery) bool { return d.Envelope.From == "bad@app.example" }}})
		w.queue.Start()
		bad := w.put("bad@app.example", []string{"office"}, "b@example.com")
		after(time.Second)
		for range 5 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
			w.put("a@app.example", []string{"other"}, "b@example.com")
		}
		after(time.Second)
		if n := len(w.peers.mail("other")); n != 5 {
			t.Errorf("%d of 5 went by the other upstream", n)
		}
		if s := w.queue.States()["office"]; s != Parked {
			t.Errorf("the lane is %s", s)
		}
		if w.recorder.heard("panic of office") == 0 {
			t.Error("nobody is told")
		}
		after(30 * time.Minute)
		if n := len(w.peers.mail("office")); n != 5 {
			t.Errorf("%d of 5 went after the defect: %v", n, w.recorder.log)
		}
		if _, err := w.queue.store.Detail(bg, bad); err != nil {
			t.Errorf("the message itself is lost: %v", err)
		}
	})
}

// The same where sessions cannot even be opened.
func TestPanicWhileOpening(t *testing.T) {
	inBubble(t, []string{"office", "other"}, func(t *testing.T, w *world) {
		w.queue.Stop(t.Context())
		w.queue = New(Options{Store: w.store.generation(), Config: w.cfg, Events: w.recorder.listen,
			Deliverer: &clumsy{peers: w.peers, when: func(*spool.Delivery) bool { return false }, up: "office"}})
		w.queue.Start()
		for range 5 {
			w.put("a@app.example", []string{"office"}, "b@example.com")
			w.put("a@app.example", []string{"other"}, "b@example.com")
		}
		after(10 * time.Minute)
		if n := len(w.peers.mail("other")); n != 5 {
			t.Errorf("%d of 5 went by the other upstream", n)
		}
		if s := w.queue.States()["office"]; s != Parked || w.store.count() != 5 {
			t.Errorf("the lane is %s, %d messages are left", s, w.store.count())
		}
	})
}

// foul is an error that panics when it is asked what it is.
type foul struct{}

func (foul) Error() string { panic("nil pointer dereference") }

// failing ends each session with an error.
type failing struct{ err error }

func (f failing) Deliver(context.Context, *config.Upstream, *Feed) error { return f.err }

// The same where the error that a session ends with can't be told.
func TestPanicInAnError(t *testing.T) {
	inBubble(t, []string{"office"}, func(t *testing.T, w *world) {
		w.queue.Stop(t.Context())
		w.queue = New(Options{Store: w.store.generation(), Config: w.cfg, Events: w.recorder.listen, Deliverer: failing{foul{}}})
		w.queue.Start()
		w.put("a@app.example", []string{"office"}, "b@example.com")
		after(10 * time.Minute)
		if s := w.queue.States()["office"]; s != Parked || w.store.count() != 1 || w.recorder.heard("panic of office") == 0 {
			t.Errorf("the lane is %s, %d messages are left: %v", s, w.store.count(), w.recorder.log)
		}
	})
}
