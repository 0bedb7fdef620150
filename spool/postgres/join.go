package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"postern/spool"
)

const (
	// joinAgain is how long after a failure it is tried again to open the queue.
	joinAgain = time.Second
	// joinTimeout bounds one try: the name of this relay may be held for a while by a
	// connection that has ended.
	joinTimeout = 30 * time.Second
)

// unusable is an error that no time mends.
type unusable struct{ error }

func (e *unusable) Unwrap() error { return e.error }

// passes tells whether an error of begin may be gone later without anybody changing
// the database or the configuration: nobody was there to be asked, or had no place.
func passes(err error) bool {
	var own *unusable
	var e *pgconn.PgError
	switch {
	case errors.Is(err, ErrSchema), errors.As(err, &own):
		return false
	case !errors.As(err, &e):
		return true
	}
	// 53: out of connections, memory, disk; 25006: a standby, until it is promoted.
	return !refused(err) || e.Code[:2] == "53" || e.Code == "25006"
}

// Unanswered tells whether an error of this package says that the database could
// not be asked, and not what it has answered.
func Unanswered(err error) bool { return passes(err) }

// beginning marks the context of what opens the queue.
type beginning struct{}

// mayAsk is why the database may not be asked: nothing but begin does before the
// queue is open.
func (s *Store) mayAsk(ctx context.Context) error {
	if s.joined.Load() || ctx.Value(beginning{}) != nil {
		return nil
	}
	err, _ := s.Unopened()
	return err
}

func (s *Store) notYet(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.without = err
}

// Unopened is why the queue of an open Store cannot be used yet, a spool.ErrAway;
// nil: it can. lasts: it won't be before somebody has changed something.
func (s *Store) Unopened() (why error, lasts bool) {
	if s.joined.Load() {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &unopened{s.without}, !passes(s.without)
}

// unopened is a spool.ErrAway because of which the queue is not open.
type unopened struct{ why error }

func (e *unopened) Error() string {
	return "the database of the queue cannot be used yet: " + e.why.Error()
}

func (e *unopened) Unwrap() error { return e.why }

func (e *unopened) Is(target error) bool { return target == spool.ErrAway }

// joining opens the queue as soon as that can be done.
func (s *Store) joining() {
	for sleep(s.ctx, joinAgain) {
		ctx, cancel := context.WithTimeout(s.ctx, joinTimeout)
		err := s.begin(ctx)
		cancel()
		if err == nil {
			s.mu.Lock()
			s.back = time.Now()
			s.mu.Unlock()
			s.run()
			s.opts.Events(&Joined{time.Since(s.started)})
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		s.notYet(err)
		s.opts.Events(&Failed{"start", err})
	}
}

// begin looks at the schema and takes the name and a node number.
func (s *Store) begin(ctx context.Context) error {
	ctx = context.WithValue(ctx, beginning{}, true)
	v, err := version(ctx, s.pool)
	if err != nil {
		return err
	}
	if v != Schema {
		return &SchemaError{v}
	}
	if err := s.keepName(ctx); err != nil {
		return err
	}
	var incarnation int64
	var node uint64
	err = s.pool.QueryRow(ctx, `
		INSERT INTO relay (name, node, version, until)
		SELECT $1, n, $2, now() + $3 FROM generate_series(0, 1023) n
		WHERE n NOT IN (SELECT node FROM relay WHERE name <> $1) ORDER BY n LIMIT 1
		ON CONFLICT (name) DO UPDATE SET incarnation = DEFAULT, version = $2, started = now(), until = now() + $3
		RETURNING incarnation, node`, s.opts.Relay, s.opts.Version, s.opts.Term).Scan(&incarnation, &node)
	if errors.Is(err, pgx.ErrNoRows) {
		return &unusable{errors.New("1,024 relays have a name in this database: make room with `postern database forget`")}
	}
	if err != nil {
		return err
	}
	var last int64
	if err := s.pool.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM message`).Scan(&last); err != nil {
		return err
	}
	s.incarnation.Store(incarnation)
	s.mu.Lock()
	s.node, s.last = node, uint64(last)
	s.mu.Unlock()
	if err := s.recall(); errors.Is(err, errOutbox) {
		s.opts.Events(&Failed{"outbox", err})
	} else if err != nil {
		return &unusable{err}
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.letGo(ctx)
}

// letGo ends what an earlier process of this relay had, as release does for a lane.
// No name is read: somebody else may have written it.
func (s *Store) letGo(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `WITH l AS (UPDATE lane SET holder = 0, until = now() WHERE relay = $1 AND holder <> 0 RETURNING name)
		UPDATE share SET doubt = doubt OR dotted, was = claim, claim = NULL, dotted = false
		FROM l WHERE share.lane = l.name AND claim IS NOT NULL`, s.opts.Relay)
	return err
}

// takeName locks the name of this relay for as long as a connection lives, so
// that the next process of this relay may take its lanes over at once.
func (s *Store) takeName(ctx context.Context) error {
	conf := s.pool.Config().ConnConfig
	guard, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	for end := time.Now().Add(s.opts.Term + 2*time.Second); ; {
		var got bool
		err := guard.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended('postern relay ' || $1, 0))`, s.opts.Relay).Scan(&got)
		if err == nil && got {
			s.mu.Lock()
			s.guard = guard
			s.mu.Unlock()
			return nil
		}
		if err == nil && time.Now().After(end) {
			err = &unusable{fmt.Errorf("a relay named %q runs already with this database: each one needs a name of its own", s.opts.Relay)}
		}
		if err != nil {
			guard.Close(context.WithoutCancel(ctx))
			return err
		}
		if !sleep(ctx, 200*time.Millisecond) {
			guard.Close(context.WithoutCancel(ctx))
			return ctx.Err()
		}
	}
}

// keepName takes the lock anew where its connection was lost.
func (s *Store) keepName(ctx context.Context) error {
	s.mu.Lock()
	guard := s.guard
	s.mu.Unlock()
	if guard != nil && guard.Ping(ctx) == nil {
		return nil
	}
	if guard != nil {
		guard.Close(ctx)
	}
	return s.takeName(ctx)
}
