package eventlog

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/cmd/fleet"
	"postern/spool/postgres"
)

// Database returns what tells of a queue that relays share.
func (l *Log) Database() func(postgres.Event) {
	return func(e postgres.Event) {
		switch e := e.(type) {
		case *postgres.LaneTaken:
			l.warn("lane-taken-over", zap.String("upstream", e.Upstream), zap.String("from", e.From), zap.Bool("left", e.Left),
				zap.Uint64("epoch", e.Epoch), zap.Int("released", e.Released), zap.Int("in_doubt", e.InDoubt))
		case *postgres.Failed:
			l.metrics.writeFailures.with(e.Op).Inc()
			if l.mayTell(zapcore.ErrorLevel, "database-failed", nil) {
				l.error("database-failed", zap.String("operation", e.Op), zap.Error(e.Err))
			}
		case *postgres.Joined:
			l.info("database-joined", zap.Duration("took", e.After))
		case *postgres.Behind:
			if l.mayTell(zapcore.WarnLevel, "database-behind", nil) {
				l.warn("database-behind", zap.Int("settlements", e.Settlements))
			}
		case *postgres.CaughtUp:
			l.info("database-caught-up", zap.Int("settlements", e.Settlements), zap.Int("refused", e.Refused))
		}
	}
}

// Fleet returns what tells of a panic over what another relay has asked.
func (l *Log) Fleet() func(*fleet.Panicked) {
	return func(e *fleet.Panicked) {
		l.metrics.panics.with().Inc()
		if l.mayTell(zapcore.ErrorLevel, "operation-defect", nil) {
			l.error("operation-defect", zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))
		}
	}
}
