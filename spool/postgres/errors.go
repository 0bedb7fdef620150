package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgconn"

	"postern/spool"
)

var errClosed = spool.ErrClosed

// refused tells whether err is the database's answer, after which a transaction
// has not happened. Class 08 and the like say that the connection ended.
func refused(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code[:2] {
	case "08", "57", "58", "XX": // connection, operator's intervention, system, internal
		return false
	}
	return true
}

// away makes an error of a database that cannot be asked a spool.ErrAway. What
// it has answered, and ours, stay as they are.
func away(err error) error {
	var path *fs.PathError
	if err == nil || refused(err) || errors.Is(err, spool.ErrAway) || errors.Is(err, spool.ErrForm) || errors.As(err, &path) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", spool.ErrAway, err)
}
