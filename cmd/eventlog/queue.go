package eventlog

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/queue"
	"postern/queue/verdict"
	"postern/spool"
)

// Queue returns what tells of delivery.
func (l *Log) Queue() func(queue.Event) {
	return func(e queue.Event) {
		switch e := e.(type) {
		case *queue.Attempted:
			l.attempted(e)
		case *queue.Finished:
			l.messageFinished(e)
		case *queue.LaneChanged:
			l.laneChanged(e)
		case *queue.Panicked:
			l.deliveryPanicked(e)
		case *queue.SessionFailed:
			l.sessionFailed(e)
		case *queue.ConnectionSpent:
			fields := []zap.Field{zap.String("upstream", e.Upstream), zap.Int("carried", e.Carried)}
			l.info("upstream-connection-spent", outcome(fields, &e.Outcome)...)
		case *queue.ConnectionLimited:
			l.info("upstream-connection-limit", zap.String("upstream", e.Upstream), zap.Int("messages", e.Messages))
		case *queue.SenderRefused:
			l.senderRefused(e)
		case *queue.SenderAccepted:
			l.info("sender-accepted", zap.String("upstream", e.Upstream), zap.String("from", e.Sender))
		case *queue.BudgetSpent:
			l.budgetSpent(e)
		case *queue.StateFailed:
			l.metrics.stateFailures.with(e.Upstream).Inc()
			l.error("upstream-record-failed", zap.String("upstream", e.Upstream), zap.Error(e.Err))
		case *queue.Notified:
			l.notified(e)
		case *queue.NotNotified:
			l.error("notification-failed", zap.String("original", e.Original.String()),
				zap.String("kind", string(e.Kind)), zap.Error(e.Err))
		case *queue.InDoubt:
			l.inDoubt(e)
		case *queue.Expired:
			l.expired(e)
		case *queue.Kept:
			l.kept(e)
		case *queue.KeptEnded:
			l.keptEnded(e)
		case *queue.MovedOn:
			l.metrics.movedOn.with(e.From, e.To).Add(float64(e.Shares))
			l.info("failed-over", zap.String("upstream", e.From), zap.String("next_upstream", e.To), zap.Int("deliveries", e.Shares))
		case *queue.Operated:
			l.operated(e)
		case *queue.ClaimLost:
			l.metrics.claimsLost.with(e.Operation).Inc()
			l.warn("claim-lost", zap.String("operation", e.Operation), id(e.ID), zap.String("upstream", e.Upstream), zap.Int("delivered", e.Delivered))
		case *queue.StoreFailed:
			l.metrics.storeFailures.with(e.Operation).Inc()
			l.error("spool-refused-queue", zap.String("operation", e.Operation), id(e.ID), zap.Error(e.Err))
		}
	}
}

func id(v spool.ID) zap.Field { return zap.String("id", v.String()) }

// moment is a time, or no field for the zero one.
func moment(key string, t time.Time) zap.Field {
	if t.IsZero() {
		return zap.Skip()
	}
	return zap.Time(key, t)
}

// some is a text, or no field for the empty one.
func some(key, value string) zap.Field {
	if value == "" {
		return zap.Skip()
	}
	return zap.String(key, value)
}

// outcome adds what an upstream answered, or why it did not.
func outcome(fields []zap.Field, o *spool.Outcome) []zap.Field {
	return append(fields, zap.String("stage", o.Stage.String()),
		zap.Int("code", o.Code), zap.String("enhanced", o.Enhanced),
		zap.String("text", o.Text), some("cause", o.Cause), some("remote", o.Remote))
}

// advice adds what a known answer means and what to do about it, where
// somebody is called to look.
func advice(fields []zap.Field, o *spool.Outcome) []zap.Field {
	a, ok := verdict.Advise(o)
	return advised(fields, a, ok)
}

func advised(fields []zap.Field, a verdict.Advice, ok bool) []zap.Field {
	if !ok {
		return fields
	}
	return append(fields, zap.String("meaning", a.Meaning), zap.String("remedy", a.Remedy))
}

func resultName(s spool.Status) string {
	switch s {
	case spool.Delivered:
		return "delivered"
	case spool.Bounced:
		return "failed"
	case spool.Removed:
		return "removed"
	}
	return "deferred"
}

func (l *Log) attempted(e *queue.Attempted) {
	m, result := l.metrics, resultName(e.Outcome.Verdict)
	m.attempts.with(e.Upstream, result).Inc()
	switch result {
	case "delivered":
		m.totals.delivered.Add(1)
	case "deferred":
		m.totals.deferred.Add(1)
	}
	level := zapcore.WarnLevel
	if e.Outcome.Verdict == spool.Delivered {
		level = zapcore.InfoLevel
		m.delay.with(e.Upstream).Observe(e.Delay.Seconds())
		m.deliveredBytes.with(e.Upstream).Add(float64(e.Size))
	}
	l.writeOften(level, "delivery-attempt", func(fields []zap.Field) []zap.Field {
		fields = append(fields, id(e.ID), zap.String("from", e.From), zap.String("to", e.To),
			zap.String("upstream", e.Upstream), zap.String("result", result),
			zap.Int("attempt", e.Number), zap.Duration("delay", e.Delay), zap.Int64("size", e.Size))
		fields = outcome(fields, &e.Outcome)
		if e.Outcome.Verdict != spool.Delivered {
			fields = append(fields, zap.String("blame", e.Blame.String()),
				moment("next", e.Due), some("next_upstream", e.NextUp), zap.Bool("held", e.Held))
		}
		if e.Copy {
			fields = append(fields, zap.Bool("copy", true))
		}
		if e.Duplicate {
			fields = append(fields, zap.Bool("in_doubt", true))
		}
		return fields
	})
}

