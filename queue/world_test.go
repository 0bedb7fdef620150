package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/config"
	"postern/queue/notice"
	"postern/spool"
	"postern/spool/statefile"
)

// bg is the context of whoever waits for as long as it takes.
var bg = context.Background()

// lanes tells the state of every lane.
func (w *world) lanes() []LaneStatus {
	all, err := w.queue.Lanes(bg)
	if err != nil {
		w.t.Error(err)
	}
	return all
}

// world is a queue with a store in memory, upstreams that do as they are told,
// and a recorder for every event.
type world struct {
	t        *testing.T
	store    *witness
	queue    *Queue
	cfg      *config.Config
	peers    *peers
	recorder *recorder
	away     atomic.Bool // the database does not answer about facts
}

func upstreams(names ...string) map[string]*config.Upstream {
	ups := map[string]*config.Upstream{}
	for _, n := range names {
		ups[n] = &config.Upstream{Account: config.Account{Name: n}, Host: n + ".example", Port: 587, MaxConnections: 4, IdleClose: 30 * time.Second}
	}
	return ups
}

func newConfig(names ...string) *config.Config {
	return &config.Config{Hostname: "relay.example", Upstreams: upstreams(names...),
		Retry: config.Retry{Backoff: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour},
			Lifetime: 5 * 24 * time.Hour, WarnAfter: 4 * time.Hour, AfterDot: "retry"}}
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{t: t, store: newWitness(t), cfg: newConfig(names...), peers: newPeers(), recorder: &recorder{}}
	w.build()
	return w
}

// state is what the configuration says; nil: none.
func (w *world) state() spool.State {
	if w.cfg.StateDir == "" {
		return nil
	}
	return &cutState{&statefile.State{Dir: w.cfg.StateDir}, &w.away}
}

// cutState is a state that can be away.
type cutState struct {
	spool.State
	away *atomic.Bool
}

func (s *cutState) Read(ctx context.Context, f spool.Fact) ([]byte, error) {
	if s.away.Load() {
		return nil, spool.ErrAway
	}
	return s.State.Read(ctx, f)
}

func (s *cutState) Write(ctx context.Context, f spool.Fact, content []byte) error {
	if s.away.Load() {
		return spool.ErrAway
	}
	return s.State.Write(ctx, f, content)
}

func (w *world) build() {
	w.queue = New(Options{Store: w.store.generation(), Deliverer: w.peers, Config: w.cfg, State: w.state(), Events: w.recorder.listen})
}

// crash ends the process without a word and begins another on the same store.
func (w *world) crash() {
	w.store.crash()
	w.stop()
	w.store.reopen()
	w.build()
	w.queue.Start()
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.queue.Stop(ctx); err != nil {
		w.t.Errorf("stop: %v", err)
	}
}

// put accepts a message and returns its ID.
func (w *world) put(from string, upstreams []string, to ...string) spool.ID {
	w.t.Helper()
	env := &spool.Envelope{From: from, Accepted: time.Now(), MessageID: "<m1@app.example>"}
	for _, r := range to {
		env.Recipients = append(env.Recipients, spool.Recipient{Address: r, Upstreams: upstreams})
	}
	return w.putEnvelope(env)
}

const content = "From: a@app.example\r\nSubject: hello\r\n\r\nhello\r\n"

func (w *world) putEnvelope(env *spool.Envelope) spool.ID {
	w.t.Helper()
	d, err := w.queue.Create(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	io.WriteString(d, content)
	if err := d.Commit(bg, env); err != nil {
		w.t.Fatal(err)
	}
	return d.ID()
}

// inBubble runs a test with a world in a bubble of its own time.
func inBubble(t *testing.T, names []string, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, names...)
		w.queue.Start()
		defer w.end()
		synctest.Wait() // the test may change the configuration now: nobody reads it
		test(t, w)
	})
}

// end stops the world, and holds it to what must never be.
func (w *world) end() {
	w.stop()
	w.store.close()
	w.peers.mu.Lock()
	defer w.peers.mu.Unlock()
	if w.peers.twice {
		w.t.Error("one share was under way twice at the same time")
	}
}

// after lets time pass and everything settle.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// arrival is a message that an upstream has accepted.
type arrival struct {
	upstream string
	id       spool.ID
	from, to string
	content  string
	at       time.Time
}

// counted is a transaction of which an upstream has counted something.
type counted struct {
	upstream   string
	at         time.Time
	recipients int
}

// peers are all upstreams. Each behaves as its peer says.
type peers struct {
	mu       sync.Mutex
	by       map[string]*peer
	arrived  []arrival
	counted  []counted
	attempts map[spool.ID][]time.Time
	twice    bool // one share was under way twice at the same time
}

