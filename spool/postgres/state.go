package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"postern/spool"
)

// State is what relays that share the queue have in common beside it. It
// implements spool.State. What the rates of an upstream have counted is written
// by whoever has its lane alone.
type State struct{ s *Store }

// State returns the facts of the database.
func (s *Store) State() *State { return &State{s} }

var _ spool.State = (*State)(nil)

// Read implements spool.State.
func (st *State) Read(ctx context.Context, f spool.Fact) (content []byte, err error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	err = st.s.pool.QueryRow(ctx, `SELECT content FROM fact WHERE kind = $1 AND name = $2 AND length(content) <= $3`,
		string(f.Kind), f.Name, f.Kind.Limit()).Scan(&content)
	if errors.Is(err, pgx.ErrNoRows) {
		if st.Has(f) {
			return nil, fmt.Errorf("%s %w", st.Where(f), spool.ErrForm)
		}
		return nil, &fs.PathError{Op: "read", Path: st.Where(f), Err: fs.ErrNotExist}
	}
	return content, err
}

// Has implements spool.State. A database that doesn't answer has nothing.
func (st *State) Has(f spool.Fact) (has bool) {
	ctx, cancel := asking(st.s.ctx)
	defer cancel()
	err := st.s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM fact WHERE kind = $1 AND name = $2)`, string(f.Kind), f.Name).Scan(&has)
	return err == nil && has
}

// Write implements spool.State.
func (st *State) Write(ctx context.Context, f spool.Fact, content []byte) error {
	ctx, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	if f.Kind == spool.KindRates { // one who has lost the lane has the counts of before
		_, err := st.s.pool.Exec(ctx, `WITH l AS (SELECT 1 FROM lane WHERE name = $2 AND holder = $4 FOR SHARE)
			INSERT INTO fact (kind, name, content) SELECT $1, $2, $3 FROM l ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content`,
			string(f.Kind), f.Name, content, st.s.incarnation)
		return err
	}
	_, err := st.s.pool.Exec(ctx, `INSERT INTO fact (kind, name, content) VALUES ($1, $2, $3)
		ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content`, string(f.Kind), f.Name, content)
	return err
}

// Remove implements spool.State.
func (st *State) Remove(ctx context.Context, f spool.Fact) error {
	ctx, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	tag, err := st.s.pool.Exec(ctx, `DELETE FROM fact WHERE kind = $1 AND name = $2`, string(f.Kind), f.Name)
	if err == nil && tag.RowsAffected() == 0 {
		err = &fs.PathError{Op: "remove", Path: st.Where(f), Err: fs.ErrNotExist}
	}
	return err
}

// SetAside implements spool.State: what is there goes to the table fact_aside.
func (st *State) SetAside(ctx context.Context, f spool.Fact) (string, error) {
	ctx, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	tag, err := st.s.pool.Exec(ctx, `WITH gone AS (DELETE FROM fact WHERE kind = $1 AND name = $2 RETURNING kind, name, content)
		INSERT INTO fact_aside (kind, name, content) SELECT kind, name, content FROM gone`, string(f.Kind), f.Name)
	if err == nil && tag.RowsAffected() == 0 {
		err = &fs.PathError{Op: "set aside", Path: st.Where(f), Err: fs.ErrNotExist}
	}
	return fmt.Sprintf("table fact_aside, kind %q, name %q", f.Kind, f.Name), err
}

// Lock implements spool.State. It lives with a connection.
func (st *State) Lock(ctx context.Context, f spool.Fact) (unlock func(), err error) {
	c, err := st.s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('postern fact ' || $1 || ' ' || $2, 0))`, string(f.Kind), f.Name); err != nil {
		_ = c.Conn().Close(context.WithoutCancel(ctx)) // who knows whether it is locked
		c.Release()
		return nil, err
	}
	return func() {
		ctx, cancel := asking(context.WithoutCancel(ctx))
		defer cancel()
		if _, err := c.Exec(ctx, `SELECT pg_advisory_unlock(hashtextextended('postern fact ' || $1 || ' ' || $2, 0))`, string(f.Kind), f.Name); err != nil {
			_ = c.Conn().Close(ctx)
		}
		c.Release()
	}, nil
}

// Where implements spool.State.
func (st *State) Where(f spool.Fact) string {
	return fmt.Sprintf("table fact, kind %q, name %q", f.Kind, f.Name)
}
