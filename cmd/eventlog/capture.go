package eventlog

import (
	"go.uber.org/zap"

	"postern/relay/capture"
)

// captureEvents tells of the capture server.
type captureEvents struct{ log *Log }

// Capture returns the events of the capture server.
func (l *Log) Capture() capture.Events { return captureEvents{l} }

func (c captureEvents) CaptureStored(s capture.Stored) {
	c.log.metrics.captured.with(s.Upstream).Inc()
	c.log.info("message-captured", zap.String("upstream", s.Upstream), zap.String("file", s.Path),
		zap.String("from", s.From), list("to", s.To), zap.Int64("size", s.Size))
}

func (c captureEvents) CaptureFailed(upstream string, err error) {
	c.log.error("capture-failed", zap.String("upstream", upstream), zap.Error(err))
}
