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
	"postern/spool/disk"
	"postern/spool/journal"
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
	cmd := &cobra.Command{
		Use:   "adopt DIR",
		Short: "Take over the spool of another relay that has ended, such as one of a machine that was given up",
		Long: `Take over the spool of another relay that has ended: each message goes to the
relay that runs with this configuration, with its arrival, lifetime, attempts,
holds and DSN parameters, and is then removed from the old spool. What was cut
off is finished by the same command again. Recipients whose upstreams are not
known here are routed anew.`,
		Args: one("the folder of the other relay's spool"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.adopt(cmd.Context(), args[0], dry) },
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say how much there is, and adopt nothing")
	return a.withJSON(cmd)
}

// adopted is what `postern adopt` has done.
type adopted struct {
	Adopted int      `json:"adopted"`
	Before  int      `json:"before,omitempty"` // had been adopted, or handed in again, earlier
	Waiting int      `json:"waiting,omitempty"`
	Failed  []string `json:"failed,omitempty"` // why, one for each message
}

func (a *app) adopt(ctx context.Context, dir string, dry bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if _, err := client.Status(ctx); err != nil {
		return err
	}
	ids, err := waitingIn(ctx, dir)
	if err != nil {
		return notAdoptable(dir, err)
	}
	if dry || len(ids) == 0 {
		return a.tellAdopted(&adopted{Waiting: len(ids)}, nil)
	}
	old, err := journal.Open(journal.Options{Dir: dir, Reserve: -1})
	if err != nil {
		return notAdoptable(dir, err)
	}
	keep := keyLong
	if len(ids) > keyLongUntil {
		keep = keyShort
	}
	done, err := adoptAll(ctx, ids, func(id spool.ID) (bool, error) { return adoptOne(ctx, client, old, id, keep) })
	if closed := old.Close(); err == nil {
		err = closed
	}
	return a.tellAdopted(done, err)
}

// waitingIn lists the messages of a spool that is there already.
func waitingIn(ctx context.Context, dir string) (ids []spool.ID, err error) {
	r, err := journal.OpenReader(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = r.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		if n := len(ids); n == 0 || ids[n-1] != s.ID {
			ids = append(ids, s.ID)
		}
		return true
	})
	return ids, err
}

func notAdoptable(dir string, err error) error {
	var start *disk.StartError
	switch {
	case errors.Is(err, disk.ErrLocked):
		return &failure{code: exitTempFail, text: "the spool at " + dir + " is in use: a relay works with it", hint: "Stop that relay first; what is adopted while it runs would go out twice.", err: err}
	case errors.Is(err, disk.ErrMissing), errors.Is(err, disk.ErrNotSpool), errors.Is(err, disk.ErrNotFolder):
		return &failure{code: exitData, text: "there is no spool of Postern at " + dir, hint: "Name the folder that was dir in [spool] of the other relay.", err: err}
	case errors.Is(err, disk.ErrNotOurs):
		return &failure{code: exitNoPerm, text: "the spool at " + dir + " belongs to another user", hint: "Run this command as that user, who also has to be allowed at the control socket.", err: err}
	case permission(err):
		return &failure{code: exitNoPerm, text: "you may not read the spool at " + dir, err: err}
	case errors.As(err, &start):
		return &failure{code: exitCantCreate, text: start.Error(), err: err}
	}
	return err
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
func adoptOne(ctx context.Context, client *control.Client, old *journal.Store, id spool.ID, keep time.Duration) (before bool, err error) {
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
func letGo(ctx context.Context, old *journal.Store, m *spool.Detail, id string) error {
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
