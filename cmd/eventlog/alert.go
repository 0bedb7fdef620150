package eventlog

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/cmd/alert"
)

// Alerts returns what tells of those who are told of troubles. A receiver that
// fails is written once, and counted each time.
func (l *Log) Alerts() func(alert.Event) {
	return func(e alert.Event) {
		switch e := e.(type) {
		case *alert.Told:
			l.metrics.alertsSent.with(e.Receiver, "told").Inc()
			l.info("alert-sent", zap.String("receiver", e.Receiver), zap.Int("open", e.Open), zap.Int("over", e.Over))
		case *alert.Failed:
			l.metrics.alertsSent.with(e.Receiver, "failed").Inc()
			level := zapcore.DebugLevel
			if e.Times == 1 {
				level = zapcore.ErrorLevel
			}
			l.write(level, "alert-failed", zap.String("receiver", e.Receiver), zap.Error(e.Err), zap.Duration("pause", e.Pause), zap.Int("times", e.Times))
		case *alert.Panicked:
			l.metrics.panics.with().Inc()
			l.error("alert-defect", zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))
		case *alert.NotSaved:
			l.error("alerts-not-saved", zap.Error(e.Err))
		}
	}
}
