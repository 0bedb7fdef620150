package eventlog

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/spool"
	"postern/spool/journal"
)

// spoolEvents tells of the disk.
type spoolEvents struct{ log *Log }

// Spool returns the events of the spool.
func (l *Log) Spool() journal.Events { return spoolEvents{l} }

func (s spoolEvents) SpoolRecovered(r journal.Recovery) {
	write := s.log.info
	if r.SetAside > 0 || r.TornBytes > 0 {
		write = s.log.warn
	}
	write("spool-opened", zap.Int("messages", r.Messages), zap.Int("deliveries", r.Shares),
		zap.Int("records", r.Records), zap.Int("segments", r.Segments), zap.Int("scanned", r.Scanned),
		zap.Int64("torn_bytes", r.TornBytes), zap.Int("set_aside", r.SetAside),
		zap.Int("in_doubt", r.InDoubt), zap.Int("swept", r.Swept), zap.Duration("took", r.Took))
}

func (s spoolEvents) SpoolCommitted(messages int, bytes int64, took time.Duration) {
	m := s.log.metrics
	m.commits.with().Observe(took.Seconds())
	m.committed.with().Add(float64(messages))
	m.committedBytes.with().Add(float64(bytes))
	if s.log.debugs() {
		s.log.debug("spool-committed", zap.Int("messages", messages), zap.Int64("bytes", bytes), zap.Duration("took", took))
	}
}

func (s spoolEvents) SegmentBegun(segment uint32) {
	s.log.debug("segment-begun", zap.Uint64("segment", uint64(segment)))
}

func (s spoolEvents) SegmentReclaimed(segment uint32, copied int, bytes int64) {
	s.log.metrics.reclaimed.with().Inc()
	s.log.debug("segment-reclaimed", zap.Uint64("segment", uint64(segment)), zap.Int("copied", copied), zap.Int64("bytes", bytes))
}

func (s spoolEvents) RecordSetAside(name string, i spool.ID, reason string) {
	s.log.metrics.setAside.with().Inc()
	s.log.error("record-set-aside", id(i), zap.String("file", name), zap.String("reason", reason))
}

func (s spoolEvents) TornTailCut(segment uint32, offset, bytes int64) {
	s.log.warn("torn-tail-cut", zap.Uint64("segment", uint64(segment)), zap.Int64("offset", offset), zap.Int64("bytes", bytes))
}

func (s spoolEvents) SpoolWriteFailed(segment uint32, operation string, err error) {
	s.log.metrics.writeFailures.with(operation).Inc()
	// Whoever may hand in mail can have a full disk written to.
	if !s.log.mayTell(zapcore.ErrorLevel, "spool-write-failed "+operation, nil) {
		return
	}
	s.log.error("spool-write-failed", zap.Uint64("segment", uint64(segment)), zap.String("operation", operation), zap.Error(err))
}

func (s spoolEvents) SpoolReadFailed(i spool.ID, err error) {
	message := zap.Skip()
	if i != 0 {
		message = id(i)
	}
	s.log.error("spool-read-failed", message, zap.Error(err))
}

func (s spoolEvents) SpoolFull(u spool.Usage) {
	if s.log.mayTell(zapcore.ErrorLevel, "spool-full", nil) { // bodies that are given up fill it, and leave it
		s.log.error("spool-full", usage(&u)...)
	}
}

func (s spoolEvents) SpoolHasRoom(u spool.Usage) {
	if s.log.mayTell(zapcore.InfoLevel, "spool-has-room", nil) {
		s.log.info("spool-has-room", usage(&u)...)
	}
}

func usage(u *spool.Usage) []zap.Field {
	return []zap.Field{
		zap.Int("messages", u.Messages), zap.Int64("used_bytes", u.Disk), zap.Int64("live_bytes", u.Live),
		zap.Int64("free_bytes", u.Free), zap.Int64("max_size_bytes", u.MaxSize), zap.Int64("min_free_bytes", u.MinFree),
		zap.Int("max_messages", u.MaxMessages),
	}
}

func (s spoolEvents) BodiesSwept(count int, bytes int64) {
	s.log.info("bodies-swept", zap.Int("count", count), zap.Int64("bytes", bytes))
}