type peer struct {
	fault  *spool.Fault                                     // refuses sessions
	answer func(d *spool.Delivery, to string) spool.Outcome // nil: accepts
	takes  func(d *spool.Delivery) (time.Duration, bool)    // time of a transaction; false: drops the line
	// spent is what a session that has carried so many answers next; nil, or
	// its nil: as usual.
	spent    func(carried int, d *spool.Delivery) *spool.Outcome
	farewell time.Duration // time until the end of a connection is confirmed
	limit    int           // sessions; 0: any number
	rcptMax  int           // recipients of a transaction; 0: any number
	connect  time.Duration // time of an opening
	thinks   time.Duration // from a final dot to its answer
	sessions int
	most     int // sessions at a time
	opened   int
	carried  map[spool.ID]int // under way now, by message
}

func newPeers() *peers {
	return &peers{by: map[string]*peer{}, attempts: map[spool.ID][]time.Time{}}
}

func (p *peers) set(name string, f func(*peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.get(name))
}

func (p *peers) get(name string) *peer {
	if p.by[name] == nil {
		p.by[name] = &peer{carried: map[spool.ID]int{}}
	}
	return p.by[name]
}

// look returns how things are with a peer.
func (p *peers) look(name string) peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.get(name)
}

func (p *peers) mail(name string) []arrival {
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []arrival
	for _, a := range p.arrived {
		if name == "" || a.upstream == name {
			got = append(got, a)
		}
	}
	return got
}

func (p *peers) tries(id spool.ID) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.attempts[id])
}

// Deliver is a session.
func (p *peers) Deliver(ctx context.Context, up *config.Upstream, feed *Feed) error {
	p.mu.Lock()
	to := p.get(up.Name)
	to.opened++
	fault := to.fault
	if fault == nil && to.limit > 0 && to.sessions >= to.limit {
		fault = &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageGreet, Code: 421, Text: "too many connections", Remote: up.Host}}
	}
	connect := to.connect
	if fault == nil {
		to.sessions++
		to.most = max(to.most, to.sessions)
	}
	p.mu.Unlock()
	if connect > 0 {
		time.Sleep(connect)
	}
	if fault != nil {
		return fault
	}
	defer p.set(up.Name, func(q *peer) { q.sessions-- })
	for carried := 0; ; carried++ {
		d, err := feed.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil && d == nil {
			if pause := p.look(up.Name).farewell; pause > 0 {
				feed.Leave()
				time.Sleep(pause)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if over := to.spent; over != nil {
			if o := over(carried, d); o != nil {
				if o.Stage == spool.StageDot {
					feed.DotSent(d)
				}
				feed.Settle(d, repeat(*o, len(d.Pending)))
				if o.Code == 421 || o.Code == 0 {
					return &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageMail, Cause: "connection closed", Remote: up.Host}}
				}
				continue
			}
		}
		if err := p.carry(up, feed, d); err != nil {
			return err
		}
	}
}

// carry is a transaction.
func (p *peers) carry(up *config.Upstream, feed *Feed, d *spool.Delivery) error {
	c, err := feed.Content(d)
	if err != nil {
		feed.Release(d)
		return nil
	}
	text, _ := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	c.Close()
	p.mu.Lock()
	to := p.get(up.Name)
	p.attempts[d.ID] = append(p.attempts[d.ID], time.Now())
	answer, takes, rcptMax, thinks := to.answer, to.takes, to.rcptMax, to.thinks
	to.carried[d.ID]++
	p.twice = p.twice || to.carried[d.ID] > 1
	p.mu.Unlock()
	done := func() { p.set(up.Name, func(q *peer) { q.carried[d.ID]-- }) } // before the claim ends
	count := func(recipients int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.counted = append(p.counted, counted{up.Name, time.Now(), recipients})
	}
	if takes != nil {
		pause, ok := takes(d)
		time.Sleep(pause)
		if !ok {
			count(len(d.Pending))
			outs := repeat(spool.Outcome{Stage: spool.StageData, Cause: "connection lost", Remote: up.Host}, len(d.Pending))
			done()
			feed.Settle(d, outs)
			return &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageMail, Cause: "connection lost", Remote: up.Host}}
		}
	}
	outs := make([]spool.Outcome, len(d.Pending))
	for i, n := range d.Pending {
		rcpt := d.Envelope.Recipients[n].Address
		outs[i] = spool.Outcome{Stage: spool.StageDot, Code: 250, Enhanced: "2.0.0", Text: "ok", Remote: up.Host + ":587"}
		if answer != nil {
			outs[i] = answer(d, rcpt)
		}
	}
	if outs[0].Stage != spool.StageMail {
		left := len(d.Pending)
		for ; rcptMax > 0 && left > rcptMax; left -= rcptMax {
			count(rcptMax)
			if !feed.Again(d) {
				sent := len(d.Pending) - left + rcptMax
				d.Pending, outs, left = d.Pending[:sent:sent], outs[:sent], 0
				break
			}
		}
		if left > 0 {
			count(left)
		}
	}
	if err := feed.DotSent(d); err != nil {
		done()
		feed.Release(d)
		return nil
	}
	if thinks > 0 {
		time.Sleep(thinks)
	}
	p.mu.Lock()
	for i, n := range d.Pending {
		if o := &outs[i]; o.Stage == spool.StageDot && o.Code/100 == 2 {
			p.arrived = append(p.arrived, arrival{up.Name, d.ID, d.Envelope.From, d.Envelope.Recipients[n].Address, string(text), time.Now()})
		}
	}
	p.mu.Unlock()
	done()
	feed.Settle(d, outs)
	if outs[0].Code == 421 { // it closes the line
		return &spool.Fault{Outcome: spool.Outcome{Stage: spool.StageMail, Cause: "connection closed", Remote: up.Host}}
	}
	return nil
}

