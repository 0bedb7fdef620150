//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// books is the double-entry account of a run: what a client was promised and
// what arrived. Everything in it is keyed by the number that the sender wrote
// into the message. All methods may be called concurrently.
type books struct {
	mu       sync.Mutex
	sum      map[string]string   // number → digest of the body that was sent
	acked    map[string]string   // number → queue ID of the 250
	arrived  map[string]int      // number → how often it arrived whole
	queueIDs map[string][]string // number → queue IDs under which it arrived
	times    map[string][]*times // number → when, parallel to queueIDs
	kills    []time.Time
	corrupt  []string
	unknown  int // arrived, and nobody had sent it
	ledger   *ledger
	returns  map[string]bool           // numbers of messages that have to come back
	notices  map[string]map[string]int // number → queue ID of a notice → how often it came
}

func newBooks() *books {
	return &books{sum: map[string]string{}, acked: map[string]string{}, arrived: map[string]int{}, queueIDs: map[string][]string{}, times: map[string][]*times{},
		returns: map[string]bool{}, notices: map[string]map[string]int{}}
}

func digest(body []byte) string {
	d := sha256.Sum256(body)
	return hex.EncodeToString(d[:8])
}

// sent is called before the first byte of the message goes out.
func (b *books) sent(number, sum string) {
	b.ledger.note("sent", number, sum)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum[number] = sum
}

// promised is called when the 250 to the final dot was read.
func (b *books) promised(number, queueID string) {
	if b.ledger.settle("promised", number, queueID) != nil {
		return // the power fails at this moment
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked[number] = queueID
}

// received is called when the upstream has a whole message, before it
// answers: once it returns, the arrival is on record for good. connected is
// when its connection was opened, which tells by which daemon. answered is to
// be called when the answer has been handed to the network.
func (b *books) received(number, queueID, sum string, connected time.Time) (answered func(), _ error) {
	if err := b.ledger.settle("received", number, queueID, sum); err != nil {
		return nil, err
	}
	copied := &times{connected: connected}
	b.mu.Lock()
	defer b.mu.Unlock()
	want, ok := b.sum[number]
	switch {
	case !ok:
		b.unknown++
	case want != sum:
		b.corrupt = append(b.corrupt, number)
	default:
		b.arrived[number]++
		b.queueIDs[number] = append(b.queueIDs[number], queueID)
		b.times[number] = append(b.times[number], copied)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		copied.answered = time.Now()
	}, nil
}

// times are those of one copy of a message.
type times struct {
	connected time.Time
	answered  time.Time // zero: the connection was gone by then
}

// killed notes that the daemon is killed at this moment.
func (b *books) killed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills = append(b.kills, time.Now())
}

// window is how long before the kill of its daemon a message had been
// answered; less than zero where the daemon was dead by then.
func (b *books) window(of *times) time.Duration {
	if of.answered.IsZero() {
		return -1
	}
	for _, k := range b.kills {
		if k.After(of.connected) {
			return k.Sub(of.answered)
		}
	}
	return 0
}

// whole counts the messages that arrived whole.
func (b *books) whole() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.arrived)
}

// owed counts what was promised and has not arrived.
func (b *books) owed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for number := range b.acked {
		if !b.done(number) {
			n++
		}
	}
	return n
}

// balance is what the books say at the end.
type balance struct {
	Sent       int      `json:"sent"`
	Promised   int      `json:"promised"`
	Arrived    int      `json:"arrived"`
	Lost       []string `json:"lost"`
	Corrupt    []string `json:"corrupt"`
	Unknown    int      `json:"unknown"`
	Duplicates int      `json:"duplicates"`
	// Unexplained are the messages of which more copies came than log lines
	// told that the outcome was in doubt.
	Unexplained []string `json:"unexplained"`
	// Twice are messages that were accepted under two queue IDs: the client
	// never saw the first 250 and sent again. They are its own doing.
	Twice int `json:"sent_twice"`
	// AfterDeath are the duplicates whose first copy was answered when the
	// daemon was dead already: the upstream had the final dot, and nobody was
	// left to hear its answer.
	AfterDeath int `json:"duplicates_answered_after_the_kill"`
	// BeforeDeath are the others: the answer was under way, or being recorded.
	BeforeDeath int `json:"duplicates_answered_before_the_kill"`
	// Median and Widest say, of those, how many milliseconds lay between the
	// upstream's 250 and the kill that made it forgotten.
	Median float64 `json:"window_median_ms"`
	Widest float64 `json:"window_widest_ms"`

	// Notices are those about messages that have to come back, and NoticedTwice
	// are such messages of which their sender was told more than once.
	Notices      int      `json:"notices"`
	NoticedTwice []string `json:"noticed_twice"`

	windows []float64
}

// close draws the balance. inDoubt says of queue IDs how often the daemon's log
// has declared their outcome unknown: each time allows for one more copy.
func (b *books) close(inDoubt map[string]int) balance {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := balance{Sent: len(b.sum), Promised: len(b.acked), Arrived: len(b.arrived), Corrupt: b.corrupt, Unknown: b.unknown}
	for number, id := range b.acked {
		if !b.done(number) {
			r.Lost = append(r.Lost, number+" "+id)
		}
	}
	b.closeNotices(&r, inDoubt)
	for number, ids := range b.queueIDs {
		seen := map[string]int{}
		for _, id := range ids {
			seen[id]++
		}
		if len(seen) > 1 {
			r.Twice++
		}
		for id, n := range seen {
			if n < 2 {
				continue
			}
			r.Duplicates += n - 1
			b.explain(&r, number, id)
			if inDoubt[id] < n-1 {
				r.Unexplained = append(r.Unexplained, number+" "+id)
			}
		}
	}
	r.BeforeDeath = len(r.windows)
	if slices.Sort(r.windows); len(r.windows) > 0 {
		r.Median, r.Widest = r.windows[len(r.windows)/2], r.windows[len(r.windows)-1]
	}
	return r
}

// explain enters when the copies of one message were answered that were
// followed by another one.
func (b *books) explain(r *balance, number, id string) {
	var last *times
	for i, other := range b.queueIDs[number] {
		if other != id {
			continue
		}
		if last != nil {
			if w := b.window(last); w < 0 {
				r.AfterDeath++
			} else {
				r.windows = append(r.windows, float64(w.Microseconds())/1000)
			}
		}
		last = b.times[number][i]
	}
}

// verdict is nil when every promise was kept, else it names each kind that was not.
func (r balance) verdict() error {
	if r.Promised == 0 {
		return fmt.Errorf("nothing was promised: the run proves nothing")
	}
	var broken []error
	for _, one := range []struct {
		n    int
		what string
		all  []string
	}{
		{len(r.Lost), "acknowledged messages are lost", r.Lost},
		{len(r.Corrupt), "messages arrived changed", r.Corrupt},
		{r.Unknown, "messages arrived that nobody sent", nil},
		{len(r.NoticedTwice), "messages of which their sender was told more than once", r.NoticedTwice},
		{len(r.Unexplained), "duplicates that no log line explains", r.Unexplained},
	} {
		if one.n == 0 {
			continue
		}
		err := fmt.Errorf("%d %s", one.n, one.what)
		if one.all != nil {
			err = fmt.Errorf("%w: %v", err, one.all[:min(len(one.all), 10)])
		}
		broken = append(broken, err)
	}
	return errors.Join(broken...)
}
