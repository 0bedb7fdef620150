package eventlog

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"postern/queue"
	"postern/queue/budget"
	"postern/queue/notice"
	"postern/queue/verdict"
	"postern/spool"
)

// queueEvents tells of delivery.
type queueEvents struct{ log *Log }

// Queue returns the events of the queue.
func (l *Log) Queue() queue.Events { return queueEvents{l} }

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

func (q queueEvents) Attempted(a queue.Attempt) {
	m, result := q.log.metrics, resultName(a.Outcome.Verdict)
	m.attempts.with(a.Upstream, result).Inc()
	level := zapcore.WarnLevel
	if a.Outcome.Verdict == spool.Delivered {
		level = zapcore.InfoLevel
		m.delay.with(a.Upstream).Observe(a.Delay.Seconds())
		m.deliveredBytes.with(a.Upstream).Add(float64(a.Size))
	}
	q.log.writeOften(level, "delivery-attempt", func(fields []zap.Field) []zap.Field {
		fields = append(fields, id(a.ID), zap.String("from", a.From), zap.String("to", a.To),
			zap.String("upstream", a.Upstream), zap.String("result", result),
			zap.Int("attempt", a.Number), zap.Duration("delay", a.Delay), zap.Int64("size", a.Size))
		fields = outcome(fields, &a.Outcome)
		if a.Outcome.Verdict != spool.Delivered {
			fields = append(fields, zap.String("blame", a.Blame.String()),
				moment("next", a.Due), some("next_upstream", a.NextUp), zap.Bool("held", a.Held))
		}
		if a.Duplicate {
			fields = append(fields, zap.Bool("in_doubt", true))
		}
		return fields
	})
}

func (q queueEvents) Finished(f queue.Finish) {
	q.log.metrics.finished.with().Inc()
	if q.log.debugs() {
		q.log.debug("message-finished", id(f.ID), zap.String("from", f.From),
			zap.Duration("age", f.Age), zap.Int("attempts", f.Attempts))
	}
}

func (q queueEvents) LaneChanged(c queue.LaneChange) {
	q.log.metrics.laneChanges.with(c.Upstream, string(c.State)).Inc()
	level := zapcore.InfoLevel
	switch c.State {
	case queue.Parked, queue.Missing:
		level = zapcore.ErrorLevel // somebody has to look at it
	case queue.Waiting, queue.Slowed:
		level = zapcore.WarnLevel
	}
	fields := []zap.Field{
		zap.String("upstream", c.Upstream), zap.String("state", string(c.State)),
		zap.String("previous", string(c.Previous)), zap.Duration("lasted", c.Lasted),
		some("operator", c.By), moment("probe", c.Probe),
	}
	if c.Outcome != (spool.Outcome{}) {
		fields = advice(outcome(fields, &c.Outcome), &c.Outcome)
	}
	q.log.write(level, "upstream-state", fields...)
}

func (q queueEvents) Panicked(upstream string, value any, stack []byte) {
	q.log.metrics.panics.with().Inc()
	q.log.error("upstream-defect", zap.String("upstream", upstream),
		zap.String("panic", fmt.Sprint(value)), zap.String("stack", stackText(stack)))
}

func (q queueEvents) SessionFailed(upstream string, opened bool, deliveries int, o spool.Outcome) {
	stage := o.Stage.String()
	q.log.metrics.sessionFailures.with(upstream, stage).Inc()
	fields := []zap.Field{zap.String("upstream", upstream), zap.Bool("opened", opened), zap.Int("deliveries", deliveries)}
	q.log.warn("upstream-session-failed", outcome(fields, &o)...)
}

func (q queueEvents) ConnectionSpent(upstream string, carried int, o spool.Outcome) {
	fields := []zap.Field{zap.String("upstream", upstream), zap.Int("carried", carried)}
	q.log.info("upstream-connection-spent", outcome(fields, &o)...)
}

func (q queueEvents) ConnectionLimit(upstream string, messages int) {
	q.log.info("upstream-connection-limit", zap.String("upstream", upstream), zap.Int("messages", messages))
}

func (q queueEvents) SenderRefused(upstream, sender string, o spool.Outcome, next time.Time) {
	q.log.metrics.sendersRefused.with(upstream).Inc()
	fields := []zap.Field{zap.String("upstream", upstream), zap.String("from", sender), moment("next", next)}
	a, ok := verdict.AdviseSender(sender, &o)
	q.log.error("sender-refused", advised(outcome(fields, &o), a, ok)...)
}