// recorder keeps what is told.
type recorder struct {
	mu       sync.Mutex
	attempts []Attempted
	lanes    []LaneChanged
	notices  []Notified
	finished []Finished
	log      []string
}

func (e *recorder) hear(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, fmt.Sprintf(format, args...))
}

// listen is the function that a queue tells its events.
func (e *recorder) listen(ev Event) {
	switch ev := ev.(type) {
	case *LaneChanged:
		e.hear("lane %s %s to %s", ev.Upstream, ev.Previous, ev.State)
	case *BudgetSpent:
		e.hear("budget of %s spent: %v", ev.Upstream, ev.Left)
	case *StateFailed:
		e.hear("state of %s failed: %v", ev.Upstream, ev.Err)
	case *NotNotified:
		e.hear("not notified %s: %v", ev.Kind, ev.Err)
	case *SenderRefused:
		e.hear("sender %s refused by %s", ev.Sender, ev.Upstream)
	case *SenderAccepted:
		e.hear("sender %s accepted by %s", ev.Sender, ev.Upstream)
	case *InDoubt:
		e.hear("in doubt %s %d held=%v", ev.Upstream, ev.Recipients, ev.Held)
		if ev.Times > 1 {
			e.hear("in doubt again %s, %d times", ev.Upstream, ev.Times)
		}
	case *ConnectionSpent:
		e.hear("connection of %s spent after %d: %d", ev.Upstream, ev.Carried, ev.Outcome.Code)
	case *ConnectionLimited:
		e.hear("%s takes %d over one connection", ev.Upstream, ev.Messages)
	case *Panicked:
		e.hear("panic of %s: %v", ev.Upstream, ev.Value)
	case *Expired:
		e.hear("expired %s %d", ev.Upstream, ev.Recipients)
	case *Kept:
		e.hear("kept %s %d: %s", ev.Upstream, ev.Recipients, notice.Answer(&ev.Outcome))
	case *KeptEnded:
		e.hear("kept ended %s %d: %s", ev.Upstream, ev.Recipients, ev.Why)
	case *MovedOn:
		e.hear("moved %s %s %d", ev.From, ev.To, ev.Shares)
	case *Operated:
		e.hear("%s by %s", ev.Verb, ev.By)
	case *ClaimLost:
		e.hear("claim lost at %s: %s, %d delivered", ev.Operation, ev.Upstream, ev.Delivered)
	case *StoreFailed:
		e.hear("store failed: %s", ev.Operation)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch ev := ev.(type) {
	case *Attempted:
		e.attempts = append(e.attempts, *ev)
	case *Finished:
		e.finished = append(e.finished, *ev)
	case *LaneChanged:
		e.lanes = append(e.lanes, *ev)
	case *Notified:
		e.notices = append(e.notices, *ev)
	}
}

// heard counts the lines that contain text.
func (e *recorder) heard(text string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, l := range e.log {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func (e *recorder) changes() []LaneChanged {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.lanes)
}

func (e *recorder) ended() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.finished)
}

func (e *recorder) notifications() []Notified {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.notices)
}

func (e *recorder) tried() []Attempted {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.attempts)
}

// reply is an answer to the final dot unless said otherwise.
func replyAt(stage spool.Stage, code int, enhanced, text string) spool.Outcome {
	return spool.Outcome{Stage: stage, Code: code, Enhanced: enhanced, Text: text, Remote: "up.example:587"}
}

// States is the state of every lane.
func (q *Queue) States() map[string]State {
	states := map[string]State{}
	for name, h := range q.Health() {
		states[name] = h.State
	}
	return states
}