func (l *Log) messageFinished(e *queue.Finished) {
	l.metrics.finished.with().Inc()
	if l.debugs() {
		l.debug("message-finished", id(e.ID), zap.String("from", e.From),
			zap.Duration("age", e.Age), zap.Int("attempts", e.Attempts))
	}
}

func (l *Log) laneChanged(e *queue.LaneChanged) {
	l.metrics.laneChanges.with(e.Upstream, string(e.State)).Inc()
	level := zapcore.InfoLevel
	switch e.State {
	case queue.Parked, queue.Missing:
		level = zapcore.ErrorLevel // somebody has to look at it
	case queue.Waiting, queue.Slowed:
		level = zapcore.WarnLevel
	}
	fields := []zap.Field{
		zap.String("upstream", e.Upstream), zap.String("state", string(e.State)),
		zap.String("previous", string(e.Previous)), zap.Duration("lasted", e.Lasted),
		some("operator", e.By), moment("probe", e.Probe),
	}
	if e.Outcome != (spool.Outcome{}) {
		fields = advice(outcome(fields, &e.Outcome), &e.Outcome)
	}
	l.write(level, "upstream-state", fields...)
}

func (l *Log) deliveryPanicked(e *queue.Panicked) {
	l.metrics.panics.with().Inc()
	l.error("upstream-defect", zap.String("upstream", e.Upstream),
		zap.String("panic", fmt.Sprint(e.Value)), zap.String("stack", stackText(e.Stack)))
}

func (l *Log) sessionFailed(e *queue.SessionFailed) {
	stage := e.Outcome.Stage.String()
	l.metrics.sessionFailures.with(e.Upstream, stage).Inc()
	fields := []zap.Field{zap.String("upstream", e.Upstream), zap.Bool("opened", e.Opened), zap.Int("deliveries", e.Deliveries)}
	l.warn("upstream-session-failed", outcome(fields, &e.Outcome)...)
}

func (l *Log) senderRefused(e *queue.SenderRefused) {
	l.metrics.sendersRefused.with(e.Upstream).Inc()
	fields := []zap.Field{zap.String("upstream", e.Upstream), zap.String("from", e.Sender), moment("next", e.Next)}
	a, ok := verdict.AdviseSender(e.Sender, &e.Outcome)
	l.error("sender-refused", advised(outcome(fields, &e.Outcome), a, ok)...)
}

func (l *Log) budgetSpent(e *queue.BudgetSpent) {
	l.metrics.budgetSpent.with(e.Upstream).Inc()
	var rates []string
	var next time.Time
	for _, r := range e.Left {
		if r.Left == 0 {
			rates = append(rates, r.Rate)
		}
		if r.Next.After(next) {
			next = r.Next
		}
	}
	l.info("rate-used-up", zap.String("upstream", e.Upstream), list("rates", rates), moment("next", next))
}

func (l *Log) notified(e *queue.Notified) {
	l.metrics.notifications.with(string(e.Kind)).Inc()
	l.info("sender-notified", id(e.ID), zap.String("original", e.Original.String()),
		zap.String("to", e.To), zap.String("kind", string(e.Kind)),
		zap.Int("recipients", e.Recipients), list("upstreams", e.Upstreams))
}

func (l *Log) inDoubt(e *queue.InDoubt) {
	l.metrics.inDoubt.with(e.Upstream).Inc()
	fields := []zap.Field{id(e.ID), zap.String("upstream", e.Upstream),
		zap.Int("recipients", e.Recipients), zap.Int("times", e.Times), zap.Bool("held", e.Held)}
	if e.Times < 2 {
		l.warn("in-doubt", fields...)
		return
	}
	l.error("in-doubt", append(fields, zap.String("meaning", queue.DoubtMeaning), zap.String("remedy", queue.DoubtRemedy))...)
}

func (l *Log) expired(e *queue.Expired) {
	l.metrics.expired.with(e.Upstream).Add(float64(e.Recipients))
	l.warn("expired", id(e.ID), zap.String("upstream", e.Upstream),
		zap.Int("recipients", e.Recipients), zap.Duration("age", e.Age))
}

func (l *Log) kept(e *queue.Kept) {
	l.metrics.kept.with(e.Upstream).Add(float64(e.Recipients))
	fields := []zap.Field{id(e.ID), zap.String("upstream", e.Upstream), zap.Int("recipients", e.Recipients), moment("until", e.Until)}
	l.warn("undeliverable-kept", outcome(fields, &e.Outcome)...)
}

func (l *Log) keptEnded(e *queue.KeptEnded) {
	l.metrics.keptEnded.with(e.Why).Add(float64(e.Recipients))
	l.warn("undeliverable-ended", id(e.ID), zap.String("upstream", e.Upstream),
		zap.Int("recipients", e.Recipients), zap.Duration("age", e.Age), zap.String("why", e.Why))
}

func (l *Log) operated(e *queue.Operated) {
	l.metrics.operated.with(e.Verb).Add(float64(e.Recipients))
	l.info("operator-decided", id(e.ID), zap.Int("share", e.Share), zap.String("operation", e.Verb),
		zap.String("operator", e.By), zap.Int("recipients", e.Recipients), some("reason", e.Reason))
}