func (q queueEvents) SenderAccepted(upstream, sender string) {
	q.log.info("sender-accepted", zap.String("upstream", upstream), zap.String("from", sender))
}

func (q queueEvents) BudgetSpent(upstream string, left []budget.Left) {
	q.log.metrics.budgetSpent.with(upstream).Inc()
	var rates []string
	var next time.Time
	for _, r := range left {
		if r.Left == 0 {
			rates = append(rates, r.Rate)
		}
		if r.Next.After(next) {
			next = r.Next
		}
	}
	q.log.info("rate-used-up", zap.String("upstream", upstream), list("rates", rates), moment("next", next))
}

func (q queueEvents) StateFailed(upstream string, err error) {
	q.log.metrics.stateFailures.with(upstream).Inc()
	q.log.error("upstream-record-failed", zap.String("upstream", upstream), zap.Error(err))
}

func (q queueEvents) Notified(n queue.Notification) {
	q.log.metrics.notifications.with(string(n.Kind)).Inc()
	q.log.info("sender-notified", id(n.ID), zap.String("original", n.Original.String()),
		zap.String("to", n.To), zap.String("kind", string(n.Kind)),
		zap.Int("recipients", n.Recipients), list("upstreams", n.Upstreams))
}

func (q queueEvents) NotNotified(original spool.ID, kind notice.Action, err error) {
	q.log.error("notification-failed", zap.String("original", original.String()),
		zap.String("kind", string(kind)), zap.Error(err))
}

func (q queueEvents) InDoubt(i spool.ID, upstream string, recipients, times int, held bool) {
	q.log.metrics.inDoubt.with(upstream).Inc()
	fields := []zap.Field{id(i), zap.String("upstream", upstream),
		zap.Int("recipients", recipients), zap.Int("times", times), zap.Bool("held", held)}
	if times < 2 {
		q.log.warn("in-doubt", fields...)
		return
	}
	q.log.error("in-doubt", append(fields, zap.String("meaning", queue.DoubtMeaning), zap.String("remedy", queue.DoubtRemedy))...)
}

func (q queueEvents) Expired(i spool.ID, upstream string, recipients int, age time.Duration) {
	q.log.metrics.expired.with(upstream).Add(float64(recipients))
	q.log.warn("expired", id(i), zap.String("upstream", upstream),
		zap.Int("recipients", recipients), zap.Duration("age", age))
}

func (q queueEvents) Kept(k queue.Keep) {
	q.log.metrics.kept.with(k.Upstream).Add(float64(k.Recipients))
	fields := []zap.Field{id(k.ID), zap.String("upstream", k.Upstream), zap.Int("recipients", k.Recipients), moment("until", k.Until)}
	q.log.warn("undeliverable-kept", outcome(fields, &k.Outcome)...)
}

func (q queueEvents) KeptEnded(i spool.ID, upstream string, recipients int, age time.Duration, why string) {
	q.log.metrics.keptEnded.with(why).Add(float64(recipients))
	q.log.warn("undeliverable-ended", id(i), zap.String("upstream", upstream),
		zap.Int("recipients", recipients), zap.Duration("age", age), zap.String("why", why))
}

func (q queueEvents) MovedOn(from, to string, shares int) {
	q.log.metrics.movedOn.with(from, to).Add(float64(shares))
	q.log.info("failed-over", zap.String("upstream", from), zap.String("next_upstream", to), zap.Int("deliveries", shares))
}

func (q queueEvents) Operated(o queue.Operation) {
	q.log.metrics.operated.with(o.Verb).Add(float64(o.Recipients))
	q.log.info("operator-decided", id(o.ID), zap.Int("share", o.Share), zap.String("operation", o.Verb),
		zap.String("operator", o.By), zap.Int("recipients", o.Recipients), some("reason", o.Reason))
}

func (q queueEvents) ClaimLost(operation string, i spool.ID, upstream string, delivered int) {
	q.log.metrics.claimsLost.with(operation).Inc()
	q.log.warn("claim-lost", zap.String("operation", operation), id(i), zap.String("upstream", upstream), zap.Int("delivered", delivered))
}

func (q queueEvents) StoreFailed(operation string, i spool.ID, err error) {
	q.log.metrics.storeFailures.with(operation).Inc()
	q.log.error("spool-refused-queue", zap.String("operation", operation), id(i), zap.Error(err))
}
