package postgres

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const channel = "postern"

// quiet is how long other relays are not told of a lane again.
const quiet = 50 * time.Millisecond

// tellAll tells this relay at once, and the others soon, what became due. What is
// due later they find out when they take the lane, or look again.
func (s *Store) tellAll(work []due) {
	if len(work) == 0 {
		return
	}
	s.mu.Lock()
	wake := s.wake
	var others []string
	now := time.Now()
	for _, w := range work {
		if s.lanes[w.upstream] == nil && now.Sub(s.told[w.upstream]) > quiet {
			s.told[w.upstream] = now
			others = append(others, w.upstream)
		}
	}
	s.mu.Unlock()
	for _, w := range work {
		wake(w.upstream, w.at)
	}
	for _, upstream := range others {
		s.work.Go(func() { s.tellOthers(upstream) })
	}
}

// tellOthers tells other relays that there is something for a lane that this
// relay does not have.
func (s *Store) tellOthers(upstream string) {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	// Those that come within the time of quiet are told of by this, too.
	if sleep(ctx, quiet) {
		_ = s.say(ctx, upstream) // else they see it when they look
	}
}

// say names a lane to the other relays.
func (s *Store) say(ctx context.Context, upstream string) error {
	_, err := s.pool.Exec(ctx, `SELECT pg_notify($1, $2)`, channel, strconv.FormatInt(s.incarnation.Load(), 10)+" "+upstream)
	return err
}

// listening wakes this relay when others have accepted something for its lanes,
// and each second where the database can't tell (a pooler, a lost connection).
func (s *Store) listening(ready func()) {
	defer ready() // a store that is closed at once
	for s.ctx.Err() == nil {
		if err := s.listen(ready); err != nil && s.ctx.Err() == nil {
			ready()
			s.wakeLanes()
			sleep(s.ctx, time.Second)
		}
	}
}

// lookEach is how often all lanes are looked at, also where nobody tells.
const lookEach = 5 * time.Second

func (s *Store) listen(ready func()) error {
	c, err := pgx.ConnectConfig(s.ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.Close(ctx)
	}()
	for _, name := range []string{channel, askChannel} {
		if _, err := c.Exec(s.ctx, `LISTEN `+name); err != nil {
			return err
		}
	}
	s.work.Go(s.answerAsks)
	s.wakeLanes()
	ready()
	for {
		ctx, cancel := context.WithTimeout(s.ctx, lookEach)
		n, err := c.WaitForNotification(ctx)
		late := ctx.Err() != nil && s.ctx.Err() == nil
		cancel()
		if late {
			s.wakeLanes()
			s.work.Go(s.answerAsks)
			if c.IsClosed() {
				return errClosed
			}
			continue
		}
		if err != nil {
			return err
		}
		if n.Channel == askChannel {
			s.heardAsk(n.Payload)
			continue
		}
		from, upstream, ok := strings.Cut(n.Payload, " ")
		if ok && from != strconv.FormatInt(s.incarnation.Load(), 10) {
			s.wakeLane(upstream, time.Now())
		}
	}
}

func (s *Store) wakeLane(upstream string, at time.Time) {
	s.mu.Lock()
	wake := s.wake
	s.mu.Unlock()
	wake(upstream, at)
}

// wakeLanes tells of what is due within a while.
func (s *Store) wakeLanes() {
	ctx, cancel := asking(s.ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `WITH RECURSIVE l(name) AS (
			(SELECT min(lane) FROM share WHERE claim IS NULL AND NOT held)
			UNION ALL SELECT (SELECT min(lane) FROM share WHERE claim IS NULL AND NOT held AND lane > l.name) FROM l WHERE l.name IS NOT NULL)
		SELECT name, (SELECT min(due) FROM share WHERE lane = name AND claim IS NULL AND NOT held) FROM l WHERE name IS NOT NULL`)
	if err != nil {
		return
	}
	var found []due
	var name string
	var at *int64
	_, err = pgx.ForEachRow(rows, []any{&name, &at}, func() error {
		if at != nil && time.Until(time.Unix(0, *at)) < 2*lookEach {
			found = append(found, due{name, time.Unix(0, *at)})
		}
		return nil
	})
	if err == nil {
		for _, w := range found {
			s.wakeLane(w.upstream, w.at)
		}
	}
}
