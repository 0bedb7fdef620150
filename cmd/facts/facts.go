// Package facts says where the small facts of a relay are: in its state folder,
// or in the database of the queue that it shares with others.
package facts

import (
	"context"

	"postern/config"
	"postern/spool"
	"postern/spool/postgres"
	"postern/spool/statefile"
)

// Of are the facts of a relay. database are those of its queue; nil: it shares
// none.
func Of(cfg *config.Config, database spool.State) spool.State {
	own := &statefile.State{Dir: cfg.StateDir}
	if database == nil {
		return own
	}
	return &shared{own: own, database: database, tokens: cfg.Spool.TokenKey.IsSet()}
}

// Open opens them for a command. They are good until ctx ends and closed is
// called.
func Open(ctx context.Context, cfg *config.Config) (st spool.State, closed func(), err error) {
	if !cfg.Spool.Shared() {
		return Of(cfg, nil), func() {}, nil
	}
	url, err := cfg.Spool.URL.Read(ctx)
	if err != nil {
		return nil, nil, err
	}
	database, closed, err := postgres.OpenState(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	return Of(cfg, database), closed, nil
}

// shared are the facts of a relay that shares its queue.
type shared struct {
	own, database spool.State
	tokens        bool // are in the database: there is a key that is not
}

// of is where a fact is.
func (s *shared) of(f spool.Fact) spool.State {
	switch f.Kind {
	case spool.KindTokenKey: // never beside what it opens
		return s.own
	case spool.KindToken:
		if !s.tokens {
			return s.own
		}
	}
	return s.database
}

func (s *shared) Read(ctx context.Context, f spool.Fact) ([]byte, error) { return s.of(f).Read(ctx, f) }

func (s *shared) Has(f spool.Fact) bool { return s.of(f).Has(f) }

func (s *shared) Write(ctx context.Context, f spool.Fact, content []byte) error {
	return s.of(f).Write(ctx, f, content)
}

func (s *shared) Remove(ctx context.Context, f spool.Fact) error { return s.of(f).Remove(ctx, f) }

func (s *shared) SetAside(ctx context.Context, f spool.Fact) (string, error) {
	return s.of(f).SetAside(ctx, f)
}

func (s *shared) Lock(ctx context.Context, f spool.Fact) (func(), error) { return s.of(f).Lock(ctx, f) }

func (s *shared) Where(f spool.Fact) string { return s.of(f).Where(f) }
