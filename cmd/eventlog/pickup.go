package eventlog

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/config/wire"
	"postern/relay/pickup"
)

// maxFile bounds the name of a file in a line, in bytes.
const maxFile = 255

// Pickup returns what tells of the pickup folder.
func (l *Log) Pickup() func(pickup.Event) {
	return func(e pickup.Event) {
		switch e := e.(type) {
		case *pickup.SetAside:
			fields := []zap.Field{zap.String("file", wire.Text(e.File, maxFile)), zap.String("why", e.Why)}
			if e.Err != nil {
				fields = append(fields, zap.Error(e.Err))
			}
			l.tellOf(zapcore.WarnLevel, "pickup-set-aside", e.Client, fields...)
		case *pickup.Unusable:
			l.warn("pickup-unusable", zap.String("path", e.Dir), zap.Error(e.Err))
		case *pickup.Usable:
			l.info("pickup-usable", zap.String("path", e.Dir))
		case *pickup.Panicked:
			l.metrics.panics.with().Inc()
			if l.mayTell(zapcore.ErrorLevel, "defect", e.Client) {
				l.error("defect", client(e.Client, zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))...)
			}
		}
	}
}
