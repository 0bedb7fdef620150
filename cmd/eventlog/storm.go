package eventlog

import (
	"go.uber.org/zap"

	"postern/relay/storm"
)

// Storms returns what tells of messages that are alike and too many.
func (l *Log) Storms() func(storm.Event) {
	return func(e storm.Event) {
		switch e := e.(type) {
		case *storm.Began:
			l.warn("storm-began", stormFields(&e.Storm, zap.Int("messages", e.Messages), zap.Duration("per", e.Per))...)
		case *storm.Ended:
			l.info("storm-ended", stormFields(&e.Storm, zap.Int("held", e.Held))...)
		case *storm.Digested:
			l.info("storm-digest", stormFields(&e.Storm, zap.Int("held", e.Held), zap.String("notice", e.Notice))...)
		case *storm.NotDigested:
			l.error("storm-digest-failed", stormFields(&e.Storm, zap.Error(e.Err))...)
		case *storm.Overflow:
			l.warn("storm-let-through", zap.String("from", e.From), zap.Int("storms", e.Storms))
		case *storm.NotSaved:
			l.error("storms-not-saved", zap.Error(e.Err))
		}
	}
}

func stormFields(s *storm.Storm, more ...zap.Field) []zap.Field {
	return append([]zap.Field{zap.String("storm", s.ID.String()), zap.String("from", s.From), zap.String("to", s.To), zap.String("subject", s.Subject)}, more...)
}
