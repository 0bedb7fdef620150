package journal

import (
	"context"
	"errors"
	"os"
	"time"

	"postern/spool"
	"postern/spool/disk"
)

// Reader is a spool opened for reading only, for looking at one that no
// daemon runs on. It takes no lock and writes nothing.
type Reader struct{ s *Store }

var _ spool.Reader = (*Reader)(nil)

// OpenReader opens the spool in dir for reading. Every error is a
// *StartError. Root may read a spool of anybody's. Close it.
func OpenReader(dir string) (*Reader, error) { return openReader(Options{Dir: dir}) }

func openReader(opts Options) (*Reader, error) {
	began := time.Now()
	s := newStore(opts)
	s.readOnly = true
	err := s.fs.Prepare(disk.MakeNothing)
	if errors.Is(err, disk.ErrNotOurs) && os.Geteuid() == 0 {
		err = nil // nothing is written, so nothing of root's is left there
	}
	if err == nil {
		_, err = s.checkFolder()
	}
	if err == nil {
		err = s.recover()
	}
	if err != nil {
		s.abandon()
		return nil, s.startError(err)
	}
	s.report.Took = time.Since(began)
	return &Reader{s}, nil
}

// Find is Store.Find.
func (r *Reader) Find(ctx context.Context, q spool.Query, visit func(spool.Summary) bool) error {
	return r.s.Find(ctx, q, visit)
}

// Shares is Store.Shares.
func (r *Reader) Shares(ctx context.Context, id spool.ID) ([]spool.Summary, error) {
	return r.s.Shares(ctx, id)
}

// Detail is Store.Detail.
func (r *Reader) Detail(ctx context.Context, id spool.ID) (*spool.Detail, error) {
	return r.s.Detail(ctx, id)
}

// Content is Store.Content, except that what is damaged is left in place.
func (r *Reader) Content(ctx context.Context, id spool.ID) (spool.Content, error) {
	return r.s.Content(ctx, id)
}

// Usage is Store.Usage; SetAside counts also what a start would set aside.
func (r *Reader) Usage(ctx context.Context) (spool.Usage, error) {
	u, err := r.s.Usage(ctx)
	u.SetAside += r.s.report.SetAside
	return u, err
}

// Close closes the files.
func (r *Reader) Close() error {
	r.s.abandon()
	return nil
}
