package eventlog

import (
	"go.uber.org/zap"

	"postern/relay/capture"
	"postern/relay/outgoing"
	"postern/relay/upstream"
)

// Upstream returns what tells of sessions with upstreams.
func (l *Log) Upstream() func(upstream.Event) {
	return func(e upstream.Event) {
		switch e := e.(type) {
		case *upstream.Opened:
			l.sessionOpened(e)
		case *upstream.Closed:
			l.sessionClosed(e)
		case *upstream.TLSProblem:
			l.tlsProblem(e)
		case *upstream.Learned:
			l.upstreamLearned(e)
		case *upstream.AddressFailed:
			l.addressFailed(e)
		case *upstream.Stalled:
			l.upstreamStalled(e)
		case *upstream.MemoryFailed:
			l.memoryFailed(e)
		}
	}
}

func (l *Log) sessionOpened(e *upstream.Opened) {
	m := l.metrics
	m.sessions.with(e.Upstream, e.TLSVersion).Inc()
	m.sessionOpen.with(e.Upstream).Observe(e.Duration.Seconds())
	l.debug("upstream-opened",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.String("tls", e.TLSVersion), zap.String("cipher", e.TLSCipher),
		zap.Bool("verified", e.Verified), zap.Bool("resumed", e.Resumed),
		zap.String("mechanism", e.Mechanism), zap.Bool("pipelining", e.Pipelining),
		zap.Duration("took", e.Duration))
}

func (l *Log) sessionClosed(e *upstream.Closed) {
	l.debug("upstream-closed",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.Int("messages", e.Messages), zap.String("reason", e.Reason),
		zap.Duration("took", e.Duration))
}

func (l *Log) tlsProblem(e *upstream.TLSProblem) {
	l.metrics.tlsProblems.with(e.Upstream).Inc()
	if e.Downgrade {
		l.metrics.tlsDowngrades.with(e.Upstream).Inc()
	}
	l.warn("upstream-tls-problem",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.String("problem", e.Problem), zap.Bool("in_clear", e.InClear), zap.Bool("downgrade", e.Downgrade))
}

func (l *Log) upstreamLearned(e *upstream.Learned) {
	l.info("upstream-learned",
		zap.String("upstream", e.Upstream), zap.String("remote", e.Remote),
		zap.String("lesson", string(e.Fact)), some("way", e.Way), some("tls", e.TLS),
		zap.Bool("durable", e.Durable))
}

func (l *Log) addressFailed(e *upstream.AddressFailed) {
	o := e.Outcome
	o.Remote = e.Remote
	fields := []zap.Field{zap.String("upstream", e.Upstream), zap.Duration("for", e.For)}
	l.warn("upstream-address-failed", outcome(fields, &o)...)
}

func (l *Log) upstreamStalled(e *upstream.Stalled) {
	o := e.Outcome
	o.Remote = e.Remote
	fields := []zap.Field{zap.String("upstream", e.Upstream), zap.Duration("for", e.For)}
	l.warn("upstream-stalled", outcome(fields, &o)...)
}

func (l *Log) memoryFailed(e *upstream.MemoryFailed) {
	l.metrics.memoryFailures.with(e.Upstream, e.Operation).Inc()
	l.error("upstream-memory-failed",
		zap.String("upstream", e.Upstream), zap.String("operation", e.Operation), zap.String("cause", e.Cause))
}

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

// Outgoing returns what tells of the forms of messages.
func (l *Log) Outgoing() func(outgoing.Event) {
	return func(e outgoing.Event) {
		switch e := e.(type) {
		case outgoing.SignatureBroken:
			l.signatureBroken(e)
		case outgoing.NotSigned:
			l.warn("message-not-signed", zap.String("id", e.ID.String()), zap.String("upstream", e.Upstream),
				zap.String("domain", e.Domain), zap.String("reason", e.Reason))
		case outgoing.NotConverted:
			l.info("message-not-converted", zap.String("id", e.ID.String()), zap.String("upstream", e.Upstream), zap.String("reason", e.Reason))
		}
	}
}

func (l *Log) signatureBroken(e outgoing.SignatureBroken) {
	l.warn("signature-broken",
		zap.String("id", e.ID.String()), zap.String("upstream", e.Upstream), zap.String("rule", e.Rule),
		zap.String("domain", e.Domain), zap.String("field", e.Field))
}
