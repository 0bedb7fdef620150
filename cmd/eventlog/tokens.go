package eventlog

import (
	"fmt"

	"go.uber.org/zap"

	"postern/relay/oauth"
)

// tokenEvents tells of access tokens, and never has one.
type tokenEvents struct{ log *Log }

// Tokens returns the events of access tokens.
func (l *Log) Tokens() oauth.Events { return tokenEvents{l} }

func (t tokenEvents) TokenObtained(e oauth.Obtained) {
	t.log.metrics.tokensObtained.with(e.Upstream, string(e.Reason)).Inc()
	t.log.info("token-obtained",
		zap.String("upstream", e.Upstream), zap.String("reason", string(e.Reason)),
		moment("expires", e.Expires), zap.Bool("rotated", e.Rotated), zap.Duration("took", e.Took))
}

func (t tokenEvents) TokenPanicked(upstream string, value any, stack []byte) {
	t.log.metrics.panics.with().Inc()
	t.log.error("token-defect", zap.String("upstream", upstream),
		zap.String("panic", fmt.Sprint(value)), zap.String("stack", stackText(stack)))
}

func (t tokenEvents) TokenFailed(e oauth.Failed) {
	t.log.metrics.tokensFailed.with(e.Upstream, e.Kind.String()).Inc()
	t.log.warn("token-failed",
		zap.String("upstream", e.Upstream), zap.String("reason", string(e.Reason)),
		zap.String("kind", e.Kind.String()), some("code", e.Code), zap.String("text", e.Text),
		moment("usable_until", e.Until), zap.Duration("took", e.Took))
}
