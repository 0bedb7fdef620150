package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed schema/*.sql
var schemas embed.FS

// Schema is the version of the schema that this program makes and needs.
const Schema = 3

// ErrSchema: the database has no schema of ours, an older or a newer one. Such
// an error is a *SchemaError.
var ErrSchema = errors.New("the schema of the database is another one")

// SchemaError says which schema a database has.
type SchemaError struct{ Version int }

func (e *SchemaError) Error() string {
	switch {
	case e.Version == 0:
		return "the database has no schema of Postern's yet: run `postern database migrate`"
	case e.Version < Schema:
		return fmt.Sprintf("the schema of the database is version %d and this program needs %d: run `postern database migrate`", e.Version, Schema)
	}
	return fmt.Sprintf("the schema of the database is version %d and this program knows none beyond %d: a newer Postern has migrated it; update this one", e.Version, Schema)
}

// Is makes it match ErrSchema.
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// version is that of the schema; 0: there is none.
func version(ctx context.Context, c querier) (v int, err error) {
	err = c.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM schema`).Scan(&v)
	var missing *pgconn.PgError
	if errors.As(err, &missing) && missing.Code == "42P01" { // undefined_table
		return 0, nil
	}
	return v, err
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// SchemaOf tells the version of the schema of a database; 0: none.
func SchemaOf(ctx context.Context, url string) (int, error) {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	return version(ctx, c)
}

// Migrate brings the schema of a database to this program's version. It may run
// beside others and beside relays: one at a time does it, in one transaction.
// from is what the database had.
func Migrate(ctx context.Context, url string) (from int, err error) {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	tx, err := c.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('postern schema', 0))`); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema (version int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())`); err != nil {
		return 0, err
	}
	if from, err = version(ctx, tx); err != nil {
		return 0, err
	}
	if from > Schema {
		return from, &SchemaError{from}
	}
	for v := from + 1; v <= Schema; v++ {
		script, err := schemas.ReadFile(fmt.Sprintf("schema/%d.sql", v))
		if err == nil {
			_, err = tx.Exec(ctx, string(script))
		}
		if err == nil {
			_, err = tx.Exec(ctx, `INSERT INTO schema (version) VALUES ($1)`, v)
		}
		if err != nil {
			return from, fmt.Errorf("schema %d: %w", v, err)
		}
	}
	return from, tx.Commit(ctx)
}
