package eventlog

import (
	"fmt"

	"go.uber.org/zap"

	"postern/relay/oauth"
)

// Tokens returns what tells of access tokens. It is never given one.
func (l *Log) Tokens() func(oauth.Event) {
	return func(e oauth.Event) {
		switch e := e.(type) {
		case *oauth.Obtained:
			l.tokenObtained(e)
		case *oauth.Failed:
			l.tokenFailed(e)
		case *oauth.Panicked:
			l.tokenPanicked(e)
		}
	}
}

func (l *Log) tokenObtained(e *oauth.Obtained) {
	l.metrics.tokensObtained.with(e.Upstream, string(e.Reason)).Inc()
	l.info("token-obtained",
		zap.String("upstream", e.Upstream), zap.String("reason", string(e.Reason)),
		moment("expires", e.Expires), zap.Bool("rotated", e.Rotated), zap.Duration("took", e.Took))
}

func (l *Log) tokenPanicked(e *oauth.Panicked) {
	l.metrics.panics.with().Inc()
	l.error("token-defect", zap.String("upstream", e.Upstream),
		zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))
}

func (l *Log) tokenFailed(e *oauth.Failed) {
	l.metrics.tokensFailed.with(e.Upstream, e.Kind.String()).Inc()
	l.warn("token-failed",
		zap.String("upstream", e.Upstream), zap.String("reason", string(e.Reason)),
		zap.String("kind", e.Kind.String()), some("code", e.Code), zap.String("text", e.Text),
		moment("usable_until", e.Until), zap.Duration("took", e.Took))
}
