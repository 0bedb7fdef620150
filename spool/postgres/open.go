package postgres

import (
	"context"
	"errors"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"postern/spool"
)

// Options say how to open the queue in a database.
type Options struct {
	// URL is what PostgreSQL's libpq takes: postgres://user@host/database?…
	URL string
	// Relay is the name of this relay, another one for each that runs.
	Relay string
	// Version is that of the program, for people.
	Version string
	// Term is how long a lease lasts; 0: 15 s.
	Term time.Duration
	// Grace is how long a relay that is in charge of a lane may still come back when
	// the database does, before another one takes the lane over: it can write what
	// waits in its outbox. 0: a third of Term and a second; negative: none.
	Grace time.Duration
	// MaxMessages is how many messages are held before no more are taken; 0: no
	// limit.
	MaxMessages int
	// MaxSize is how many bytes of messages are held before no more are taken; 0:
	// no limit.
	MaxSize int64
	// MaxKeys is how many keys of messages are remembered; 0: a million.
	MaxKeys int
	// Temp is a folder for contents of more than 256 KiB while they are read,
	// whose files have no name; empty: the system's.
	Temp string
	// Outbox is the path of the file for what the database does not take, so that
	// a process that ends meanwhile leaves it to the next one; empty: there is
	// none.
	Outbox string
	// Late opens the queue also where the database cannot be asked now: all that is
	// wanted of it is a spool.ErrAway until it can be, and Unopened tells why.
	Late bool
	// Events hears what happens; nil: nobody does. It must be quick and must not
	// call the store.
	Events func(Event)
	// Dial opens connections; nil: the system does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// callTimeout bounds one conversation with the database. What takes longer is
// given up together with its connection.
const callTimeout = 20 * time.Second

// connectTimeout bounds the try of one host, so that the next one in the URL has
// its turn before a heartbeat is given up.
const connectTimeout = 3 * time.Second

// beatTimeout bounds a heartbeat and the question for a lease, from below: they may
// have to come to the second host.
const beatTimeout = 2*connectTimeout + time.Second

// beatWithin bounds them, so that there is time for another one before a lease ends.
func (s *Store) beatWithin() time.Duration { return max(s.opts.Term/3+time.Second, beatTimeout) }

// beatAgain is how long after a heartbeat that failed there is the next one.
const beatAgain = time.Second

// Store is a queue that relays share. Its methods may be called concurrently.
type Store struct {
	opts        Options
	pool        *pgxpool.Pool
	started     time.Time
	incarnation atomic.Int64 // 0: not known yet
	joined      atomic.Bool  // the queue is open

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	writes chan *write
	// answering has an element for each request of another relay that is answered.
	answering chan struct{}
	begins    time.Duration // askBegins
	envelopes int           // maxEnvelopes
	counts    counts
	keys      keyCounts
	state     *State
	file      outboxFile

	// claiming is held while claims are made; alone, while those are ended of
	// which this relay does not know.
	claiming sync.RWMutex

	flushing sync.Mutex // held while the outbox is written
	probe    probe

	mu      sync.Mutex // guards what follows
	without error      // why the queue is not open yet
	node    uint64
	guard   *pgx.Conn // holds the lock on the name of this relay
	wake    func(upstream string, due time.Time)
	lanes   map[string]*lane
	claims  map[int64]*claim // by number
	ending  map[int64]bool   // claims that are being settled
	outbox  outbox
	last    uint64 // ID
	told    map[string]time.Time
	closing bool
	back    time.Time                                        // when the database was back; zero: it has not been away
	answer  func(ctx context.Context, request []byte) []byte // nil: nobody does yet
	asks    map[int64]chan struct{}                          // ours, by their number
}

// lane is one that this relay has.
type lane struct {
	epoch uint64
	turn  int64 // sender that was served last
	dirty bool  // the answer to a claim was lost
}

// Open opens a queue. ErrSchema: the database has to be migrated, or this
// program updated. A relay of the same name that still runs is an error. Where it
// is opened late, these are told by Unopened, if they are found later.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Term == 0 {
		opts.Term = 15 * time.Second
	}
	if opts.Grace == 0 {
		opts.Grace = opts.Term / 5
	}
	opts.Grace = max(opts.Grace, 0)
	if opts.MaxKeys == 0 {
		opts.MaxKeys = 1_000_000
	}
	if opts.Events == nil {
		opts.Events = func(Event) {}
	}
	s := &Store{opts: opts, started: time.Now(), writes: make(chan *write, 256), wake: func(string, time.Time) {},
		lanes: map[string]*lane{}, claims: map[int64]*claim{}, ending: map[int64]bool{}, told: map[string]time.Time{},
		asks: map[int64]chan struct{}{}, answering: make(chan struct{}, asksAtOnce), begins: askBegins,
		envelopes: maxEnvelopes,
		file:      outboxFile{path: opts.Outbox}}
	var err error
	if s.pool, err = newPool(ctx, opts, s.mayAsk); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.state = newState(s.ctx, s.pool, &s.incarnation, s.mayAsk)
	err = s.begin(ctx)
	switch {
	case err == nil:
		s.run()
	case opts.Late && passes(err):
		s.notYet(err)
		opts.Events(&Failed{"start", err})
		s.work.Go(s.joining)
	default:
		s.abandon()
		return nil, err
	}
	return s, nil
}

