package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"postern/cmd/control"
	"postern/config"
	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/postgres"
)

// stoppedSpool is a spool that no daemon has open, for reading only.
type stoppedSpool interface {
	spool.Reader
	Close() error
}

// openStopped opens the spool of the configuration after the daemon did not
// answer, which is gone: it is the answer where the spool cannot be read.
func (a *app) openStopped(gone error) (stoppedSpool, error) {
	place, err := config.Locate(a.config)
	if err != nil {
		return nil, badConfig(err)
	}
	if place.Shared {
		return a.openShared(gone)
	}
	r, err := journal.OpenReader(place.SpoolDir)
	var start *disk.StartError
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, disk.ErrMissing):
		return nil, &failure{code: exitUnavailable, text: gone.Error(), hint: "There is no spool at " + place.SpoolDir + " either.", err: err}
	case errors.Is(err, fs.ErrPermission):
		return nil, &failure{code: exitNoPerm, text: gone.Error(), hint: "You may not read the spool at " + place.SpoolDir + " either.", err: err}
	case errors.Is(err, disk.ErrNotOurs):
		// The sentence of a start would have the spool handed over.
		return nil, &failure{code: exitNoPerm, text: gone.Error(), hint: "The spool at " + place.SpoolDir + " belongs to another user: run this command as that user.", err: err}
	case errors.As(err, &start):
		return nil, &failure{code: exitCantCreate, text: start.Error(), err: err}
	}
	return nil, err
}

// openShared opens the queue that relays share, which is there without this one.
func (a *app) openShared(gone error) (stoppedSpool, error) {
	ctx := context.Background()
	url, err := a.databaseURL(ctx)
	if err != nil {
		return nil, &failure{code: exitUnavailable, text: gone.Error(), hint: "The queue is in a database, and its URL cannot be read either: " + err.Error(), err: err}
	}
	r, err := postgres.OpenReader(ctx, url)
	if err != nil {
		return nil, &failure{code: exitUnavailable, text: gone.Error(), hint: "The database of the queue cannot be used either: " + err.Error(), err: err}
	}
	return r, nil
}

// checkUpstream refuses the name of an upstream that is neither configured nor
// what mail in a stopped spool waits for. A configuration that cannot be read
// names none, and then every name is taken.
func (a *app) checkUpstream(ctx context.Context, name string, src spool.Reader) error {
	cfg, err := config.Find(a.config)
	if name == "" || err != nil {
		return nil
	}
	known := map[string]bool{}
	for up := range cfg.Upstreams {
		known[up] = true
	}
	err = src.Find(ctx, spool.Query{}, func(s spool.Summary) bool {
		for _, up := range s.Upstreams {
			known[up] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	if err := control.CheckUpstream(name, slices.Sorted(maps.Keys(known))); err != nil {
		return &failure{code: exitData, text: err.Error(), err: err}
	}
	return nil
}
