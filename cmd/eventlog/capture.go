package eventlog

import (
	"go.uber.org/zap"

	"postern/relay/capture"
)

// Capture returns what tells of the capture server.
func (l *Log) Capture() func(capture.Event) {
	return func(e capture.Event) {
		switch e := e.(type) {
		case *capture.Stored:
			l.captureStored(e)
		case *capture.Failed:
			l.error("capture-failed", zap.String("upstream", e.Upstream), zap.Error(e.Err))
		}
	}
}

func (l *Log) captureStored(s *capture.Stored) {
	l.metrics.captured.with(s.Upstream).Inc()
	l.info("message-captured", zap.String("upstream", s.Upstream), zap.String("file", s.Path),
		zap.String("from", s.From), list("to", s.To), zap.Int64("size", s.Size))
}
