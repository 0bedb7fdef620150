package journal_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing/synctest"
	"time"

	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/simdisk"
)

// workload drives a spool on a simulated disk with random calls, and marks in
// the disk's trace what it was promised and when.
type workload struct {
	disk  *simdisk.Disk
	wrap  func(*simdisk.View) disk.FS
	tune  func(*journal.Options) // nil: the options change with each start
	calm  bool                   // after each call, wait until nothing goes on; only in a bubble
	did   recorder               // the spool's events, and what was called
	view  *simdisk.View
	s     *journal.Store
	rng   *rand.Rand
	now   time.Time
	taken []*spool.Delivery
	names []string // of keys that were used
}

var crashUpstreams = [][]string{{"a"}, {"b"}, {"a", "b"}}

func crashOptions(fs disk.FS) journal.Options {
	return journal.Options{Dir: "sim", FS: fs, SegmentSize: 12 << 10, BigBody: 2 << 10, ZeroAhead: 2 << 10, Slack: 8 << 10, Reserve: 1 << 10}
}

// vary is an administrator who changes the configuration.
func vary(o *journal.Options, rng *rand.Rand) {
	pick := func(v ...int64) int64 { return v[rng.IntN(len(v))] }
	o.SegmentSize = pick(6<<10, 12<<10, 12<<10)
	o.BigBody = pick(1<<10, 2<<10, 2<<10)
	o.ZeroAhead = pick(-1, 512, 2<<10, 2<<10)
	o.Slack = pick(1<<10, 4<<10)
	o.MaxSize = pick(0, 0, 0, 30<<10)
	o.Reserve = pick(-1, 1<<10, 1<<10, 2<<10)
}

func (w *workload) open() error {
	w.view = w.disk.FS()
	var fs disk.FS = w.view
	if w.wrap != nil {
		fs = w.wrap(w.view)
	}
	opts := crashOptions(fs)
	opts.Events = w.did.tell
	if w.tune != nil {
		w.tune(&opts)
	} else {
		vary(&opts, w.rng)
	}
	s, err := journal.Open(opts)
	w.s, w.taken = s, nil
	return err
}

