package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/control"
	"postern/spool"
)

// How a spool is adopted.
const (
	adoptAtOnce  = 8                // messages on their way to the daemon at a time
	adoptRoom    = 2 * time.Second  // between two tries where there is no room
	keyLong      = 24 * time.Hour   // for how long it is remembered what was adopted
	keyShort     = 30 * time.Minute // of a spool with more messages than
	keyLongUntil = 100_000
	keyShare     = 0x61646f70 // all keys of adoptions share the room of one sender
)

func (a *app) adoptCommand() *cobra.Command {
	var dry bool
	var database string
	cmd := &cobra.Command{
		Use:   "adopt {DIR | --database FILE}",
		Short: "Take over the spool of another relay that has ended, such as one of a machine that was given up",
		Long: `Take over the spool of another relay that has ended: each message goes to the
relay that runs with this configuration, with its arrival, lifetime, attempts,
holds and DSN parameters, and is then removed from the old spool. What was cut
off is finished by the same command again. Recipients whose upstreams are not
known here are routed anew. With --database the old spool is the queue in a
PostgreSQL, of which all relays have ended.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if database == "" {
				return one("the folder of the other relay's spool")(cmd, args)
			}
			return noArguments(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if database != "" {
				return a.adopt(cmd.Context(), &sharedQueue{app: a, file: database}, dry)
			}
			return a.adopt(cmd.Context(), &folder{dir: args[0]}, dry)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say how much there is, and adopt nothing")
	cmd.Flags().StringVar(&database, "database", "", "the file with the URL of a queue in PostgreSQL, as in spool.url_file")
	return a.withJSON(cmd)
}

// adopted is what `postern adopt` has done.
type adopted struct {
	Adopted int      `json:"adopted"`
	Before  int      `json:"before,omitempty"` // had been adopted, or handed in again, earlier
	Waiting int      `json:"waiting,omitempty"`
	Failed  []string `json:"failed,omitempty"` // why, one for each message
}

// oldSpool is where the messages are that are adopted.
type oldSpool interface {
	// read opens a spool that is there already, to look at it.
	read(ctx context.Context) (stoppedSpool, error)
	// open opens it after read, to empty it. Nobody else works with it then.
	open(ctx context.Context) (store spool.Store, closed func() error, err error)
	// explain says what an error of the two means.
	explain(err error) error
}

func (a *app) adopt(ctx context.Context, old oldSpool, dry bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if _, err := client.Status(ctx); err != nil {
		return err
	}
	ids, err := waitingIn(ctx, old)
	if err != nil {
		return old.explain(err)
	}
	if dry || len(ids) == 0 {
		return a.tellAdopted(&adopted{Waiting: len(ids)}, nil)
	}
	store, closed, err := old.open(ctx)
	if err != nil {
		return old.explain(err)
	}
	if ids, err = listed(ctx, store); err != nil {
		return errors.Join(err, closed())
	}
	keep := keyLong
	if len(ids) > keyLongUntil {
		keep = keyShort
	}
	done, err := adoptAll(ctx, ids, func(id spool.ID) (bool, error) { return adoptOne(ctx, client, store, id, keep) })
	if e := closed(); err == nil {
		err = e
	}
	return a.tellAdopted(done, err)
}

// waitingIn are the messages of an old spool.
func waitingIn(ctx context.Context, old oldSpool) ([]spool.ID, error) {
	r, err := old.read(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return listed(ctx, r)
}

// listed are the messages of a spool.
func listed(ctx context.Context, r interface {
	Find(context.Context, spool.Query, func(spool.Summary) bool) error
}) (ids []spool.ID, err error) {
	err = r.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		if n := len(ids); n == 0 || ids[n-1] != s.ID {
			ids = append(ids, s.ID)
		}
		return true
	})
	return ids, err
}

// adoptAll adopts messages, several at a time, until an error says that no more
// can be. What is wrong with one message is told with the others.
func adoptAll(ctx context.Context, ids []spool.ID, one func(spool.ID) (before bool, err error)) (*adopted, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := &adopted{}
	var mu sync.Mutex
	var work sync.WaitGroup
	next := make(chan spool.ID)
	for range adoptAtOnce {
		work.Go(func() {
			for id := range next {
				before, err := one(id)
				mu.Lock()
				var alone *messageFault
				switch {
				case errors.As(err, &alone):
					done.Failed = append(done.Failed, id.String()+": "+alone.err.Error())
				case err != nil:
					cancel(err)
				case before:
					done.Before++
				default:
					done.Adopted++
				}
				mu.Unlock()
			}
		})
	}
	for _, id := range ids {
		select {
		case next <- id:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	work.Wait()
	done.Waiting = len(ids) - done.Adopted - done.Before - len(done.Failed)
	slices.Sort(done.Failed)
	return done, context.Cause(ctx)
}

// messageFault is an error that says nothing about other messages.
type messageFault struct{ err error }

func (e *messageFault) Error() string { return e.err.Error() }

// adoptOne hands one message over, and removes it from the old spool once it is
// durable in the other one.
func adoptOne(ctx context.Context, client *control.Client, old spool.Store, id spool.ID, keep time.Duration) (before bool, err error) {
	m, err := old.Detail(ctx, id)
	if err != nil {
		return false, &messageFault{err}
	}
	if m.Envelope.Key == nil {
		m.Envelope.Key = &spool.Key{Name: spool.NameKey("adopted", id.String()+" "+m.Envelope.Accepted.String()+" "+m.Envelope.From), Share: keyShare}
	}
	if until := time.Now().Add(keep); m.Envelope.Key.Until.Before(until) {
		m.Envelope.Key.Until = until
	}
	c, err := old.Content(ctx, id)
	if err != nil {
		return false, &messageFault{err}
	}
	defer c.Close()
	done, err := handOver(ctx, client, m, c)
	var refused *control.Refused
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusBadRequest:
		return false, &messageFault{err}
	case err != nil:
		return false, err
	}
	return done.Before, letGo(ctx, old, m, done.ID)
}

// handOver waits where there is no room.
func handOver(ctx context.Context, client *control.Client, m *spool.Detail, c spool.Content) (*control.Adopted, error) {
	for began := time.Now(); ; {
		prefix := int64(len(m.Envelope.Prefix))
		done, err := client.Adopt(ctx, m, io.NewSectionReader(c, prefix, c.Size()-prefix))
		var refused *control.Refused
		if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || time.Since(began) > 2*keyShort {
			return done, err
		}
		select {
		case <-time.After(adoptRoom):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// letGo removes a message from the old spool.
func letGo(ctx context.Context, old spool.Store, m *spool.Detail, id string) error {
	shares, err := old.Shares(ctx, m.ID)
	if err != nil {
		return err
	}
	for _, s := range shares {
		d, err := old.Take(ctx, m.ID, s.Share)
		if err != nil {
			return err
		}
		outs := slices.Repeat([]spool.Outcome{{Text: "adopted by another relay as " + id, Verdict: spool.Removed}}, len(d.Pending))
		if _, err := old.Settle(ctx, d, spool.Settlement{Outcomes: outs}); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) tellAdopted(done *adopted, err error) error {
	if a.json {
		if e := printJSON(a.stdout, done); e != nil && err == nil {
			err = e
		}
	} else {
		for _, f := range done.Failed {
			fmt.Fprintf(a.stderr, "postern: %s\n", safe(f))
		}
		fmt.Fprintf(a.stdout, "%d messages adopted", done.Adopted)
		if done.Before > 0 {
			fmt.Fprintf(a.stdout, ", %d had been before", done.Before)
		}
		if n := len(done.Failed); n > 0 {
			fmt.Fprintf(a.stdout, ", %d could not be", n)
		}
		if done.Waiting > 0 {
			fmt.Fprintf(a.stdout, ", %d wait in the old spool", done.Waiting)
		}
		fmt.Fprintln(a.stdout)
	}
	if err == nil && len(done.Failed) > 0 {
		return errReported{exitData}
	}
	return err
}
