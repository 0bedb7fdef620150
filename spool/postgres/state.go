package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"postern/spool"
)

// State is what relays that share the queue have in common beside it. It
// implements spool.State. What the rates of an upstream have counted is written
// by whoever has its lane alone.
type State struct {
	ctx    context.Context // of the store
	pool   *pgxpool.Pool
	holder *atomic.Int64               // incarnation of the relay; 0: a command
	may    func(context.Context) error // why it may not be asked; nil: it may
	room   chan struct{}               // for the connections of locks

	mu   sync.Mutex
	held map[spool.Fact]*lock // of this process
}

// lock is one that lives with a connection.
type lock struct {
	mu   sync.Mutex // held while it is used
	conn *pgx.Conn
}

var _ spool.State = (*State)(nil)

// mostLocks is how many locks a relay holds at a time.
const mostLocks = 32

func newState(ctx context.Context, pool *pgxpool.Pool, holder *atomic.Int64, may func(context.Context) error) *State {
	return &State{ctx: ctx, pool: pool, holder: holder, may: may, room: make(chan struct{}, mostLocks), held: map[spool.Fact]*lock{}}
}

// State returns the facts of the database.
func (s *Store) State() *State { return s.state }

// OpenState opens the facts of a database for a command, which is no relay. It
// is good until ctx ends and closed is called. A *SchemaError is as Open says it.
func OpenState(ctx context.Context, url string) (st *State, closed func(), err error) {
	pool, err := newPool(ctx, Options{URL: url, Relay: "command"}, nil)
	if err != nil {
		return nil, nil, err
	}
	asked, cancel := asking(ctx)
	defer cancel()
	v, err := version(asked, pool)
	if err == nil && v != Schema {
		err = &SchemaError{v}
	}
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return newState(ctx, pool, new(atomic.Int64), nil), pool.Close, nil
}

// Read implements spool.State.
func (st *State) Read(ctx context.Context, f spool.Fact) (content []byte, err error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	for range 2 { // a connection may have ended since it was used last
		err = st.pool.QueryRow(ctx, `SELECT content FROM fact WHERE kind = $1 AND name = $2 AND length(content) <= $3`,
			string(f.Kind), f.Name, f.Kind.Limit()).Scan(&content)
		if err == nil || errors.Is(err, pgx.ErrNoRows) || refused(err) {
			break
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		if st.Has(f) {
			return nil, fmt.Errorf("%s %w", st.Where(f), spool.ErrForm)
		}
		return nil, &fs.PathError{Op: "read", Path: st.Where(f), Err: fs.ErrNotExist}
	}
	return content, away(err)
}

// Has implements spool.State. A database that doesn't answer has nothing.
func (st *State) Has(f spool.Fact) (has bool) {
	ctx, cancel := asking(st.ctx)
	defer cancel()
	err := st.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM fact WHERE kind = $1 AND name = $2)`, string(f.Kind), f.Name).Scan(&has)
	return err == nil && has
}

// Write implements spool.State.
func (st *State) Write(ctx context.Context, f spool.Fact, content []byte) error {
	ctx, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	if f.Kind == spool.KindRates { // one who has lost the lane has the counts of before
		_, err := st.pool.Exec(ctx, `WITH l AS (SELECT 1 FROM lane WHERE name = $2 AND holder = $4 FOR SHARE)
			INSERT INTO fact (kind, name, content) SELECT $1, $2, $3 FROM l ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content`,
			string(f.Kind), f.Name, content, st.holder.Load())
		return away(err)
	}
	st.mu.Lock()
	exec, l := st.pool.Exec, st.held[f]
	st.mu.Unlock()
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		exec = l.conn.Exec // where it is lost, so is the lock, and somebody else may have written since
	}
	_, err := exec(ctx, `INSERT INTO fact (kind, name, content) VALUES ($1, $2, $3)
		ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content`, string(f.Kind), f.Name, content)
	return away(err)
}

// Remove implements spool.State.
func (st *State) Remove(ctx context.Context, f spool.Fact) error {
	ctx, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	tag, err := st.pool.Exec(ctx, `DELETE FROM fact WHERE kind = $1 AND name = $2`, string(f.Kind), f.Name)
	if err == nil && tag.RowsAffected() == 0 {
		err = &fs.PathError{Op: "remove", Path: st.Where(f), Err: fs.ErrNotExist}
	}
	return away(err)
}

// SetAside implements spool.State: what is there goes to the table fact_aside.
func (st *State) SetAside(ctx context.Context, f spool.Fact) (string, error) {
	ctx, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	tag, err := st.pool.Exec(ctx, `WITH gone AS (DELETE FROM fact WHERE kind = $1 AND name = $2 RETURNING kind, name, content)
		INSERT INTO fact_aside (kind, name, content) SELECT kind, name, content FROM gone`, string(f.Kind), f.Name)
	if err == nil && tag.RowsAffected() == 0 {
		err = &fs.PathError{Op: "set aside", Path: st.Where(f), Err: fs.ErrNotExist}
	}
	return fmt.Sprintf("table fact_aside, kind %q, name %q", f.Kind, f.Name), away(err)
}

// Lock implements spool.State. It lives with a connection of its own: what is
// written meanwhile goes by that, so that nobody writes who has lost it.
func (st *State) Lock(ctx context.Context, f spool.Fact) (unlock func(), err error) {
	if st.may != nil {
		if err := st.may(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case st.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conf := st.pool.Config().ConnConfig
	c, err := pgx.ConnectConfig(ctx, conf)
	if err == nil {
		_, err = c.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('postern fact ' || $1 || ' ' || $2, 0))`, string(f.Kind), f.Name)
	}
	if err != nil {
		if c != nil {
			st.hangUp(c)
		}
		<-st.room
		return nil, cmp.Or(ctx.Err(), away(err))
	}
	st.mu.Lock()
	st.held[f] = &lock{conn: c}
	st.mu.Unlock()
	return func() {
		st.mu.Lock()
		delete(st.held, f)
		st.mu.Unlock()
		st.hangUp(c)
		<-st.room
	}, nil
}

// hangUp closes a connection, and with it ends its lock.
func (st *State) hangUp(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// Where implements spool.State.
func (st *State) Where(f spool.Fact) string {
	return fmt.Sprintf("table fact, kind %q, name %q", f.Kind, f.Name)
}
