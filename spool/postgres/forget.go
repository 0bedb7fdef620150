package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrUnknown: no relay of that name has worked with the database.
var ErrUnknown = errors.New("the database knows no such relay")

// Needed is the error that a relay is not forgotten.
type Needed struct {
	Relay string
	Lanes []string // in its charge, with mail that no other relay has taken over; none: it runs
}

func (e *Needed) Error() string {
	if len(e.Lanes) == 0 {
		return fmt.Sprintf("the relay %s runs, or ran a moment ago", e.Relay)
	}
	return fmt.Sprintf("the relay %s is in charge of mail for %s, and no other one has taken it over", e.Relay, strings.Join(e.Lanes, ", "))
}

// Forget removes a relay that has left for good from the database. A *Needed: it
// lives, or has something that another one has to take over first; ErrUnknown. One
// that comes back all the same is known again.
func Forget(ctx context.Context, url, relay string) error {
	ctx, cancel := asking(ctx)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if v, err := version(ctx, c); err != nil {
		return err
	} else if v != Schema {
		return &SchemaError{v}
	}
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return forget(ctx, tx, relay) })
}

func forget(ctx context.Context, tx pgx.Tx, relay string) error {
	var incarnation int64
	var lives, free bool
	err := tx.QueryRow(ctx, `SELECT incarnation, until > now(), pg_try_advisory_xact_lock(hashtextextended('postern relay ' || name, 0))
		FROM relay WHERE name = $1 FOR UPDATE`, relay).Scan(&incarnation, &lives, &free)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrUnknown
	case err != nil:
		return err
	case lives || !free: // one that hangs has its name still
		return &Needed{Relay: relay}
	}
	// Somebody else may have written them: names are cut off, and the first are told.
	rows, err := tx.Query(ctx, `SELECT left(name, 1024) FROM lane l WHERE holder <> 0 AND relay = $1
		AND EXISTS (SELECT 1 FROM share s WHERE s.lane = l.name) ORDER BY name LIMIT 100 FOR UPDATE`, relay)
	if err != nil {
		return err
	}
	lanes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(lanes) > 0 {
		return &Needed{Relay: relay, Lanes: lanes}
	}
	for _, sql := range []string{
		`UPDATE lane SET holder = 0, until = now() WHERE relay = $1`,
		`DELETE FROM ask WHERE relay = $1`,
		`DELETE FROM relay WHERE name = $1`,
	} {
		if _, err := tx.Exec(ctx, sql, relay); err != nil {
			return err
		}
	}
	return nil
}