// run begins the work of an open queue.
func (s *Store) run() {
	s.joined.Store(true)
	s.work.Go(s.writing)
	beaten := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	s.work.Go(func() { s.beating(beaten[:]) })
	s.work.Go(func() { s.tidying(beaten[0]) })
	s.work.Go(func() { s.undoing(beaten[1]) })
	ready := make(chan struct{})
	s.work.Go(func() { s.listening(sync.OnceFunc(func() { close(ready) })) })
	<-ready // so that nobody who sets OnWork now hears of what was there before as new
}

// newPool makes connections when they are needed. may tells whether the database
// may be asked; nil: it may.
func newPool(ctx context.Context, opts Options, may func(context.Context) error) (*pgxpool.Pool, error) {
	conf, err := pgxpool.ParseConfig(opts.URL)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read: " + maskURL(err))
	}
	conf.MaxConns = max(conf.MaxConns, 16)
	conf.ConnConfig.RuntimeParams["application_name"] = "postern " + opts.Relay
	// What a relay that was cut off has locked ends before its lease does.
	maps.Copy(conf.ConnConfig.RuntimeParams, endSoon)
	conf.ConnConfig.ConnectTimeout = connectTimeout
	conf.ConnConfig.DialFunc = dial
	if opts.Dial != nil {
		conf.ConnConfig.DialFunc = opts.Dial
	}
	// Once a connection has failed, those that were idle then are dropped: after an
	// outage none of them works, and where the machine is gone each would be found out
	// by a question that nobody answers.
	var pool *pgxpool.Pool
	made := make(chan struct{})
	conf.PingTimeout = pingTimeout
	conf.BeforeClose = func(c *pgx.Conn) {
		if c.IsClosed() {
			<-made
			pool.Reset()
		}
	}
	if may != nil {
		conf.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error { return may(ctx) }
		conf.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) { return true, may(ctx) }
	}
	pool, err = pgxpool.NewWithConfig(ctx, conf)
	close(made)
	return pool, err
}

// maskURL is an error of a URL without the URL, which holds a password.
func maskURL(err error) string {
	var bad *pgconn.ParseConfigError
	if errors.As(err, &bad) && bad.Unwrap() != nil {
		return bad.Unwrap().Error()
	}
	return "it is not postgres://USER@HOST/DATABASE"
}

