package eventlog

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postern/cmd/control"
	"postern/cmd/trend"
	"postern/config/wire"
	"postern/queue"
	"postern/relay/upstream"
)

// metrics counts what the events tell. All names begin with "postern_".
type metrics struct {
	registry *prometheus.Registry
	counters
	// totals are some of the counters without their labels, for charts.
	totals struct{ accepted, delivered, deferred atomic.Int64 }
}

// Totals are what was counted since the start.
func (l *Log) Totals() trend.Totals {
	t := &l.metrics.totals
	return trend.Totals{Accepted: t.accepted.Load(), Delivered: t.delivered.Load(), Deferred: t.deferred.Load()}
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.counters = newCounters(m)
	return m
}

// logDropped counts the lines of the log that nobody took.
func (m *metrics) logDropped(count func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "postern_log_lines_dropped_total", Help: "Lines of the log that were dropped because nobody took them."}, count))
}

// historyDropped counts the lines that the history of messages lacks.
func (m *metrics) historyDropped(count func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "postern_history_lines_dropped_total", Help: "Lines about messages that are not in the history, because the disk failed or was too slow."}, count))
}

// counter and histogram clean the values of their labels: one that is not
// UTF-8 would be a panic.
type (
	counter   struct{ vec *prometheus.CounterVec }
	histogram struct{ vec *prometheus.HistogramVec }
)

func (c counter) with(labels ...string) prometheus.Counter {
	return c.vec.WithLabelValues(cleanAll(labels)...)
}

func (h histogram) with(labels ...string) prometheus.Observer {
	return h.vec.WithLabelValues(cleanAll(labels)...)
}

func cleanAll(texts []string) []string {
	for i := range texts {
		texts[i] = wire.Line(texts[i])
	}
	return texts
}

func (m *metrics) counter(name, help string, labels ...string) counter {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_" + name, Help: help}, labels)
	m.registry.MustRegister(c)
	return counter{c}
}

func (m *metrics) histogram(name, help string, buckets []float64, labels ...string) histogram {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_" + name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return histogram{h}
}

// Metrics answers scrapes with what the events counted and with what status
// says at that moment. Call it once.
func (l *Log) Metrics(status func() *control.Status) http.Handler {
	l.metrics.registry.MustRegister(&gauges{status: status})
	return promhttp.HandlerFor(l.metrics.registry, promhttp.HandlerOpts{})
}

// gauges reads the state of the relay once for each scrape.
type gauges struct{ status func() *control.Status }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("postern_"+name, help, labels, nil)
}

var (
	descBuild       = desc("build_info", "1, with the version of the running program.", "version")
	descHealthy     = desc("healthy", "1 while /healthz answers 200.")
	descDegraded    = desc("degraded", "1 while /healthz names something that is degraded.")
	descDown        = desc("lane_down_seconds", "For how long an upstream has failed; 0: it does not.", "upstream")
	descRefused     = desc("lane_refused_senders", "Senders that an upstream refuses at present.", "upstream")
	descRefusedWait = desc("lane_refused_waiting_deliveries", "Deliveries that wait because their sender is refused, counted up to 1000 for each sender.", "upstream")
	descConnections = desc("connections", "Open client connections.", "listener")
	descLane        = desc("lane_state", "1 for the state that the lane of an upstream is in.", "upstream", "state")
	descSessions    = desc("lane_sessions", "Open sessions with an upstream.", "upstream")
	descLeft        = desc("upstream_budget_left", "Messages or recipients that a rate leaves free now.", "upstream", "rate")
	descNext        = desc("upstream_budget_next_timestamp_seconds", "When a rate that leaves nothing free will have one more.", "upstream", "rate")
	descWaits       = desc("upstream_budget_waiting_seconds", "For how long due mail has been waiting for the rates; 0: none is.", "upstream")
	descPace        = desc("upstream_pace_messages_per_minute", "What a lane may send while it is slowed; 0: it is not.", "upstream")
	descToken       = desc("token_expires_timestamp_seconds", "When the access token for an upstream ends; it is renewed before.", "upstream")
	descLogin       = desc("token_needs_login", "1 while somebody has to run postern upstream login.", "upstream")
	descLearned     = desc("upstream_tls_remembered_timestamp_seconds", "Since when something is remembered about the TLS of an upstream.", "upstream", "lesson")
	descQueued      = desc("queue_deliveries", "Deliveries that are to go to an upstream next.", "upstream")
	descStates      = desc("queue_state_deliveries", "Deliveries in the queue by what they are doing.", "state")
	descKept        = desc("queue_kept_deliveries", "Deliveries from <>, and of copies, that failed and are kept; they are among those held.")
	descOldest      = desc("queue_oldest_due_seconds", "For how long the oldest due delivery has been due; 0: none is due.")
	descMessages    = desc("spool_messages", "Messages in the spool.")
	descUsed        = desc("spool_used_bytes", "Bytes that the spool takes on disk.")
	descLive        = desc("spool_live_bytes", "Bytes of messages that are still owed.")
	descFree        = desc("spool_free_bytes", "Bytes that are free on the file system of the spool.")
	descFull        = desc("spool_full", "1 while new mail is refused with 452.")
	descQuiet       = desc("route_quiet_seconds", "For how long a route with expect took no message while the relay was running.", "route")
	descStorms      = desc("storms", "Storms of messages that are alike: those that go on, and those whose messages are still on hold.", "state")
	descSilent      = desc("route_silent", "1 while that is longer than its expect.", "route")
	descLoaded      = desc("config_loaded_timestamp_seconds", "When the configuration in force was read.")
	allGauges       = []*prometheus.Desc{
		descBuild, descHealthy, descDegraded, descDown, descRefused, descRefusedWait, descConnections, descLane, descSessions, descLeft, descNext, descWaits, descPace, descToken, descLogin, descLearned, descQueued, descStates, descKept, descOldest,
		descMessages, descUsed, descLive, descFree, descFull, descLoaded, descQuiet, descSilent, descStorms,
	}
)

