package config

import (
	"time"
)

// longestLifetime is beyond anything that a message is worth waiting for.
const longestLifetime = 100 * 24 * time.Hour

func (d *document) readRetry(t *table, r *Retry) {
	readBackoff(t, r)
	t.duration("lifetime", &r.Lifetime, time.Minute, longestLifetime)
	warned := t.duration("warn_after", &r.WarnAfter, 0, longestLifetime)
	t.oneOf("after_dot", &r.AfterDot, "retry", "hold")
	switch {
	case r.WarnAfter < r.Lifetime || r.WarnAfter == 0:
	case warned:
		t.problem("warn_after", FormatDuration(r.WarnAfter)+" is not before the end of the lifetime of "+FormatDuration(r.Lifetime),
			`choose less, or "0" for no warning`)
	default:
		// The default does not fit a short lifetime: the bounce tells enough.
		r.WarnAfter = 0
	}
	if r.Backoff[0] >= r.Lifetime {
		t.problem("backoff", "begins with "+FormatDuration(r.Backoff[0])+", when the lifetime of "+FormatDuration(r.Lifetime)+" is over",
			"nothing would be tried twice")
	}
	t.finish()
}

func readBackoff(t *table, r *Retry) {
	const name = "backoff"
	v, ok := t.take(name)
	if !ok {
		return
	}
	values, ok := v.([]any)
	if !ok || len(values) == 0 {
		t.problem(name, "must be a list of durations", `such as ["1m", "5m", "15m", "1h"]`)
		return
	}
	steps := make([]time.Duration, len(values))
	good := true
	for i, value := range values {
		if !t.oneDuration(joinIndex(name, i), value, &steps[i], time.Second, longestLifetime) {
			good = false
		} else if good && i > 0 && steps[i] < steps[i-1] {
			t.doc.warn(joinIndex(t.key(name), i), "is shorter than the step before", "waits usually grow")
		}
	}
	if good {
		r.Backoff = steps
	}
}
