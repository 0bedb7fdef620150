package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"postern/spool"
)

const (
	// askChannel tells a relay that it is asked ("to NAME"), and whoever asks that
	// there is an answer ("of ID").
	askChannel = "postern_ask"
	// askBegins is how long a relay has to begin with what it is asked. It does not
	// begin with what is older.
	askBegins = 10 * time.Second
	// askEnds is how long it has for the answer.
	askEnds = 10 * time.Minute
	// askLook is how often whoever asks looks, also where nobody tells.
	askLook = 500 * time.Millisecond
	// asksAtOnce is how many requests a relay is at work on at a time.
	asksAtOnce = 4
	// askMost bounds a request and an answer, in bytes.
	askMost = 8 << 20
)

// Gone is the error that another relay has not answered.
type Gone struct {
	Relay string
	// Begun: it has begun with what it was asked, so some of it may be done.
	Begun bool
	// Lives: it was heard of within the term of a lease.
	Lives bool
}

func (e *Gone) Error() string {
	text := fmt.Sprintf("the relay %s does not answer, and nothing was done there", e.Relay)
	if !e.Lives {
		text = fmt.Sprintf("the relay %s is gone, and nothing was done there", e.Relay)
	}
	if e.Begun {
		text = strings.Replace(text, "and nothing was done there", "and some of it may be done there", 1)
	}
	return text
}

// Name is the name of this relay.
func (s *Store) Name() string { return s.opts.Relay }

// OnAsk sets the function that answers other relays. It may be called several times
// at once; ctx ends with the store.
func (s *Store) OnAsk(answer func(ctx context.Context, request []byte) []byte) {
	s.mu.Lock()
	s.answer = answer
	s.mu.Unlock()
	s.work.Go(s.answerAsks)
}

// Ask has another relay do something, and waits for its answer. A *Gone: there is
// none.
func (s *Store) Ask(ctx context.Context, relay string, request []byte) (answer []byte, err error) {
	if len(request) > askMost {
		return nil, fmt.Errorf("%w: more than another relay is asked at a time", spool.ErrInvalid)
	}
	var id int64
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Whoever gives up while the question is written is told as well whether the
	// other one has begun.
	asked, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	err = s.pool.QueryRow(asked, `WITH a AS (INSERT INTO ask (relay, request) VALUES ($1, $2) RETURNING id)
		SELECT id FROM a, pg_notify($3, 'to ' || $1::text)`, relay, request, askChannel).Scan(&id)
	var unconnected *pgconn.ConnectError
	switch {
	case err == nil:
	case refused(err), pgconn.SafeToRetry(err), errors.As(err, &unconnected):
		return nil, away(err)
	default:
		return nil, fmt.Errorf("whether the relay %s was asked is not known: %w", relay, away(err))
	}
	told := make(chan struct{}, 1)
	s.mu.Lock()
	s.asks[id] = told
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.asks, id)
		s.mu.Unlock()
	}()
	for begun := time.Now(); ; {
		answer, wait, err := s.lookAsked(ctx, id, relay, time.Since(begun))
		if !wait {
			return answer, err
		}
		select {
		case <-told:
		case <-time.After(askLook):
		case <-ctx.Done():
		}
	}
}

// lookAsked looks whether a request is answered; wait: it may be later. waited is how
// long ago it was made. Where it has not begun in time, it is taken back.
func (s *Store) lookAsked(ctx context.Context, id int64, relay string, waited time.Duration) (answer []byte, wait bool, err error) {
	looking, cancel := asking(context.WithoutCancel(ctx))
	defer cancel()
	var by *int64
	var lives, same bool
	err = s.pool.QueryRow(looking, `SELECT a.incarnation, CASE WHEN octet_length(a.answer) <= $2 THEN a.answer WHEN a.answer IS NOT NULL THEN '' END, coalesce(r.until > now(), false), coalesce(r.incarnation = a.incarnation, false)
		FROM ask a LEFT JOIN relay r ON r.name = a.relay WHERE a.id = $1`, id, askMost).Scan(&by, &answer, &lives, &same)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, false, &Gone{Relay: relay, Begun: true, Lives: true}
	case err != nil && waited < s.begins && ctx.Err() == nil:
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("whether the relay %s has done it is not known: %w", relay, away(err))
	case answer != nil:
		_, _ = s.pool.Exec(looking, `DELETE FROM ask WHERE id = $1`, id) // else it is swept later
		return answer, false, nil
	case by == nil && lives && waited < s.begins && ctx.Err() == nil:
		return nil, true, nil
	case by != nil && lives && same && waited < askEnds && ctx.Err() == nil:
		return nil, true, nil
	case by == nil:
		var gone *int64
		err = s.pool.QueryRow(looking, `DELETE FROM ask WHERE id = $1 AND incarnation IS NULL RETURNING id`, id).Scan(&gone)
		if errors.Is(err, pgx.ErrNoRows) { // it begins at this moment
			return nil, ctx.Err() == nil, &Gone{Relay: relay, Begun: true, Lives: lives}
		}
		if err != nil {
			return nil, false, fmt.Errorf("whether the relay %s has done it is not known: %w", relay, away(err))
		}
		return nil, false, &Gone{Relay: relay, Lives: lives}
	}
	return nil, false, &Gone{Relay: relay, Begun: true, Lives: lives && same}
}

// heardAsk is told what came by askChannel.
func (s *Store) heardAsk(payload string) {
	what, whom, _ := strings.Cut(payload, " ")
	switch {
	case what == "to" && whom == s.opts.Relay:
		s.work.Go(s.answerAsks)
	case what == "of":
		id, _ := strconv.ParseInt(whom, 10, 64)
		s.mu.Lock()
		told := s.asks[id]
		s.mu.Unlock()
		select {
		case told <- struct{}{}:
		default:
		}
	}
}

// answerAsks answers what this relay is asked, until there is nothing.
func (s *Store) answerAsks() {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		return
	}
	for {
		select {
		case s.answering <- struct{}{}:
		default:
			return // those who are at work look again when they have ended
		}
		more := s.answerOne(answer)
		<-s.answering
		if !more {
			return
		}
	}
}

// answerOne answers the oldest request; false: there is none.
func (s *Store) answerOne(answer func(context.Context, []byte) []byte) bool {
	ctx, cancel := asking(s.ctx)
	defer cancel()
	var id int64
	var request []byte
	err := s.pool.QueryRow(ctx, `UPDATE ask SET incarnation = $2 WHERE id = (SELECT id FROM ask WHERE relay = $1 AND incarnation IS NULL
			AND at > now() - $3::interval ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING id, CASE WHEN octet_length(request) <= $4 THEN request ELSE '' END`,
		s.opts.Relay, s.incarnation.Load(), s.begins, askMost).Scan(&id, &request)
	if err != nil {
		return false
	}
	working, stop := context.WithTimeout(s.ctx, askEnds)
	defer stop()
	said := answer(working, request)
	if len(said) > askMost {
		said = nil
	}
	ending, cancelEnd := asking(s.ctx)
	defer cancelEnd()
	_, err = s.pool.Exec(ending, `WITH a AS (UPDATE ask SET answer = $2 WHERE id = $1 RETURNING id)
		SELECT pg_notify($3, 'of ' || id) FROM a`, id, append([]byte{}, said...), askChannel)
	return err == nil
}
