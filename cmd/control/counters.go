package control

import (
	"context"
	"io"
	"net/http"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Counters are what a relay has counted since its start.
type Counters struct {
	Accepted float64               // messages
	Lanes    map[string]*LaneCount // by upstream
}

// LaneCount is what has become of attempts at an upstream, counted for each
// recipient.
type LaneCount struct{ Delivered, Deferred, Failed float64 }

// maxMetrics bounds an answer, in bytes.
const maxMetrics = 32 << 20

// Counters asks the daemon for what it has counted.
func (c *Client) Counters(ctx context.Context) (*Counters, error) {
	resp, err := c.do(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readCounters(io.LimitReader(resp.Body, maxMetrics))
}

// readCounters reads the text form of Prometheus.
func readCounters(r io.Reader) (*Counters, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, err
	}
	out := &Counters{Lanes: map[string]*LaneCount{}}
	for _, m := range families["postern_messages_accepted_total"].GetMetric() {
		out.Accepted += m.GetCounter().GetValue()
	}
	for _, m := range families["postern_delivery_attempts_total"].GetMetric() {
		label := map[string]string{}
		for _, l := range m.GetLabel() {
			label[l.GetName()] = l.GetValue()
		}
		lane := out.Lanes[label["upstream"]]
		if lane == nil {
			lane = &LaneCount{}
			out.Lanes[label["upstream"]] = lane
		}
		switch label["result"] {
		case "delivered":
			lane.Delivered += m.GetCounter().GetValue()
		case "deferred":
			lane.Deferred += m.GetCounter().GetValue()
		default:
			lane.Failed += m.GetCounter().GetValue()
		}
	}
	return out, nil
}