// run makes n calls.
func (w *workload) run(n int) error {
	if err := w.open(); err != nil {
		return err
	}
	for range n {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) step() error {
	err := w.call()
	if w.calm {
		synctest.Wait()
	}
	if err != nil {
		return err
	}
	if err = tallied(w.s, w.now); err != nil {
		w.s.Close()
	}
	return err
}

func (w *workload) call() error {
	w.now = w.now.Add(time.Duration(w.rng.IntN(40*60)) * time.Second)
	switch k := w.rng.IntN(100); {
	case k < 24:
		w.put(w.draw())
	case k < 28:
		w.putSeveral()
	case k < 46:
		w.claim()
	case k < 85:
		w.settle()
	case k < 90:
		w.operate()
	case k < 94:
		for _, d := range w.taken {
			w.release(d)
		}
		w.taken = nil
		w.did.note("restart")
		w.s.Close()
		return w.open()
	case k < 97:
		w.did.note("kill")
		w.view.Kill() // the process ends; the disk goes on
		w.s.Close()
		return w.open()
	case k < 99:
		time.Sleep(25 * time.Millisecond) // longer than a record may wait for its sync
	default:
		time.Sleep(1100 * time.Millisecond) // longer than a failed disk is left alone
	}
	return nil
}

type handedIn struct {
	env   *spool.Envelope
	body  []byte
	stood *spool.Detail // it is adopted
}

func (w *workload) draw() handedIn {
	n := w.rng.IntN(700)
	switch w.rng.IntN(12) {
	case 0:
		n = 2<<10 + w.rng.IntN(6<<10) // a file of its own
	case 1:
		n = 1500 + w.rng.IntN(400)
	}
	env := &spool.Envelope{From: "from@example.com", Accepted: w.now, Hold: w.rng.IntN(15) == 0}
	for i := range 1 + w.rng.IntN(3)*w.rng.IntN(2) {
		env.Recipients = append(env.Recipients, spool.Recipient{
			Address: fmt.Sprintf("to%d@example.net", i), Upstreams: crashUpstreams[w.rng.IntN(len(crashUpstreams))],
		})
	}
	body := make([]byte, n)
	for i := range body {
		body[i] = byte('a' + w.rng.IntN(26))
	}
	if w.rng.IntN(4) == 0 {
		env.Prefix = fmt.Appendf(nil, "Signature: %0*d\r\n", w.rng.IntN(300), w.rng.IntN(1000))
		w.did.note("prefix")
	}
	if w.rng.IntN(6) == 0 {
		env.NotBefore = w.now.Add(time.Duration(1+w.rng.IntN(5*60)) * time.Minute)
		w.did.note("scheduled")
	}
	env.Key = w.key()
	return handedIn{env, body, w.elsewhere(env)}
}

// drawPlain draws a message without a key, and a new one.
func (w *workload) drawPlain() handedIn {
	l := w.draw()
	l.env.Key, l.stood = nil, nil
	return l
}

// key is that of every third message, in part one that was used before.
func (w *workload) key() *spool.Key {
	n := w.rng.IntN(9)
	switch {
	case n > 2:
		return nil
	case n == 0 && len(w.names) > 0:
		w.did.note("key again")
	default:
		w.names = append(w.names, fmt.Sprint(w.rng.Uint64()))
	}
	k := &spool.Key{Until: time.Now().Add(1000 * time.Hour), Share: uint32(n)}
	name := w.names[w.rng.IntN(len(w.names))]
	if name[0]%4 == 0 { // it may have ended when somebody looks
		k.Until, k.Digest = time.Now().Add(time.Second), 1
	}
	k.Name = spool.NameKey("", name)
	return k
}

func (w *workload) put(l handedIn) bool { return w.putSettling([]handedIn{l}, nil, spool.Settlement{}) }

// putSettling commits a message, or where there is a claim one or two, and
// settles the claim with them.
func (w *workload) putSettling(all []handedIn, of *spool.Delivery, st spool.Settlement) bool {
	var put evPut
	var notices []spool.Notice
	for i, l := range all {
		d, err := w.s.Create(bg)
		if err != nil {
			discard(notices)
			return false
		}
		notices = append(notices, spool.Notice{Draft: d, Envelope: l.env})
		content := append(l.env.Prefix[:len(l.env.Prefix):len(l.env.Prefix)], l.body...)
		one := evPut{id: d.ID(), sum: crc32.ChecksumIEEE(content), size: len(content), recipients: len(l.env.Recipients), key: l.env.Key, notBefore: l.env.NotBefore, over: endedIn(l.stood)}
		if i == 0 {
			put = one
		} else {
			put.also = append(put.also, one)
		}
	}
	for i, o := range st.Outcomes {
		if o.Verdict != spool.Pending {
			put.settles = append(put.settles, evEnd{of.ID, of.Pending[i]})
		}
	}
	mark := func(event func(spool.ID) any) {
		for _, n := range notices {
			w.disk.Mark(event(n.Draft.ID()))
		}
	}
	refuse := func(id spool.ID) any { return evRefuse{id} }
	w.disk.Mark(put)
	for i, l := range all {
		if _, err := notices[i].Draft.Write(l.body); err != nil || len(l.body)%17 == 0 {
			discard(notices)
			mark(refuse)
			return false
		}
	}
	var err error
	switch {
	case all[0].stood != nil:
		err = w.s.Adopt(bg, notices[0].Draft, all[0].stood)
	case of != nil:
		_, err = w.s.Notify(bg, notices, spool.Ending{Delivery: of, Settlement: st})
	default:
		err = notices[0].Draft.Commit(bg, all[0].env)
	}
	if err != nil {
		mark(refuse)
		if errors.Is(err, spool.ErrRepeated) {
			w.did.note("repeated")
		}
		return false
	}
	if all[0].env.Key != nil {
		w.did.note("key")
	}
	mark(func(id spool.ID) any { return evAck{id} })
	if of != nil {
		w.did.note("settling")
		w.settled(of, st)
	}
	if len(all) > 1 {
		w.did.note("together")
	}
	w.did.note("put")
	if len(all[0].body) >= 2<<10 {
		w.did.note("big")
	}
	return true
}

// elsewhere is how a message with several recipients may have stood in another
// store, or nil.
func (w *workload) elsewhere(env *spool.Envelope) *spool.Detail {
	if len(env.Recipients) < 2 || w.rng.IntN(3) > 0 {
		return nil
	}
	w.did.note("adopted")
	m := &spool.Detail{Envelope: env}
	for i, r := range env.Recipients {
		st := spool.RecipientState{Upstream: r.Upstreams[w.rng.IntN(len(r.Upstreams))], Attempts: w.rng.IntN(5), Due: w.now, Held: env.Hold, InDoubt: w.rng.IntN(4) == 0}
		if i > 0 && w.rng.IntN(2) == 0 {
			st = spool.RecipientState{Status: spool.Delivered, Last: &spool.Outcome{Code: 250, Verdict: spool.Delivered}, LastAt: w.now}
		}
		m.Recipients = append(m.Recipients, st)
	}
	return m
}

// endedIn are the recipients that had ended elsewhere.
func endedIn(m *spool.Detail) (all []int) {
	if m == nil {
		return nil
	}
	for i, r := range m.Recipients {
		if r.Status != spool.Pending {
			all = append(all, i)
		}
	}
	return all
}

func discard(notices []spool.Notice) {
	for _, n := range notices {
		n.Draft.Discard()
	}
}

func (w *workload) putSeveral() {
	var wg sync.WaitGroup
	for range 2 + w.rng.IntN(3) {
		l := w.draw()
		wg.Go(func() { w.put(l) })
	}
	for range w.rng.IntN(4) {
		w.settle()
	}
	wg.Wait()
}

func (w *workload) claim() {
	ds, err := w.s.Claim(bg, leased(w.s, []string{"a", "b"}[w.rng.IntN(2)]), w.now, 1+w.rng.IntN(4), later)
	if err == nil {
		for _, d := range ds {
			if d.Envelope.NotBefore.After(w.now) {
				panic(fmt.Sprintf("%s is claimed at %v, and due at %v", d.ID, w.now, d.Envelope.NotBefore))
			}
		}
		w.taken = append(w.taken, ds...)
	}
}

func (w *workload) settle() {
	if len(w.taken) == 0 {
		return
	}
	d := w.taken[0]
	w.taken = w.taken[1:]
	if w.rng.IntN(8) == 0 {
		w.release(d)
		return
	}
	if w.rng.IntN(2) == 0 && w.s.DotSent(bg, d) != nil {
		w.release(d)
		return
	}
	st := spool.Settlement{Due: w.now.Add(time.Hour), Failover: w.rng.IntN(2), Warned: w.rng.IntN(4) == 0}
	settling := w.rng.IntN(4) == 0
	for i := range d.Pending {
		o := spool.Outcome{Stage: spool.StageDot, Code: 250, Verdict: spool.Delivered}
		switch w.rng.IntN(4) {
		case 0:
			o = spool.Outcome{Stage: spool.StageRcpt, Code: 451, Text: "later"}
		case 1:
			// A bounce is durable before its cause is let go.
			o = spool.Outcome{Stage: spool.StageRcpt, Code: 550, Verdict: spool.Bounced}
			if !settling && !w.put(w.draw()) {
				o.Verdict = spool.Pending
			}
		}
		if o.Verdict != spool.Pending && !settling {
			w.disk.Mark(evEnd{d.ID, d.Pending[i]})
		}
		st.Outcomes = append(st.Outcomes, o)
	}
	if !settling {
		w.end(d, st)
	} else if notices := []handedIn{w.drawPlain(), w.drawPlain()}; !w.putSettling(notices[:1+w.rng.IntN(2)], d, st) {
		w.release(d)
	}
}

// end settles d and notes whose end is recorded by then.
func (w *workload) end(d *spool.Delivery, st spool.Settlement) {
	if journal.Settle(w.s, d, st) == nil {
		w.settled(d, st)
	}
}

func (w *workload) settled(d *spool.Delivery, st spool.Settlement) {
	if st.Hold {
		w.did.note("hold")
	}
	for i, o := range st.Outcomes {
		if o.Verdict != spool.Pending {
			w.disk.Mark(evSettled{d.ID, d.Pending[i]})
			w.did.note([]string{"", "deliver", "bounce", "remove"}[o.Verdict])
		}
	}
}

func (w *workload) release(d *spool.Delivery) {
	w.s.Settle(bg, d, spool.Settlement{Due: w.now})
}

// operate does what an operator does: hold, release, remove.
func (w *workload) operate() {
	var all []spool.Summary
	w.s.Find(bg, spool.Query{}, func(s spool.Summary) bool { all = append(all, s); return len(all) < 50 })
	if len(all) == 0 {
		return
	}
	sum := all[w.rng.IntN(len(all))]
	d, err := w.s.Take(bg, sum.ID, sum.Share)
	if err != nil {
		return
	}
	st := spool.Settlement{Due: w.now, Hold: !sum.Held, Kept: !sum.Held && sum.ID%2 == 0}
	if w.rng.IntN(3) == 0 {
		for _, r := range d.Pending {
			w.disk.Mark(evEnd{d.ID, r})
			st.Outcomes = append(st.Outcomes, spool.Outcome{Verdict: spool.Removed, Text: "removed"})
		}
	}
	w.end(d, st)
}