// sleep waits; false: ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// beating tells the others that this relay lives, and those who wait for that each
// time that the database has heard it. What they do holds no heartbeat up.
func (s *Store) beating(beaten []chan struct{}) {
	away := false
	for {
		pause := s.opts.Term / 3
		if away { // takeovers wait from when it is seen to be back
			pause = min(pause, beatAgain)
		}
		if !sleep(s.ctx, pause) {
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.beatWithin())
		_, err := s.pool.Exec(ctx, `UPDATE relay SET until = now() + $2 WHERE name = $1 AND incarnation = $3`, s.opts.Relay, s.opts.Term, s.incarnation.Load())
		if away && err == nil {
			s.mu.Lock()
			s.back = time.Now()
			s.mu.Unlock()
		}
		away = err != nil
		if err == nil {
			err = s.keepName(ctx)
		}
		cancel()
		if err != nil && s.ctx.Err() == nil {
			s.opts.Events(&Failed{"heartbeat", err})
		}
		for _, heard := range beaten {
			if err == nil {
				select {
				case heard <- struct{}{}:
				default: // it is still at work
				}
			}
		}
	}
}

// undoing ends claims of which this relay does not know.
func (s *Store) undoing(beaten <-chan struct{}) {
	for {
		select {
		case <-beaten:
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
		err := s.undoAll(ctx)
		cancel()
		if err != nil && s.ctx.Err() == nil {
			s.opts.Events(&Failed{"undo", err})
		}
	}
}

// tidyTimeout bounds what is tidied at once: a database that is slow has time for it,
// since nothing waits.
const tidyTimeout = time.Minute

// tidying removes what nobody needs, and has a long queue analysed.
func (s *Store) tidying(beaten <-chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-beaten:
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, tidyTimeout)
		err := s.analyse(ctx)
		if err == nil && n%20 == 0 {
			err = s.sweep(ctx)
		}
		cancel()
		if err != nil && s.ctx.Err() == nil {
			s.opts.Events(&Failed{"tidying", err})
		}
	}
}

// sweep removes keys that are over, and pieces of messages that were never
// committed.
func (s *Store) sweep(ctx context.Context) error {
	now := time.Now()
	if _, err := s.pool.Exec(ctx, `DELETE FROM key WHERE name IN (SELECT name FROM key WHERE until <= $1 LIMIT 10000)`, now.UnixNano()); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, `DELETE FROM ask WHERE at < now() - interval '1 hour'`); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, `DELETE FROM body_part p WHERE id < $1 AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = p.id)`,
		now.Add(-24*time.Hour).UnixNano())
	return err
}

// Close ends the use of the store. Lanes that were not left are free for others
// at once. What the outbox holds is written first, where the database answers.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if !s.joined.Load() {
		s.abandon()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := s.flush(ctx)
	if err == nil {
		_, err = s.pool.Exec(ctx, `WITH l AS (UPDATE lane SET holder = 0, until = now() WHERE holder = $1 RETURNING name)
			SELECT pg_notify($2, $1::text || ' ' || name) FROM l`, s.incarnation.Load(), channel)
	}
	if err == nil {
		_, err = s.pool.Exec(ctx, `UPDATE relay SET until = now() WHERE name = $1 AND incarnation = $2`, s.opts.Relay, s.incarnation.Load())
	}
	s.abandon()
	return err
}

// abandon ends everything at once.
func (s *Store) abandon() {
	s.cancel()
	s.work.Wait()
	s.mu.Lock()
	guard := s.guard
	s.guard = nil
	s.mu.Unlock()
	if guard != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		guard.Close(ctx)
		cancel()
	}
	s.pool.Close()
	s.file.close()
}

// OnWork implements spool.Store.
func (s *Store) OnWork(wake func(upstream string, due time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
}

// nodes is how many relays there can be, less one.
const nodes = 1023

// nextID is later than any before.
func (s *Store) nextID() spool.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uint64(time.Now().UnixNano())&^nodes | s.node
	if id <= s.last {
		id = s.last&^nodes + nodes + 1 | s.node
	}
	s.last = id
	return spool.ID(id)
}
