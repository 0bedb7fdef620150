package main

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"strings"

	"postern/config"
	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/postgres"
)

// folder is a spool in a folder.
type folder struct{ dir string }

func (f *folder) read(context.Context) (stoppedSpool, error) {
	r, err := journal.OpenReader(f.dir)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (f *folder) open(context.Context) (spool.Store, func() error, error) {
	s, err := journal.Open(journal.Options{Dir: f.dir, Reserve: -1})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

func (f *folder) explain(err error) error {
	dir := f.dir
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

// sharedQueue is a queue in PostgreSQL.
type sharedQueue struct {
	app  *app
	file string // with the URL
}

func (q *sharedQueue) url() (string, error) {
	b, err := config.ReadFile(q.file)
	return strings.TrimSpace(string(b)), err
}

func (q *sharedQueue) read(ctx context.Context) (stoppedSpool, error) {
	url, err := q.url()
	if err != nil {
		return nil, err
	}
	r, err := postgres.OpenReader(ctx, url)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// open takes the name that the relay here has, or had there, so that what it could
// not tell the database any more is told first.
func (q *sharedQueue) open(ctx context.Context) (spool.Store, func() error, error) {
	cfg, err := config.Find(q.app.config)
	if err != nil {
		return nil, nil, err
	}
	url, err := q.url()
	if err != nil {
		return nil, nil, err
	}
	s, err := postgres.Open(ctx, postgres.Options{URL: url, Relay: cmp.Or(cfg.Spool.Relay, cfg.Hostname), Version: version,
		Outbox: filepath.Join(cfg.StateDir, "outbox")})
	if err != nil {
		return nil, nil, err
	}
	all, err := s.Relays(ctx)
	for _, r := range all {
		if err == nil && r.Lives && !r.Self {
			err = &inUse{r.Name}
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, s.Close, nil
}

// inUse is a relay that works with a shared queue.
type inUse struct{ relay string }

func (e *inUse) Error() string { return "the relay " + e.relay + " works with it" }

func (q *sharedQueue) explain(err error) error {
	var used *inUse
	switch {
	case errors.As(err, &used):
		return &failure{code: exitTempFail, text: "the queue is in use: " + used.Error(), hint: "Stop all of its relays first; what is adopted while one runs could go out twice.", err: err}
	case permission(err):
		return &failure{code: exitNoPerm, text: "you may not read " + q.file, err: err}
	}
	return err
}
