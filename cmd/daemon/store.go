package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"postern/cmd/control"
	"postern/cmd/facts"
	"postern/config"
	"postern/spool"
	"postern/spool/disk"
	"postern/spool/journal"
	"postern/spool/postgres"
	"postern/spool/standin"
)

// databaseTimeout bounds the look at a database, at the start and before it.
const databaseTimeout = 30 * time.Second

// openStore opens what keeps the queue: a folder, or a database.
func (d *daemon) openStore(cfg *config.Config) error {
	if cfg.Spool.Shared() {
		return d.openDatabase(cfg)
	}
	store, err := journal.Open(journal.Options{
		Dir: cfg.Spool.Dir, MaxSize: cfg.Spool.MaxSize, MinFree: cfg.Spool.MinFree, MaxMessages: cfg.Spool.MaxMessages,
		// Where an administrator names a folder, only that one is made: a
		// missing folder above it may be a disk that is not mounted.
		Create: cfg.Path == "",
		Events: d.log.Spool(),
	})
	if err != nil {
		return err
	}
	d.store, d.closeStore = store, store.Close
	return nil
}

// openDatabase opens a queue that relays share. A database that does not answer
// is an error, unless something stands in for it: whoever starts the relay tries
// again.
func (d *daemon) openDatabase(cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
	defer cancel()
	url, err := cfg.Spool.URL.Read(ctx)
	if err != nil {
		return err
	}
	store, err := postgres.Open(ctx, postgres.Options{
		URL: url, Relay: cfg.Spool.Relay, Version: d.version, MaxSize: cfg.Spool.MaxSize, MaxMessages: cfg.Spool.MaxMessages,
		Outbox: filepath.Join(cfg.StateDir, "outbox"),
		Temp:   cfg.StateDir, // where a confined process may write
		Late:   cfg.Spool.WhenAway == config.AwayLocal,
		Events: d.log.Database(),
	})
	if err != nil {
		return databaseError(err)
	}
	d.store, d.closeStore, d.database = store, store.Close, store
	return d.openStandin(cfg)
}

// standinFree is what a spool that stands in for the database leaves free on its
// disk, in bytes.
const standinFree = 256 << 20

// openStandin opens what stands in for a database that is away, also where mail is
// left in it and it takes no more.
func (d *daemon) openStandin(cfg *config.Config) error {
	dir := cfg.StandinDir()
	accept := cfg.Spool.WhenAway == config.AwayLocal
	if _, err := os.Stat(dir); !accept && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	local, err := journal.Open(journal.Options{
		Dir: dir, MaxSize: cfg.Spool.MaxSize, MinFree: standinFree, MaxMessages: cfg.Spool.MaxMessages, Events: d.log.Spool(),
	})
	if err != nil {
		_ = d.closeStore()
		return err
	}
	d.standin = standin.New(standin.Options{
		Shared: d.database, Answers: d.database.Answers, Local: local, Accept: accept, Events: d.log.Standin(),
	})
	closeShared := d.closeStore
	d.store = d.standin
	d.closeStore = func() error {
		d.standin.Close()
		return errors.Join(local.Close(), closeShared())
	}
	return nil
}

// away tells of what stands in for the database; nil: nothing does.
func (d *daemon) away(ctx context.Context) *control.Standin {
	if d.standin == nil {
		return nil
	}
	n, away := d.standin.Waiting(ctx)
	return &control.Standin{Messages: n, Accepting: away}
}

// reader is what people look at: the queue, and what waits to come into it.
func (d *daemon) reader() spool.Reader {
	if d.standin == nil {
		return d.store
	}
	return d.standin.Reader()
}

// waits tells whether a message waits to come into the queue; nil: none does.
func (d *daemon) waits() func(context.Context, spool.ID) bool {
	if d.standin == nil {
		return nil
	}
	return d.standin.Waits
}

// databaseError is what a start says of a database that it cannot use.
func databaseError(err error) error {
	if errors.Is(err, postgres.ErrSchema) {
		return err
	}
	return fmt.Errorf("the database of the queue (spool.url) cannot be used: %w", err)
}

// mended is an error with which a relay starts, and which it waits out.
type mended struct{ error }

func (e *mended) Unwrap() error { return e.error }

// foreseeDatabase tells what a start would say of the database. A *mended is what it
// would start without.
func foreseeDatabase(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout/3)
	defer cancel()
	if err := disk.MayMake(cfg.StateDir); err != nil {
		return err
	}
	url, err := cfg.Spool.URL.Read(ctx)
	if err != nil {
		return err
	}
	v, err := postgres.SchemaOf(ctx, url)
	switch {
	case err != nil && cfg.Spool.WhenAway == config.AwayLocal && postgres.Unanswered(err):
		return &mended{databaseError(err)}
	case err != nil:
		return databaseError(err)
	case v != postgres.Schema:
		return &postgres.SchemaError{Version: v}
	}
	return nil
}

// relays are those that share the queue; none where a folder keeps it, or where
// the database doesn't say.
func (d *daemon) relays(ctx context.Context) (list []control.Peer) {
	if d.database == nil {
		return nil
	}
	all, err := d.database.Relays(ctx)
	if err != nil {
		return nil
	}
	for _, r := range all {
		one := control.Peer{Name: r.Name, Version: r.Version, Started: r.Started, Lives: r.Lives, Self: r.Self, Lanes: []control.Charge{}}
		for _, l := range r.Lanes {
			one.Lanes = append(one.Lanes, control.Charge{Upstream: l.Upstream, Since: l.Since})
		}
		list = append(list, one)
	}
	return list
}

// facts are where this relay keeps small facts.
func (d *daemon) facts(cfg *config.Config) spool.State {
	if d.database == nil {
		return facts.Of(cfg, nil)
	}
	return facts.Of(cfg, d.database.State())
}
