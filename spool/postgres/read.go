package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"postern/spool"
	"postern/spool/journal"
)

// asking bounds a question.
func asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// content is one in memory, or in a file without a name.
type content struct {
	io.ReaderAt
	size int64
	file *os.File
}

func (c *content) Size() int64 { return c.size }

func (c *content) Close() error {
	if c.file != nil {
		return c.file.Close()
	}
	return nil
}

// Content implements spool.Reader. What is larger than a piece is copied to a
// temporary file, since it stays readable when the message is gone.
func (s *Store) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	var envelope, body []byte
	var size int64
	err := s.pool.QueryRow(ctx, `SELECT `+envelopeColumn+`, coalesce(size, 0), CASE WHEN octet_length(body) > $2 THEN '' ELSE body END
		FROM `+oneMessage, int64(id), piece).Scan(&envelope, &size, &body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, spool.ErrNotFound
	}
	if err == nil && envelope == nil {
		err = errNoMessage
	}
	if err != nil {
		return nil, err
	}
	env, err := journal.DecodeEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	if body == nil && size > int64(len(env.Prefix)) {
		return s.parts(ctx, id, env.Prefix, size)
	}
	whole := append(append(make([]byte, 0, len(env.Prefix)+len(body)), env.Prefix...), body...)
	if int64(len(whole)) != size {
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", spool.ErrDamaged, len(whole), size)
	}
	return &content{ReaderAt: bytes.NewReader(whole), size: size}, nil
}

func (s *Store) parts(ctx context.Context, id spool.ID, prefix []byte, size int64) (spool.Content, error) {
	f, err := os.CreateTemp(s.opts.Temp, ".postern-body-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name())
	_, err = f.Write(prefix)
	if err == nil {
		var rows pgx.Rows
		rows, err = s.pool.Query(ctx, `SELECT CASE WHEN octet_length(data) <= $2 THEN data ELSE '' END FROM body_part WHERE id = $1 ORDER BY n`, int64(id), piece)
		if err == nil {
			var data []byte
			_, err = pgx.ForEachRow(rows, []any{&data}, func() error { _, err := f.Write(data); return err })
		}
	}
	at, seek := f.Seek(0, io.SeekCurrent)
	if err = cmp.Or(err, seek); err == nil && at != size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", spool.ErrDamaged, at, size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &content{ReaderAt: f, size: size, file: f}, nil
}

// Detail implements spool.Reader.
func (s *Store) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	d := &spool.Detail{ID: id}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var envelope []byte
		err := tx.QueryRow(ctx, `SELECT `+envelopeColumn+`, coalesce(size, 0) FROM `+oneMessage, int64(id)).Scan(&envelope, &d.Size)
		if err == nil && envelope == nil {
			err = errNoMessage
		}
		if err != nil {
			return err
		}
		if d.Envelope, err = journal.DecodeEnvelope(envelope); err != nil {
			return err
		}
		d.Recipients = make([]spool.RecipientState, len(d.Envelope.Recipients))
		if err := outcomes(ctx, tx, d); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+summaryColumns+`, `+pendingColumn+` FROM share WHERE id = $1 ORDER BY share`, int64(id))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var pending []byte
			sum, err := scanSummary(rows, &pending)
			if err != nil {
				return err
			}
			list := unpack(pending)
			if err := owes(d.Envelope, list, 0); err != nil {
				return err
			}
			for _, i := range list {
				r := &d.Recipients[i]
				r.Status, r.Share, r.Upstream, r.Attempts, r.Due = spool.Pending, sum.Share, sum.Upstreams[sum.Failover], sum.Attempts, sum.Due
				r.Held, r.InDoubt, r.Kept, r.Warned = sum.Held, sum.InDoubt, sum.Kept, sum.Warned
			}
		}
		return rows.Err()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, spool.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func outcomes(ctx context.Context, tx pgx.Tx, d *spool.Detail) error {
	rows, err := tx.Query(ctx, `SELECT recipient, at, `+outcomeColumn+` FROM outcome WHERE id = $1`, int64(d.ID))
	if err != nil {
		return err
	}
	var n int
	var at int64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&n, &at, &text}, func() error {
		o := &spool.Outcome{}
		if err := json.Unmarshal([]byte(text), o); err != nil || n < 0 || n >= len(d.Recipients) {
			return fmt.Errorf("%w: an outcome cannot be read", spool.ErrDamaged)
		}
		d.Recipients[n].Status, d.Recipients[n].Last = o.Verdict, o
		if at != 0 {
			d.Recipients[n].LastAt = time.Unix(0, at)
		}
		return nil
	})
	return err
}