func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allGauges {
		ch <- d
	}
}

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := g.status()
	put(descBuild, 1, st.Version)
	put(descHealthy, one(st.Healthy))
	put(descDegraded, one(len(st.Degraded) > 0))
	put(descLoaded, float64(st.Loaded.Unix()))
	for _, l := range st.Listeners {
		put(descConnections, float64(l.Connections), l.Name)
	}
	for _, e := range st.Expected {
		put(descQuiet, e.Quiet, e.Route)
		put(descSilent, one(e.Silent), e.Route)
	}
	storms := map[bool]int{} // by whether they have ended
	for i := range st.Storms {
		storms[st.Storms[i].Ended != nil]++
	}
	put(descStorms, float64(storms[false]), "on")
	put(descStorms, float64(storms[true]), "ended")
	for _, l := range st.Lanes {
		for _, state := range []queue.State{queue.Up, queue.Slowed, queue.Waiting, queue.Parked, queue.Paused, queue.Missing} {
			put(descLane, one(l.State == state), l.Upstream, string(state))
		}
		put(descSessions, float64(l.Sessions), l.Upstream)
		put(descQueued, float64(l.Queued), l.Upstream)
		putFailing(put, &l)
		putRates(put, &l)
		putLearned(put, &l)
		if l.Token == nil {
			continue
		}
		put(descLogin, one(l.Token.NeedsLogin), l.Upstream)
		if !l.Token.Expires.IsZero() {
			put(descToken, float64(l.Token.Expires.Unix()), l.Upstream)
		}
	}
	put(descStates, float64(st.Queue.Due), string(control.Due))
	put(descStates, float64(st.Queue.Deferred), string(control.Deferred))
	put(descStates, float64(st.Queue.Scheduled), string(control.Scheduled))
	put(descStates, float64(st.Queue.Held), string(control.Held))
	put(descStates, float64(st.Queue.Active), string(control.Active))
	put(descKept, float64(st.Queue.Kept))
	oldest := 0.0
	if st.Queue.OldestDue != nil {
		oldest = max(0, time.Since(*st.Queue.OldestDue).Seconds())
	}
	put(descOldest, oldest)
	put(descMessages, float64(st.Spool.Messages))
	put(descUsed, float64(st.Spool.Disk))
	put(descLive, float64(st.Spool.Live))
	put(descFree, float64(st.Spool.Free))
	put(descFull, one(st.Spool.Full))
}

// putFailing tells for how long a lane has failed, and whom it refuses.
func putFailing(put func(*prometheus.Desc, float64, ...string), l *control.Lane) {
	down, waiting := 0.0, 0
	if l.DownSince != nil {
		down = max(0, time.Since(*l.DownSince).Seconds())
	}
	for _, r := range l.Refusals {
		waiting += r.Waiting
	}
	put(descDown, down, l.Upstream)
	put(descRefused, float64(len(l.Refusals)), l.Upstream)
	put(descRefusedWait, float64(waiting), l.Upstream)
}

// putLearned tells since when what is remembered about the TLS of an upstream.
func putLearned(put func(*prometheus.Desc, float64, ...string), l *control.Lane) {
	m := l.Memory
	if m == nil {
		return
	}
	for _, fact := range []struct {
		learnt upstream.Fact
		since  *time.Time
	}{
		{upstream.LearnedOffer, m.Offered}, {upstream.LearnedCertificate, m.Valid}, {upstream.LearnedWay, m.Found},
	} {
		if fact.since != nil {
			put(descLearned, float64(fact.since.Unix()), l.Upstream, string(fact.learnt))
		}
	}
}

// putRates tells what a lane may send.
func putRates(put func(*prometheus.Desc, float64, ...string), l *control.Lane) {
	put(descPace, l.Pace, l.Upstream)
	waits := 0.0
	if l.WaitsSince != nil {
		waits = max(0, time.Since(*l.WaitsSince).Seconds())
	}
	put(descWaits, waits, l.Upstream)
	for _, r := range l.Rates {
		put(descLeft, float64(r.Left), l.Upstream, r.Rate)
		if !r.Next.IsZero() {
			put(descNext, float64(r.Next.Unix()), l.Upstream, r.Rate)
		}
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
