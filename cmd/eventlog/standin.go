package eventlog

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/spool/standin"
)

// Standin returns what tells of a local spool that stands in for a database.
func (l *Log) Standin() func(standin.Event) {
	return func(e standin.Event) {
		switch e := e.(type) {
		case *standin.Began:
			l.warn("standin-accepting", zap.String("hint", "the database is away; what is accepted goes out when it is back"))
		case *standin.MovedOne:
			l.info("standin-moved", id(e.ID), zap.String("old_id", e.Old.String()), zap.String("from", e.Envelope.From),
				zap.Int("recipients", len(e.Envelope.Recipients)), moment("accepted", e.Envelope.Accepted), zap.Bool("repeated", e.Repeated))
		case *standin.Moved:
			l.info("standin-empty", zap.Int("messages", e.Messages))
		case *standin.Failed:
			if l.mayTell(zapcore.ErrorLevel, "standin-failed", nil) {
				l.error("standin-failed", id(e.ID), zap.Error(e.Err))
			}
		}
	}
}
