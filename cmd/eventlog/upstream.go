package eventlog

import (
	"go.uber.org/zap"

	"postern/relay/upstream"
)

// upstreamEvents tells of sessions with upstreams.
type upstreamEvents struct{ log *Log }

// Upstream returns the events of upstream sessions.
func (l *Log) Upstream() upstream.Events { return upstreamEvents{l} }

func (u upstreamEvents) UpstreamOpened(e upstream.Opened) {
	m := u.log.metrics
	m.sessions.with(e.Upstream, e.TLSVersion).Inc()
	m.sessionOpen.with(e.Upstream).Observe(e.Duration.Seconds())
	u.log.debug("upstream-opened",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.String("tls", e.TLSVersion), zap.String("cipher", e.TLSCipher),
		zap.Bool("verified", e.Verified), zap.Bool("resumed", e.Resumed),
		zap.String("mechanism", e.Mechanism), zap.Bool("pipelining", e.Pipelining),
		zap.Duration("took", e.Duration))
}

func (u upstreamEvents) UpstreamClosed(e upstream.Closed) {
	u.log.debug("upstream-closed",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.Int("messages", e.Messages), zap.String("reason", e.Reason),
		zap.Duration("took", e.Duration))
}

func (u upstreamEvents) UpstreamTLSProblem(e upstream.TLSProblem) {
	u.log.metrics.tlsProblems.with(e.Upstream).Inc()
	if e.Downgrade {
		u.log.metrics.tlsDowngrades.with(e.Upstream).Inc()
	}
	u.log.warn("upstream-tls-problem",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.String("problem", e.Problem), zap.Bool("in_clear", e.InClear), zap.Bool("downgrade", e.Downgrade))
}

func (u upstreamEvents) UpstreamLearned(e upstream.Learned) {
	u.log.info("upstream-learned",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.String("lesson", string(e.Lesson)), some("way", e.Way), some("tls", e.TLS),
		zap.Bool("durable", e.Durable))
}

func (u upstreamEvents) UpstreamAddressFailed(e upstream.AddressFailed) {
	e.Outcome.Remote = e.Remote
	fields := []zap.Field{zap.String("upstream", e.Upstream), zap.Duration("for", e.For)}
	u.log.warn("upstream-address-failed", outcome(fields, &e.Outcome)...)
}

func (u upstreamEvents) UpstreamStalled(e upstream.Stalled) {
	e.Outcome.Remote = e.Remote
	fields := []zap.Field{zap.String("upstream", e.Upstream), zap.Duration("for", e.For)}
	u.log.warn("upstream-stalled", outcome(fields, &e.Outcome)...)
}

func (u upstreamEvents) UpstreamMemoryFailed(e upstream.MemoryFailed) {
	u.log.metrics.memoryFailures.with(e.Upstream, e.Operation).Inc()
	u.log.error("upstream-memory-failed",
		zap.String("upstream", e.Upstream), zap.String("operation", e.Operation), zap.String("cause", e.Cause))
}