const summaryColumns = `id, share, accepted, not_before, size, ` + upstreamsColumn + `, failover, length(recipients) / 4, attempts, due, deadline, priority,
	held, kept, claim IS NOT NULL, doubt, warned`

func scanSummary(row pgx.Row, more ...any) (sum spool.Summary, err error) {
	var id, accepted, notBefore, at, deadline int64
	var list string
	err = row.Scan(append([]any{&id, &sum.Share, &accepted, &notBefore, &sum.Size, &list, &sum.Failover, &sum.Pending, &sum.Attempts, &at,
		&deadline, &sum.Priority, &sum.Held, &sum.Kept, &sum.Claimed, &sum.InDoubt, &sum.Warned}, more...)...)
	sum.ID, sum.Upstreams = spool.ID(id), strings.Split(list, "\n")
	sum.Failover = min(max(sum.Failover, 0), len(sum.Upstreams)-1)
	sum.Accepted, sum.Due = time.Unix(0, accepted), time.Unix(0, at)
	if notBefore != 0 {
		sum.NotBefore = time.Unix(0, notBefore)
	}
	if deadline != 0 {
		sum.Deadline = time.Unix(0, deadline)
	}
	return sum, err
}

// Shares implements spool.Reader.
func (s *Store) Shares(ctx context.Context, id spool.ID) (all []spool.Summary, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err = s.page(ctx, `id = $1`, 65536, int64(id))
	if err == nil && len(all) == 0 {
		err = spool.ErrNotFound
	}
	return all, err
}

func (s *Store) page(ctx context.Context, where string, most int, args ...any) (all []spool.Summary, err error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, fmt.Sprintf(`SELECT %s FROM share WHERE %s ORDER BY id, share LIMIT %d`, summaryColumns, where, most), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		sum, err := scanSummary(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, sum)
	}
	return all, rows.Err()
}

// Find implements spool.Reader.
func (s *Store) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, share := int64(q.After), int64(1<<31-1)
	for {
		where, args := condition(&q, id, share)
		all, err := s.page(ctx, where, pageSize, args...)
		if err != nil {
			return err
		}
		for _, sum := range all {
			if !visit(sum) {
				return nil
			}
		}
		if len(all) < pageSize {
			return nil
		}
		id, share = int64(all[len(all)-1].ID), int64(all[len(all)-1].Share)
	}
}

const pageSize = 500

// condition is a query as the database reads it, behind a share.
func condition(q *spool.Query, id, share int64) (string, []any) {
	args := []any{id, share}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	where := []string{`(id, share) > ($1, $2)`}
	if q.Upstream != "" {
		where = append(where, `lane = `+arg(q.Upstream))
	}
	if q.Held {
		where = append(where, `held`)
	}
	if q.Choice {
		where = append(where, `position(E'\n' in upstreams) > 0`)
	}
	if a := q.Age; a != nil {
		begins := `greatest(accepted, not_before)`
		any := []string{`false`}
		if !a.Begun.IsZero() {
			any = append(any, begins+` < `+arg(a.Begun.UnixNano()))
		}
		if !a.Unwarned.IsZero() {
			any = append(any, begins+` < `+arg(a.Unwarned.UnixNano())+` AND NOT warned`)
		}
		if !a.Deadline.IsZero() {
			any = append(any, `deadline <> 0 AND deadline < `+arg(a.Deadline.UnixNano()))
		}
		if !a.DueAfter.IsZero() {
			any = append(any, `due > `+arg(a.DueAfter.UnixNano())+` AND due > not_before`)
		}
		if a.Kept {
			any = append(any, `kept`)
		}
		where = append(where, `(`+strings.Join(any, ` OR `)+`)`)
	}
	return strings.Join(where, ` AND `), args
}
