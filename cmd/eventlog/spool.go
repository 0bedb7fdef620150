package eventlog

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/spool"
	"postern/spool/journal"
)

// Spool returns what tells of the disk.
func (l *Log) Spool() func(journal.Event) {
	return func(e journal.Event) {
		switch e := e.(type) {
		case *journal.Recovery:
			l.spoolOpened(e)
		case *journal.Committed:
			m := l.metrics
			m.commits.with().Observe(e.Took.Seconds())
			m.committed.with().Add(float64(e.Messages))
			m.committedBytes.with().Add(float64(e.Bytes))
			if l.debugs() {
				l.debug("spool-committed", zap.Int("messages", e.Messages), zap.Int64("bytes", e.Bytes), zap.Duration("took", e.Took))
			}
		case *journal.SegmentBegun:
			l.debug("segment-begun", zap.Uint64("segment", uint64(e.Segment)))
		case *journal.SegmentReclaimed:
			l.metrics.reclaimed.with().Inc()
			l.debug("segment-reclaimed", zap.Uint64("segment", uint64(e.Segment)), zap.Int("copied", e.Copied), zap.Int64("bytes", e.Bytes), zap.Int("keys", e.Keys))
		case *journal.RecordSetAside:
			l.metrics.setAside.with().Inc()
			l.error("record-set-aside", id(e.ID), zap.String("file", e.Name), zap.String("reason", e.Reason))
		case *journal.TornTailCut:
			l.warn("torn-tail-cut", zap.Uint64("segment", uint64(e.Segment)), zap.Int64("offset", e.Offset), zap.Int64("bytes", e.Bytes))
		case *journal.WriteFailed:
			l.metrics.writeFailures.with(e.Operation).Inc()
			// Whoever may hand in mail can have a full disk written to.
			if l.mayTell(zapcore.ErrorLevel, "spool-write-failed "+e.Operation, nil) {
				l.error("spool-write-failed", zap.Uint64("segment", uint64(e.Segment)), zap.String("operation", e.Operation), zap.Error(e.Err))
			}
		case *journal.ReadFailed:
			message := zap.Skip()
			if e.ID != 0 {
				message = id(e.ID)
			}
			l.error("spool-read-failed", message, zap.Error(e.Err))
		case *journal.Full:
			if l.mayTell(zapcore.ErrorLevel, "spool-full", nil) { // bodies that are given up fill it, and leave it
				l.error("spool-full", usage(&e.Usage)...)
			}
		case *journal.HasRoom:
			if l.mayTell(zapcore.InfoLevel, "spool-has-room", nil) {
				l.info("spool-has-room", usage(&e.Usage)...)
			}
		case *journal.BodiesSwept:
			l.info("bodies-swept", zap.Int("count", e.Count), zap.Int64("bytes", e.Bytes))
		}
	}
}

func (l *Log) spoolOpened(r *journal.Recovery) {
	write := l.info
	if r.SetAside > 0 || r.TornBytes > 0 {
		write = l.warn
	}
	write("spool-opened", zap.Int("messages", r.Messages), zap.Int("deliveries", r.Shares),
		zap.Int("records", r.Records), zap.Int("segments", r.Segments), zap.Int("scanned", r.Scanned),
		zap.Int64("torn_bytes", r.TornBytes), zap.Int("set_aside", r.SetAside),
		zap.Int("in_doubt", r.InDoubt), zap.Int("keys", r.Keys), zap.Int("swept", r.Swept), zap.Duration("took", r.Took))
}

func usage(u *spool.Usage) []zap.Field {
	return []zap.Field{
		zap.Int("messages", u.Messages), zap.Int64("used_bytes", u.Disk), zap.Int64("live_bytes", u.Live),
		zap.Int64("free_bytes", u.Free), zap.Int64("max_size_bytes", u.MaxSize), zap.Int64("min_free_bytes", u.MinFree),
		zap.Int("max_messages", u.MaxMessages),
	}
}
